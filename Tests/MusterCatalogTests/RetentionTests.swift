import Foundation
import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Retention")
struct RetentionTests {
    private var history: History
    private var fixture: Fixture { history.fixture }

    init() async throws { history = try await History() }

    @Test mutating func whatAPolicyGivesUpIsInNoListAndIsFoundByItsId() async throws {
        try await history.grow(by: 6)
        try await history.setPolicy(.fleet, ["keep-last": "2"])
        #expect(try await history.apply() == 4)
        #expect(try await history.live() == [4, 5])
        #expect(try await history.expired() == [0, 1, 2, 3])
        let found = try #require(try await fixture.catalog.snapshot(history.ids[1]))
        let mark = try #require(found.mark)
        #expect(mark.graceUntil == fixture.clock.now() + .seconds(7 * 86_400))
        let prefix = String(history.ids[1].description.prefix(8))
        #expect(try await fixture.catalog.snapshots(withPrefix: prefix, of: nil, limit: 2).count == 1)
        // A restore to a moment goes by what is not marked.
        let moment = found.receivedAt + .seconds(1)
        #expect(try await fixture.catalog.newest(of: [history.database], at: moment) == nil)
        let database = try #require(try await fixture.catalog.database(history.database))
        #expect((database.snapshotCount, database.expiredCount) == (2, 4))
        #expect(database.newestSnapshot == history.ids[5])
    }

    @Test mutating func anUndoBringsBackAndNoPolicyMarksAgainSoon() async throws {
        try await history.grow(by: 5)
        try await history.setPolicy(.fleet, ["keep-last": "1"])
        let run = RunID(from: fixture.random)
        #expect(try await history.apply(run: run) == 4)
        #expect(try await fixture.catalog.undo(history.ids[0], now: fixture.clock.now()))
        #expect(try await !fixture.catalog.undo(history.ids[0], now: fixture.clock.now()), "it has no mark")
        #expect(try await fixture.catalog.undo(run, now: fixture.clock.now()) == 3)
        #expect(try await history.live() == [0, 1, 2, 3, 4])
        #expect(try await history.apply() == 0)
        let database = try #require(try await fixture.catalog.database(history.database))
        #expect((database.snapshotCount, database.expiredCount) == (5, 0))
        fixture.clock.advance(by: Catalog.spareDuration)
        #expect(try await history.apply() == 4)
        let runs = try await fixture.catalog.retentionRuns(limit: 9)
        #expect(runs.map(\.marked) == [4, 4] && runs.last?.id == run)
    }

    @Test mutating func afterTheGraceNothingIsBroughtBack() async throws {
        try await history.grow(by: 3)
        try await history.setPolicy(.fleet, ["keep-last": "1"])
        let run = RunID(from: fixture.random)
        try await history.apply(run: run)
        fixture.clock.advance(by: .seconds(7 * 86_400))
        #expect(try await fixture.catalog.undo(run, now: fixture.clock.now()) == 0)
        #expect(try await !fixture.catalog.undo(history.ids[0], now: fixture.clock.now()))
        #expect(try await history.hold(history.ids[0]) == .tooLate)
        #expect(try await history.live() == [2])
    }

    @Test mutating func aHoldWinsBeforeDuringAndAfterARun() async throws {
        try await history.grow(by: 5)
        try await history.setPolicy(.fleet, ["keep-last": "1"])
        #expect(try await history.hold(history.ids[0]) == .held)
        let verdict = try await history.verdict()
        // The policies and holds have changed since: nothing is marked by a decision that is not today's.
        #expect(try await history.hold(history.ids[1]) == .held)
        #expect(try await history.mark(verdict) == 0)
        #expect(try await history.apply() == 2)
        #expect(try await history.live() == [0, 1, 4])
        #expect(try await history.hold(history.ids[2]) == .broughtBack)
        #expect(try await history.live() == [0, 1, 2, 4])
        #expect(try await fixture.catalog.release(history.ids[0], "other") == false)
        #expect(try await fixture.catalog.release(history.ids[0], "audit") == true)
        #expect(try await history.apply() == 1)
        #expect(try await history.live() == [1, 2, 4])
        let stranger = SnapshotID(from: fixture.random)
        #expect(try await history.hold(stranger) == nil)
        #expect(try await fixture.catalog.release(stranger, "audit") == nil)
    }

