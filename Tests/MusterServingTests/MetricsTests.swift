import CoreMetrics
import Testing

@testable import MusterServing

@Suite("Metrics")
struct MetricsTests {
    private enum Colour: String, MetricLabel { case red, green }

    private static let name = MetricName("muster_test_total", .counter, "A \"count\"\nof \\ things.")

    private static func text(_ registry: MetricsRegistry) -> [String] {
        PrometheusText.render(registry.families).split(separator: "\n").map(String.init)
    }

    @Test func textIsEscapedAsTheFormatHasIt() {
        let family = MetricFamily(Self.name, by: "store", named: [("a\"b\\c\nd", 1.5)])
        #expect(
            PrometheusText.render([family]) == """
                # HELP muster_test_total A "count"\\nof \\\\ things.
                # TYPE muster_test_total counter
                muster_test_total{store="a\\"b\\\\c\\nd"} 1.5

                """)
        #expect(
            [0, -3, 1e18, .infinity, -.infinity, .nan, 0.25].map(PrometheusText.number)
                == ["0", "-3", "1e+18", "+Inf", "-Inf", "NaN", "0.25"])
    }

    @Test func everyValueOfALabelHasASeries() {
        let family = MetricFamily(Self.name, by: "colour", [Colour.red: 2])
        let lines = PrometheusText.render([family]).split(separator: "\n").suffix(2)
        #expect(
            Array(lines) == ["muster_test_total{colour=\"red\"} 2", "muster_test_total{colour=\"green\"} 0"])
    }

    @Test func whatManyTasksCountAddsUp() async {
        let registry = MetricsRegistry([Self.name])
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<64 {
                group.addTask {
                    let counter = Counter(label: Self.name.text, factory: registry)
                    let timer = CoreMetrics.Timer(label: "muster_test_seconds", factory: registry)
                    for _ in 0..<500 {
                        counter.increment()
                        timer.recordNanoseconds(task.isMultiple(of: 2) ? 2_000_000 : 2_000_000_000)
                    }
                }
                group.addTask { _ = registry.families }
            }
        }
        let lines = Self.text(registry)
        #expect(lines.contains("muster_test_total 32000"))
        #expect(lines.contains("muster_test_seconds_bucket{le=\"0.001\"} 0"))
        #expect(lines.contains("muster_test_seconds_bucket{le=\"0.005\"} 16000"))
        #expect(lines.contains("muster_test_seconds_bucket{le=\"+Inf\"} 32000"))
        #expect(lines.contains("muster_test_seconds_count 32000"))
        #expect(lines.contains("muster_test_seconds_sum 32032"))
    }

    @Test func aSeriesIsToldOnceItCountedAndTheSameLabelsAreTheSameSeries() {
        let registry = MetricsRegistry([Self.name])
        let one = Counter(label: Self.name.text, dimensions: [("a", "1"), ("b", "2")], factory: registry)
        let same = Counter(label: Self.name.text, dimensions: [("b", "2"), ("a", "1")], factory: registry)
        let other = Counter(label: Self.name.text, dimensions: [("a", "12"), ("b", "")], factory: registry)
        one.increment(by: 3)
        same.increment(by: 4)
        #expect(Self.text(registry).contains("muster_test_total{a=\"1\",b=\"2\"} 7"))
        #expect(!Self.text(registry).contains { $0.contains("a=\"12\"") })
        other.increment()
        #expect(Self.text(registry).contains { $0.contains("a=\"12\"") })
        Gauge(label: "muster_test_bytes", factory: registry).record(2.5)
        #expect(Self.text(registry).contains("muster_test_bytes 2.5"))
    }

    @Test func theNumberOfSeriesIsBounded() {
        let registry = MetricsRegistry([])
        for number in 0..<MetricsRegistry.mostSeries + 10 {
            Counter(label: "muster_many_total", dimensions: [("n", "\(number)")], factory: registry).increment()
        }
        // One name has one kind.
        _ = CoreMetrics.Timer(label: "muster_many_total", factory: registry)
        let lines = Self.text(registry)
        #expect(lines.filter { $0.hasPrefix("muster_many_total{") }.count == MetricsRegistry.mostSeries)
        #expect(lines.contains("muster_metrics_dropped_total 11"))
        let named = MetricFamily(Self.name, by: "store", named: (0..<1000).map { ("\($0)", 1) })
        #expect(named.samples.count == MetricFamily.mostNamed)
    }

    @Test func onlyAddressesOfThisMachineAreTaken() {
        for good in ["127.0.0.1:7430", "localhost:0", "[::1]:65535"] {
            #expect(LoopbackAddress(good) != nil, "\(good)")
        }
        for bad in [
            "0.0.0.0:7430", "[::]:7430", "10.0.0.1:80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", ":80", "",
            "127.0.0.1.example:80", "::1:80", "localhost.example:1",
        ] {
            #expect(LoopbackAddress(bad) == nil, "\(bad)")
        }
    }

    @Test func theProcessTellsWhatItCosts() {
        let lines = PrometheusText.render(ProcessFigures.families).split(separator: "\n")
        let values = lines.filter { !$0.hasPrefix("#") }.compactMap { Double($0.split(separator: " ")[1]) }
        #expect(values.count == 2 && values.allSatisfy { $0 > 2 })
    }
}
