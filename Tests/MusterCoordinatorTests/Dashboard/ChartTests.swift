import Foundation
import MusterModel
import Testing

@testable import MusterCoordinator

@Suite("Charts of the dashboard")
struct ChartTests {
    static let start = Timestamp(microseconds: 1_767_225_600_000_000)

    static func chart(_ values: [Double], kind: Chart.Series.Kind = .line) -> Chart {
        let points = values.enumerated().map { Chart.Point(at: start + .seconds(60 * $0), value: $1) }
        return Chart(
            id: "size", title: "Size <of> it", quantity: .bytes,
            series: [Chart.Series(name: "Size", kind: kind, points: points)])
    }

    @Test func aChartSaysInWordsWhatItShows() {
        let markup = Self.chart([1024, 4096, 2048]).drawing().markup
        #expect(markup.contains("<title id=\"size-title\">Size &lt;of&gt; it</title>"))
        #expect(markup.contains("Size: 3 values, newest 2 KiB, least 1 KiB, most 4 KiB."))
        #expect(markup.contains("aria-labelledby=\"size-title\""))
        #expect(markup.components(separatedBy: "<circle").count == 4, "each value has a mark with its text")
        #expect(markup.contains("<title>Size: 4 KiB, 2026-01-01 00:01:00 UTC</title>"))
    }

    @Test func whatIsLargerIsHigherAndWhatIsLaterIsFurtherRight() throws {
        let markup = Self.chart([0, 4096]).drawing().markup
        let circles = markup.matches(of: #/<circle cx="([0-9.]+)" cy="([0-9.]+)"/#)
        let places = circles.compactMap { match in Double(match.1).flatMap { x in Double(match.2).map { (x, $0) } } }
        try #require(places.count == 2)
        #expect(places[0].0 < places[1].0)
        #expect(places[0].1 > places[1].1)
    }

    @Test("nothing to draw is said so", arguments: [[], [1.0]])
    func nothingToDrawIsSaidSo(values: [Double]) {
        let markup = Self.chart(values).drawing().markup
        #expect(!markup.contains("<svg") && markup.contains("no history"))
    }

    @Test func strangeValuesStayInside() {
        let markup = Self.chart([0, 0, .infinity, .nan, -5]).drawing().markup
        #expect(!markup.contains("nan") && !markup.contains("inf"))
        for match in markup.matches(of: #/c[xy]="(-?[0-9.]+)"/#) {
            #expect((0...480).contains(Double(match.1) ?? -1), "\(match.0)")
        }
    }

    @Test(
        "an axis has few round ticks",
        arguments: [0, 1, 3, 999, 1024, 5000, 1_048_576, 3_221_225_472, 7_000_000_000_000] as [Double],
        [ChartQuantity.bytes, .duration, .count])
    func anAxisHasFewRoundTicks(largest: Double, quantity: ChartQuantity) {
        let ticks = quantity.ticks(upTo: largest)
        #expect((2...7).contains(ticks.count), "\(ticks)")
        #expect(ticks[0] == 0 && (ticks.last ?? 0) >= largest)
        #expect(Set(ticks.map(quantity.text)).count == ticks.count, "\(ticks.map(quantity.text))")
    }

    @Test func daysWithoutReceiptsAreNothing() {
        let day = Duration.seconds(86_400)
        let days = DayCounts(
            [(Self.start, 10), (Self.start + .seconds(5), 20), (Self.start + day * 2, 5)],
            before: Self.start + day * 3 + .seconds(60), count: 4)
        #expect(days.counts.map(\.value) == [2, 0, 1, 0])
        #expect(days.bytes.map(\.value) == [30, 0, 5, 0])
        #expect(days.counts.first?.at == Self.start)
    }

    @Test("the shares fill the bar", arguments: [[1], [1, 99_999], [1, 1, 1, 1, 100_000], [5, 5, 5, 5, 5]])
    func theSharesFillTheBar(numbers: [Int]) {
        var counts = StateCounts()
        for (state, number) in zip(ProvenState.allCases, numbers) {
            counts[state] = number
        }
        let widths = StackedBar.widths(counts)
        #expect(widths.count == numbers.count && widths.allSatisfy { $0.width >= 8 })
        #expect(abs(widths.reduce(0) { $0 + $1.width } - 1000) < 0.01)
        #expect(!StackedBar.drawing(counts).markup.contains("\"-"))
    }
}