    @Test mutating func headsAndTheNewestVerifiedOfEachLineageStay() async throws {
        try await history.grow(by: 3)
        try await history.grow(by: 3, every: .seconds(86_400), lineage: 1)
        for index in [0, 1, 3] { try await history.verify(history.ids[index]) }
        try await history.grow(by: 2, every: .seconds(86_400), lineage: 1)
        try await history.setPolicy(.fleet, ["keep-last": "1"])
        let verdict = try await history.verdict()
        #expect(verdict.decisions.map(\.reasons).first == ["keep-last slot 1", "the head of its lineage"])
        try await history.mark(verdict)
        #expect(try await history.live() == [1, 2, 3, 7])
    }

    /// What is verified, or is found wanting, between the decision and the mark counts too.
    @Test mutating func theMarkLooksAgainAtTheNewestVerified() async throws {
        try await history.grow(by: 4)
        for index in [0, 1] { try await history.verify(history.ids[index]) }
        try await history.setPolicy(.fleet, ["keep-last": "1"])
        let verdict = try await history.verdict()
        try await history.verify(history.ids[1], passes: false)
        #expect(try await history.mark(verdict) == 1, "of 0 and 2")
        #expect(try await history.live() == [0, 1, 3])
    }

    @Test mutating func theLastVerifiedOneComesBackWhenALaterOneFalls() async throws {
        try await history.grow(by: 4)
        for index in [0, 1, 2] { try await history.verify(history.ids[index]) }
        try await history.setPolicy(.fleet, ["keep-last": "1"])
        try await history.apply()
        #expect(try await history.live() == [2, 3])
        try await history.verify(history.ids[2], passes: false)
        try await history.apply()
        #expect(try await history.live() == [1, 3], "the failed one is given up in its place")
    }

    @Test mutating func whatGcMayHaveForgottenDoesNotComeBack() async throws {
        try await history.grow(by: 4)
        for index in [1, 2] { try await history.verify(history.ids[index]) }
        try await history.setPolicy(.fleet, ["keep-last": "1"])
        try await history.apply()
        fixture.clock.advance(by: .seconds(7 * 86_400))
        try await history.verify(history.ids[2], passes: false)
        try await history.apply()
        #expect(try await history.live() == [3])
    }

    @Test(arguments: AlarmKind.freezing)
    mutating func anAlarmFreezesItsDatabaseUntilItIsCleared(kind: AlarmKind) async throws {
        try await history.grow(by: 4)
        try await history.setPolicy(.fleet, ["keep-last": "1"])
        let verdict = try await history.verdict()
        let (database, now) = (history.database, fixture.clock.now())
        try await fixture.catalog.write { connection in
            try Catalog.raise(
                Catalog.Alarm(kind: kind, node: nil, database: database, summary: "", hint: "", since: now),
                in: connection)
        }
        #expect(try await history.mark(verdict) == 0)
        let frozen = try await history.verdict()
        #expect(frozen.alarm == kind.rawValue && frozen.decisions.allSatisfy { $0.isKept })
        #expect(try await history.apply() == 0)
        #expect(try await forget(0) == .frozen)
        #expect(try await fixture.catalog.clearAlarms(kind, of: database, now: now) == 1)
        #expect(try await history.apply() == 3)
    }

    private func forget(_ index: Int) async throws -> Catalog.ForgetOutcome? {
        try await fixture.catalog.forget(
            history.ids[index], run: RunID(from: fixture.random), graceUntil: fixture.clock.now() + .seconds(60),
            actor: "eve", now: fixture.clock.now())
    }

