import MusterCatalog
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCoordinator

private let now = Timestamp(microseconds: 1_800_000_000_000_000)

@Suite("How much would be lost now")
struct FreshnessTests {
    /// A database that is as its newest receipt has it, captured 100 s ago; its node spoke 10 s ago.
    private struct Case {
        var database: Catalog.Database
        var node: Catalog.Node
        var standing: ReportBook.Standing?
        var startedAt = now - .seconds(100_000)

        init() {
            let id = NodeID(from: .seeded(1))
            database = Catalog.Database(id: DatabaseID(from: .seeded(2)), node: id, nodeName: "alpha", name: "app")
            database.state = "ok"
            database.capture = "followed"
            (database.changeCounter, database.receiptChangeCounter) = (7, 7)
            database.intervalMilliseconds = 1000
            database.reportedAt = now - .seconds(40)
            database.newestReceivedAt = now - .seconds(99)
            database.newestCreatedAt = now - .seconds(100)
            node = Catalog.Node(
                id: id, name: "alpha", scope: ScopeID(from: .seeded(3)), signingKey: [], keyObject: "",
                joinedAt: now - .seconds(200_000), agentVersion: "1")
            node.reportedAt = now - .seconds(40)
            standing = ReportBook.Standing(life: "a", number: 9, at: now - .seconds(10), period: .seconds(30))
        }

        var silence: NodeSilence {
            NodeSilence(.init(of: node), standing, startedAt: startedAt, tolerance: .seconds(60), now: now)
        }
        var freshness: Freshness { Freshness(database, of: silence, now: now) }
        var seconds: Double? { freshness.recoveryPoint?.inSeconds }

        func with(_ change: (inout Case) -> Void) -> Case {
            var copy = self
            change(&copy)
            return copy
        }
    }

    private let good = Case()

    @Test func nothingIsLostOfWhatTheNodeVouchesFor() {
        #expect(good.seconds == 0)
        #expect(good.freshness.vouchedAt == now - .seconds(10), "by a delta that did not name it")
        #expect(good.freshness.stuckSince == nil && good.silence.since == nil)
    }

