import MusterAPI
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterAgent

@Suite("The series of reports")
struct ReportSeriesTests {
    private static let ids = (1...4).map { DatabaseID(from: .seeded($0)) }
    private static let noon = Timestamp(microseconds: 1_800_000_000_000_000)

    private static func row(
        _ index: Int, counter: UInt64 = 5, failures: Int = 0, minute: Int64 = 0, isPaused: Bool = false
    ) throws -> DatabaseRow {
        var coverage = Coverage()
        coverage.take(
            .same(counter: counter),
            at: Coverage.Moment(now: noon, receiptCapturedAt: noon, triedWellAt: nil, period: .seconds(30)))
        let schedule = try #require(Schedule(every: .seconds(2), jitter: .milliseconds(500)))
        return DatabaseRow(
            database: ProtectedDatabase(
                id: ids[index], name: "db\(index)", path: "/db\(index)", schedule: schedule, isPaused: isPaused),
            attempt: Attempt(
                at: noon + .seconds(60 * minute), failuresInARow: failures,
                errorSummary: failures > 0 ? "no" : "", errorHint: ""),
            coverage: coverage, isFollowed: true)
    }

    private static func rows(_ change: (inout [DatabaseRow]) throws -> Void = { _ in }) throws -> [DatabaseRow] {
        var rows = try (0..<3).map { try row($0) }
        try change(&rows)
        return rows
    }

    @Test func theFirstSaysEverythingAndTheNextWhatIsNew() throws {
        var series = ReportSeries(life: "life", period: .seconds(30))
        let first = series.next(try Self.rows())
        #expect(!first.isDelta && first.databases.count == 3 && first.reportNumber == 1)
        #expect(first.life == "life" && first.periodMilliseconds == 30_000)
        series.delivered(wantsFull: false)
        let idle = series.next(try Self.rows { $0[0] = try Self.row(0, minute: 3) })
        #expect(idle.isDelta && idle.databases.isEmpty && idle.removed.isEmpty && idle.reportNumber == 2)
        series.delivered(wantsFull: false)
        let news = series.next(
            try Self.rows { rows in
                rows[0] = try Self.row(0, counter: 6)
                rows[1] = try Self.row(1, failures: 2)
                rows[2] = try Self.row(3)
            })
        #expect(news.databases.map(\.name) == ["db0", "db1", "db3"])
        #expect(news.removed == [Self.ids[2].description])
        series.delivered(wantsFull: false)
        let back = series.next(try Self.rows { $0.append(try Self.row(3)) })
        #expect(back.databases.map(\.name) == ["db0", "db1", "db2"] && back.removed.isEmpty)
    }

    @Test func whatWasNotAnsweredIsSaidAgain() throws {
        var series = ReportSeries(life: "life", period: .seconds(30))
        _ = series.next(try Self.rows())
        series.delivered(wantsFull: false)
        let lost = series.next(try Self.rows { $0[0] = try Self.row(0, counter: 6) })
        let again = series.next(
            try Self.rows { rows in
                rows[0] = try Self.row(0, counter: 6)
                rows[1] = try Self.row(1, counter: 7)
            })
        #expect(lost.reportNumber == 2 && again.reportNumber == 2)
        #expect(again.databases.map(\.name) == ["db0", "db1"])
    }

    @Test func whoAsksForEverythingGetsIt() throws {
        var series = ReportSeries(life: "life", period: .seconds(30))
        _ = series.next(try Self.rows())
        series.delivered(wantsFull: false)
        _ = series.next(try Self.rows())
        series.delivered(wantsFull: true)
        let full = series.next(try Self.rows())
        #expect(!full.isDelta && full.databases.count == 3 && full.reportNumber == 3)
    }

    @Test func aRowSaysHowTheDatabaseFares() throws {
        let well = try Self.row(0).message
        #expect(well.state == "ok" && well.capture == "followed" && !well.changedSinceReceipt)
        #expect(well.changeCounter == 5 && well.receiptChangeCounter == 5 && well.unprotectedSince.isEmpty)
        #expect(well.schedule == "every 2s" && well.intervalMilliseconds == 2500)
        let paused = try Self.row(0, isPaused: true).message
        #expect(paused.capture == "paused" && paused.changeCounter == 0 && paused.unprotectedSince.isEmpty)
        #expect(try Self.row(0, failures: 1).message.state == "failing")
    }
}