    @Test mutating func aPersonMayGiveUpAllButTheFloor() async throws {
        try await history.grow(by: 5)
        try await history.verify(history.ids[1])
        _ = try await history.hold(history.ids[2])
        #expect(try await forget(0) == .marked)
        #expect(try await forget(0) == .markedBefore)
        #expect(try await forget(1) == .newestVerified)
        #expect(try await forget(2) == .held)
        #expect(try await forget(4) == .head)
        #expect(try await history.live() == [1, 2, 3, 4])
        #expect(try await fixture.catalog.undo(history.ids[0], now: fixture.clock.now()))
        #expect(try await forget(0) == .marked, "a person's word counts for more than that of before")
    }

    @Test mutating func marksHoldsAndPoliciesSurviveARestart() async throws {
        try await history.grow(by: 4)
        try await history.setPolicy(.fleet, ["keep-last": "1"])
        _ = try await history.hold(history.ids[0])
        try await history.apply()
        try await fixture.catalog.close()
        let path = fixture.directory.file("catalog.db")
        let catalog = try Catalog(path: path, names: Fixture.names, sha256: Fixture.mix)
        let marks = try await catalog.snapshot(history.ids[1])?.mark
        #expect(marks != nil)
        #expect(try await catalog.snapshot(history.ids[0])?.holds.map(\.name) == ["audit"])
        #expect(try await catalog.policies().map(\.scope) == [.fleet])
        var query = Catalog.SnapshotQuery(limit: 9)
        query.databases = [history.database]
        #expect(try await catalog.snapshots(query).map(\.id) == [history.ids[3], history.ids[0]])
    }

