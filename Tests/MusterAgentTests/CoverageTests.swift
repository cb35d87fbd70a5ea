import MusterModel
import Testing

@testable import MusterAgent

@Suite("Whether the newest receipt covers the source")
struct CoverageTests {
    private static func moment(_ seconds: Int64, receipt: Int64? = 0, triedWell: Int64? = nil) -> Coverage.Moment {
        Coverage.Moment(
            now: at(seconds), receiptCapturedAt: receipt.map(at), triedWellAt: triedWell.map(at),
            period: .seconds(30))
    }

    private static func at(_ seconds: Int64) -> Timestamp {
        Timestamp(microseconds: (1_000_000 + seconds) * 1_000_000)
    }

    @Test func onlyTheSourceItselfSaysThatNothingIsMissing() {
        var coverage = Coverage()
        #expect(!coverage.isCovered)
        coverage.take(.unseen, at: Self.moment(1, triedWell: 1))
        #expect(!coverage.isCovered, "a try that went well is no look")
        coverage.take(.same(counter: 7), at: Self.moment(10))
        #expect(coverage.isCovered && coverage.counter == 7 && coverage.coveredCounter == 7)
        coverage.take(.changed(counter: 8), at: Self.moment(20))
        #expect(!coverage.isCovered && coverage.counter == 8 && coverage.coveredCounter == 7)
        coverage.take(.changed(counter: 7), at: Self.moment(30))
        #expect(!coverage.isCovered && coverage.coveredCounter == 0, "an equal number would be taken for a proof")
    }

    @Test func aChangeIsAsOldAsItCanBeAndNoOlder() {
        var coverage = Coverage()
        coverage.take(.same(counter: 1), at: Self.moment(100))
        coverage.take(.changed(counter: 2), at: Self.moment(110))
        #expect(coverage.uncoveredSince == Self.at(100))
        coverage.take(.changed(counter: 3), at: Self.moment(140))
        #expect(coverage.uncoveredSince == Self.at(100), "it stays until a receipt comes")
        coverage.take(.changed(counter: 4), at: Self.moment(170, receipt: 150))
        #expect(coverage.uncoveredSince == Self.at(150))
        coverage.take(.same(counter: 4), at: Self.moment(200, receipt: 180))
        #expect(coverage.uncoveredSince == nil)
        coverage.take(.changed(counter: 5), at: Self.moment(400, receipt: 180))
        #expect(coverage.uncoveredSince == Self.at(370), "a period ago a look would have shown it")
        coverage.take(.changed(counter: 5), at: Self.moment(401, receipt: 9000))
        #expect(coverage.uncoveredSince == Self.at(401), "a clock was set")
    }

    @Test func withoutAnyReceiptItIsUncoveredSinceItWasMet() {
        var coverage = Coverage()
        coverage.take(.changed(counter: 0), at: Self.moment(5, receipt: nil))
        coverage.take(.changed(counter: 0), at: Self.moment(500, receipt: nil))
        #expect(coverage.uncoveredSince == Self.at(5))
    }

    @Test func whatNobodyLooksAtIsBelievedForAWhile() {
        var coverage = Coverage()
        coverage.take(.same(counter: 1), at: Self.moment(0))
        coverage.take(.unseen, at: Self.moment(300))
        #expect(coverage.isCovered)
        coverage.take(.unseen, at: Self.moment(310, triedWell: 200))
        #expect(coverage.isCovered, "the schedule looked")
        coverage.take(.unseen, at: Self.moment(501, triedWell: 200))
        #expect(!coverage.isCovered && coverage.uncoveredSince == Self.at(471), "and then stood still")
        coverage.take(.unseen, at: Self.moment(520, triedWell: 510))
        #expect(coverage.uncoveredSince == nil)
    }

    @Test func aClockThatWasSetBackProvesNothing() {
        var coverage = Coverage()
        coverage.take(.same(counter: 1), at: Self.moment(1000))
        coverage.take(.unseen, at: Self.moment(10, receipt: nil))
        #expect(!coverage.isCovered)
    }
}