    /// Each is one doubt, and each is enough.
    @Test func inAnyDoubtItIsTheAgeOfTheNewestReceiptsCapture() {
        let doubts: [(String, (inout Case) -> Void)] = [
            ("the source went on", { $0.database.changeCounter = 8 }),
            ("no counter is known", { ($0.database.changeCounter, $0.database.receiptChangeCounter) = (0, 0) }),
            ("the node says that it changed", { $0.database.hasChanged = true }),
            ("changes are unprotected", { $0.database.unprotectedSince = now - .seconds(3) }),
            ("nobody looks at it", { $0.database.capture = "paused" }),
            ("it is protected no longer", { $0.database.state = Catalog.removedState }),
            (
                "the report is old",
                {
                    $0.standing?.at = now - .seconds(61)
                    $0.database.reportedAt = now - .seconds(61)
                }
            ),
            (
                "the coordinator lost track",
                {
                    $0.standing = nil
                    $0.database.reportedAt = now - .seconds(61)
                }
            ),
            ("it was never reported", { $0.database.reportedAt = nil }),
        ]
        for (doubt, change) in doubts { #expect(good.with(change).seconds == 100, "\(doubt)") }
    }

    /// What was committed after the report was written after it too, as far as anyone knows.
    @Test func aReportThatIsOlderThanTheNewestReceiptProvesNothing() {
        let newer = good.with {
            $0.database.newestReceivedAt = now - .seconds(8)
            $0.database.newestCreatedAt = now - .seconds(9)
        }
        #expect(newer.seconds == 9)
        #expect(newer.with { $0.standing?.at = now - .seconds(7) }.seconds == 0)
    }

    @Test func aLongIntervalLetsAReportCountForLonger() {
        let slow = good.with {
            $0.database.intervalMilliseconds = 90_000
            $0.standing?.at = now - .seconds(80)
            $0.database.reportedAt = now - .seconds(80)
            $0.database.newestReceivedAt = now - .seconds(500)
            $0.database.newestCreatedAt = now - .seconds(500)
        }
        #expect(slow.seconds == 0)
        let silent = slow.with {
            $0.database.intervalMilliseconds = 86_400_000
            $0.standing?.at = now - .seconds(130)
            $0.database.reportedAt = now - .seconds(130)
            $0.node.reportedAt = now - .seconds(130)
        }
        #expect(silent.seconds == 500, "but not for longer than its node may be silent")
    }

    @Test func withoutASnapshotThereIsNoAge() {
        #expect(good.with { $0.database.newestReceivedAt = nil }.seconds == nil)
    }

    @Test func whicheverClockSaysOlderCounts() {
        let changed = good.with { $0.database.changeCounter = 8 }
        #expect(changed.with { $0.database.newestCreatedAt = now + .seconds(500) }.seconds == 99)
        // The node's clock is 50 s ahead, so its capture was earlier than it seems.
        #expect(changed.with { $0.node.clockOffset = .seconds(50) }.seconds == 150)
    }

    @Test func changesThatTheScheduleDoesNotExplainAreAnAlarm() {
        func since(_ seconds: Double, interval: Int64, offset: Double = 0) -> Timestamp? {
            good.with {
                $0.database.unprotectedSince = now - .seconds(seconds)
                $0.database.intervalMilliseconds = interval
                $0.node.clockOffset = .seconds(offset)
            }.freshness.stuckSince
        }
        #expect(since(62, interval: 1000) == nil)
        #expect(since(64, interval: 1000) == now - .seconds(64))
        #expect(since(900, interval: 300_000) == nil)
        #expect(since(961, interval: 300_000) != nil)
        #expect(since(50, interval: 1000, offset: 20) != nil, "by the node's clock")
        let paused = good.with {
            $0.database.unprotectedSince = now - .seconds(9000)
            $0.database.capture = "paused"
        }
        #expect(paused.freshness.stuckSince == nil)
    }

    @Test func aNodeIsSilentAfterTwoReportsAndAMinute() {
        func silent(_ age: Double, period: Double = 30, startedAgo: Double = 10_000) -> Timestamp? {
            good.with {
                $0.standing?.at = now - .seconds(age)
                $0.standing?.period = .seconds(period)
                $0.node.reportedAt = now - .seconds(age + 5)
                $0.startedAt = now - .seconds(startedAgo)
            }.silence.since
        }
        #expect(silent(119) == nil)
        #expect(silent(121) == now - .seconds(121))
        #expect(silent(121, period: 60) == nil)
        #expect(silent(181, period: 60) != nil)
        #expect(silent(5000, startedAgo: 100) == nil, "nobody could reach a coordinator that was not there")
        let fresh = good.with {
            ($0.standing, $0.node.reportedAt) = (nil, nil)
            $0.node.joinedAt = now - .seconds(600)
        }
        #expect(fresh.silence.since == nil)
        #expect(fresh.with { $0.node.joinedAt = now - .seconds(901) }.silence.since != nil)
        #expect(fresh.with { $0.node.state = .revoked }.silence.since == nil)
    }

    @Test func reportsHaveAnOrder() {
        let book = ReportBook()
        let node = NodeID(from: .seeded(1))
        func place(_ number: UInt64, life: String = "a", isDelta: Bool = true) -> ReportBook.Place {
            book.place(of: number, life: life, isDelta: isDelta, from: node)
        }
        #expect(place(2) == .gap && place(1, isDelta: false) == .next)
        book.take(ReportBook.Standing(life: "a", number: 5, at: now, period: .seconds(1)), from: node)
        #expect(place(6) == .next && place(5) == .next && place(7) == .gap && place(4) == .late)
        #expect(place(9, isDelta: false) == .next && place(4, isDelta: false) == .late)
        #expect(place(1, life: "b") == .gap && place(1, life: "b", isDelta: false) == .next)
        book.lose(node)
        #expect(place(6) == .gap)
    }
}