    @Test mutating func aNarrowerPolicyWinsAndLabelsStandSideBySide() async throws {
        let (node, database) = (history.node.id, history.database)
        for index in 0..<8 {
            try await history.grow(
                by: 1, every: .seconds(86_400),
                labels: index < 4 ? ["kind": index % 2 == 0 ? "a" : "b", "both": "1"] : [:])
        }
        func wanted() async throws -> [Int] {
            try await history.verdict().decisions.filter(\.isKept).compactMap { decision in
                history.ids.firstIndex { $0 == decision.snapshot }
            }.sorted()
        }
        #expect(try await wanted() == Array(0..<8), "no policy gives nothing up")
        try await history.setPolicy(.fleet, ["keep-last": "1"])
        #expect(try await wanted() == [7])
        try await history.setPolicy(.node(node), ["keep-last": "2"])
        #expect(try await wanted() == [6, 7])
        try await history.setPolicy(.label(key: "kind", value: "a"), ["keep-last": "1"])
        #expect(try await wanted() == [2, 6, 7], "of those with the label one, of the others two")
        try await history.setPolicy(.label(key: "both", value: "1"), ["keep-last": "1"])
        #expect(try await wanted() == [2, 3, 6, 7], "each label keeps its own")
        try await history.setPolicy(.database(database), ["keep-last": "3"])
        #expect(try await wanted() == [5, 6, 7])
        #expect(
            try await fixture.catalog.setPolicy(.database(database), to: nil, actor: "eve", now: fixture.clock.now()))
        #expect(
            try await !fixture.catalog.setPolicy(.database(database), to: nil, actor: "eve", now: fixture.clock.now()))
        #expect(try await wanted() == [2, 3, 6, 7])
    }

    /// The node says that it is scheduled each second, and floods: what it was scheduled for before still counts.
    @Test mutating func aFloodPushesNothingOut() async throws {
        try await history.report(every: .seconds(86_400))
        try await history.grow(by: 10)
        try await history.setPolicy(.fleet, ["keep-last": "5"], minimumAge: "7d")
        try await history.report(every: .seconds(1))
        try await history.grow(by: 15, every: .seconds(1))
        try await history.apply()
        #expect(try await history.live().prefix(6).count { $0 < 10 } == 6, "four slots of days, and the minimum age")
        fixture.clock.advance(by: .seconds(6 * 86_400))
        try await history.grow(by: 15, every: .seconds(1))
        try await history.apply()
        let live = try await history.live()
        #expect(live.contains(9) && live.contains(8) && live.contains(7))
        // An interval that stood for a week is what the database is scheduled for.
        fixture.clock.advance(by: .seconds(9 * 86_400))
        try await history.grow(by: 20, every: .seconds(1))
        let verdict = try await history.verdict()
        #expect(verdict.decisions.contains { !$0.isKept })
    }

    @Test mutating func aFloodRaisesAnAlarmThatAPersonClears() async throws {
        try await history.report(every: .seconds(3600))
        try await history.grow(by: 10, every: .seconds(3600))
        try await history.setPolicy(.fleet, ["keep-last": "5"])
        try await history.grow(by: 29, every: .seconds(1))
        #expect(try await history.verdict().flood == nil, "ten times as many as scheduled, and twenty more")
        try await history.grow(by: 1, every: .seconds(1))
        try await history.report(every: .seconds(1))
        let verdict = try await history.verdict()
        let flood = try #require(verdict.flood)
        #expect(verdict.alarm == "flood" && verdict.decisions.allSatisfy { $0.isKept } && flood.count == 31)
        try await fixture.catalog.raise(flood, of: history.database, now: fixture.clock.now())
        fixture.clock.advance(by: .seconds(86_400))
        let later = try await history.verdict()
        #expect(later.alarm == "flood" && later.flood == nil, "the alarm stands when the flood is over")
        #expect(
            try await fixture.catalog.clearAlarms(.flood, of: history.database, now: fixture.clock.now()) == 1)
        #expect(try await history.apply() == 35, "the schedule is each second now, and each counts")
    }

    /// The times that a node names are in no rule: order, periods and ages are those of the receipts.
    @Test mutating func aClockThatLiesTimesNothingAnew() async throws {
        let parent = try await liar(after: nil, created: Timestamp(microseconds: 0))
        try await history.grow(by: 3)
        try await history.setPolicy(.fleet, ["keep-daily": "2"])
        let second = try await liar(after: parent, created: Timestamp(microseconds: .max / 2))
        let kept = try await history.verdict().decisions.filter(\.isKept).map(\.snapshot)
        #expect(kept == [second.snapshot, history.ids[2], history.ids[1]])
    }

    private func liar(after parent: Catalog.Commit?, created: Timestamp) async throws -> Catalog.Commit {
        fixture.clock.advance(by: .seconds(60))
        var commit = try fixture.commit(history.node, after: parent, database: history.database)
        (commit.begunAt, commit.createdAt) = (created, created)
        #expect(try await fixture.catalog.commit(commit) == .committed)
        return commit
    }

    @Test mutating func aRecordBringsPoliciesAndHoldsIntoAnotherCatalog() async throws {
        try await history.grow(by: 2)
        try await history.setPolicy(.node(history.node.id), ["keep-last": "3"], tags: ["a=b,c"])
        try await history.setPolicy(.label(key: "a", value: "x=y"), ["keep-within-daily": "1y5m"])
        _ = try await history.hold(history.ids[0])
        _ = try await history.hold(history.ids[0], name: "court")
        let record = try await fixture.catalog.retentionRecord()
        #expect(try await fixture.catalog.retentionRecord() == record)
        let policies = try await fixture.catalog.policies()
        let holds = try await fixture.catalog.snapshot(history.ids[0])?.holds

        let other = try Catalog(path: fixture.directory.file("other.db"), names: Fixture.names, sha256: Fixture.mix)
        let restored = try await other.restoreRetention(from: record)
        #expect(restored.policies == 2 && restored.unknownSnapshots == [history.ids[0], history.ids[0]])
        #expect(try await other.policies() == policies)

        #expect(try await fixture.catalog.release(history.ids[0], "court") == true)
        let before = try await fixture.catalog.retentionRevision()
        #expect(try await fixture.catalog.restoreRetention(from: record).holds == 2)
        #expect(try await fixture.catalog.retentionRevision() > before)
        #expect(try await fixture.catalog.snapshot(history.ids[0])?.holds == holds)
        await #expect(throws: CatalogError.damaged(column: "retention record")) {
            try await other.restoreRetention(from: Array("{}".utf8))
        }
    }

    /// `MUSTER_RETENTION_SNAPSHOTS` asks for more of them.
    @Test mutating func manyAreMarkedInManySmallTransactions() async throws {
        let asked = ProcessInfo.processInfo.environment["MUSTER_RETENTION_SNAPSHOTS"].flatMap { Int($0) }
        let count = asked ?? 2 * Catalog.markedAtOnce + 100
        try await history.grow(by: 1)
        let head = history.ids[0]
        try await fixture.catalog.write { connection in
            try connection.execute(
                sql: """
                    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
                    INSERT INTO snapshot(id, node, database, lineage, sequence, base_steps, manifest_hash,
                        manifest_bytes, created_at, received_at, moment, size_bytes, stored_bytes, content_root,
                        page_size, page_count, pack_count, method, labels)
                    SELECT randomblob(16), node, database, lineage, -i, 0, randomblob(32), 1, received_at - i * 60000000,
                        received_at - i * 60000000, moment - i * 60000000, 1, 1, content_root, 4096, 1, 1, method, labels
                    FROM n, snapshot s WHERE s.id = ?
                    """, arguments: [count, head.blob])
            try connection.execute(sql: "UPDATE database SET snapshot_count = snapshot_count + ?", arguments: [count])
        }
        try await history.setPolicy(
            .fleet, ["keep-last": "10", "keep-hourly": "24", "keep-daily": "7"], minimumAge: "7d")
        fixture.clock.advance(by: .seconds(7 * 86_400))
        let run = RunID(from: fixture.random)
        let verdict = try await history.verdict()
        let expiring = verdict.decisions.count { !$0.isKept }
        #expect(expiring > count / 2 && expiring < count)
        #expect(try await history.mark(verdict, run: run) == expiring)
        let database = try #require(try await fixture.catalog.database(history.database))
        #expect((database.snapshotCount, database.expiredCount) == (count + 1 - expiring, expiring))
        #expect(try await fixture.catalog.retentionRuns(limit: 2).map(\.marked) == [expiring])
        #expect(try await fixture.catalog.undo(run, now: fixture.clock.now()) == expiring)
    }

    @Test(arguments: [
        Catalog.policyQuery, Catalog.candidateQuery, Catalog.freezingQuery, Catalog.runQuery,
        Catalog.markStatement,
    ])
    func everyQuestionIsASearch(sql: String) async throws {
        for plan in try await fixture.plans(of: sql) {
            #expect(
                !plan.isEmpty && plan.allSatisfy { !$0.hasPrefix("SCAN") && !$0.contains("TEMP B-TREE") }, "\(plan)")
        }
    }

    /// Of a lineage, those that are marked and verified are sorted: they are few.
    @Test func whatIsCountedAndSortedIsFoundFirst() async throws {
        for plan in try await fixture.plans(of: Catalog.floodQuery) {
            #expect(plan.contains { $0.contains("USING COVERING INDEX snapshot_by_database_receipt (database=?") })
        }
        for plan in try await fixture.plans(of: Catalog.lastVerifiedQuery) {
            #expect(plan.allSatisfy { !$0.hasPrefix("SCAN") }, "\(plan)")
            #expect(plan.count { $0.contains("INDEX snapshot_verified (lineage=? AND expired_at") } == 2, "\(plan)")
        }
    }
}
