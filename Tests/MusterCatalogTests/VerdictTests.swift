import Foundation
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Verdicts and the states of replicas")
struct VerdictTests {
    private let fixture: Fixture
    private let node: Catalog.Node
    private let commit: Catalog.Commit

    init() async throws {
        fixture = try await Fixture()
        node = try await fixture.makeNode()
        commit = try fixture.commit(node)
        #expect(try await fixture.catalog.commit(commit) == .committed)
    }

    private var finding: Failing {
        Failing(snapshot: "\(commit.snapshot)", store: "main", object: "packs/x", reason: "gone")
    }

    private func begin(_ level: VerificationLevel, jobs: [Catalog.Job] = []) async throws -> RunID {
        let run = RunID(from: fixture.random)
        try await fixture.catalog.begin(
            run, level: level, snapshots: [commit.snapshot], jobs: jobs, now: fixture.clock.now())
        return run
    }

    /// Ends the run a second later, and gives the snapshot's verdict.
    private func end(_ run: RunID, passed: Bool) async throws -> String? {
        fixture.clock.advance(by: .seconds(1))
        try await fixture.catalog.conclude(
            commit.snapshot, in: run, .inspected(passed ? [] : [finding]), now: fixture.clock.now())
        fixture.clock.advance(by: .seconds(1))
        return try await fixture.catalog.snapshot(commit.snapshot)?.verdict
    }

    @Test func onlyBytesReadAgainMakeAReplicaGood() async throws {
        let pack = try await fixture.makePack(node)
        let replica = try #require(try await fixture.catalog.replicas(of: pack, in: nil).first)
        func isPresent(after state: Catalog.ReplicaState, isHashed: Bool) async throws -> Bool {
            try await fixture.catalog.mark(
                pack: replica.pack, store: replica.store, generation: replica.generation, as: state,
                isHashed: isHashed, now: fixture.clock.now())
            return try await fixture.catalog.hasPack(pack, in: node.scope)
        }
        #expect(try await !isPresent(after: .damaged, isHashed: true))
        #expect(try await !isPresent(after: .present, isHashed: false))
        #expect(try await isPresent(after: .present, isHashed: true))
        #expect(try await !isPresent(after: .missing, isHashed: false), "a size is enough to lose it")
    }

    @Test func aReplicaIsNoBetterThanThePacksItsSnapshotNeeds() async throws {
        let (old, new) = (try await fixture.makePack(node), try await fixture.makePack(node))
        let first = try fixture.commit(node, after: commit, packs: [old])
        let second = try fixture.commit(node, after: first, packs: [old, new])
        let third = try fixture.commit(node, after: second, packs: [new])
        for commit in [first, second, third] { #expect(try await fixture.catalog.commit(commit) == .committed) }
        func states() async throws -> [Catalog.ReplicaState] {
            var query = Catalog.SnapshotQuery(limit: 10)
            query.databases = [commit.database]
            let listed = try await fixture.catalog.snapshots(query)
            #expect(listed.map(\.id) == [third.snapshot, second.snapshot, first.snapshot, commit.snapshot])
            return listed.flatMap { $0.replicas.map(\.wholeState) }
        }
        #expect(try await states() == [.present, .present, .present, .present])
        let replica = try #require(try await fixture.catalog.replicas(of: old, in: nil).first)
        func mark(_ state: Catalog.ReplicaState) async throws {
            try await fixture.catalog.mark(
                pack: replica.pack, store: replica.store, generation: replica.generation, as: state, isHashed: true,
                now: fixture.clock.now())
        }
        try await mark(.damaged)
        #expect(try await states() == [.present, .damaged, .damaged, .present])
        // Where very many are bad, it is the snapshot's packs that are gone through.
        for _ in 0..<600 {
            let other = try #require(
                try await fixture.catalog.replicas(of: try await fixture.makePack(node), in: nil).first)
            try await fixture.catalog.mark(
                pack: other.pack, store: other.store, generation: other.generation, as: .missing, isHashed: false,
                now: fixture.clock.now())
        }
        #expect(try await states() == [.present, .damaged, .damaged, .present])
        try await mark(.present)
        #expect(try await states() == [.present, .present, .present, .present])
    }

    @Test func aFailureStandsUntilALaterInspectionAsDeepPasses() async throws {
        let earlier = try await begin(.scrub)
        #expect(try await end(try await begin(.scrub), passed: false) == "failed scrub")
        #expect(try await end(try await begin(.check), passed: true) == "failed scrub", "not as deep")
        #expect(try await end(earlier, passed: true) == "failed scrub", "it began before")
        #expect(try await end(try await begin(.verify), passed: true) == "failed scrub", "a node's word")
        #expect(try await fixture.catalog.snapshot(commit.snapshot)?.verifiedAt != nil)
        #expect(try await fixture.catalog.damagedDatabases().map(\.snapshot) == [commit.snapshot])
        #expect(try await end(try await begin(.scrub), passed: true) == "passed scrub")
        #expect(try await fixture.catalog.damagedDatabases().isEmpty)
    }

    private func job(_ run: RunID) -> Catalog.Job {
        var job = Catalog.Job(
            id: JobID(from: fixture.random), kind: .verify, node: node.id, database: commit.database,
            createdAt: fixture.clock.now())
        (job.run, job.snapshot, job.level) = (run, commit.snapshot, "verify")
        return job
    }

    @Test func aJobThatCouldNotBeDoneSaysNothingOfTheSnapshot() async throws {
        let run = try await begin(.verify)
        let job = job(run)
        try await fixture.catalog.add([job])
        _ = try await fixture.catalog.finish(
            job.id, of: node.id, state: .failed, snapshot: nil, errorSummary: "no space", errorHint: "",
            now: fixture.clock.now())
        let verification = try #require(try await fixture.catalog.verification(run))
        #expect(verification.isFinished && verification.passed == 0 && verification.total == 1)
        #expect(verification.failed.map(\.failing.reason) == ["not verified: no space"])
        #expect(try await fixture.catalog.snapshot(commit.snapshot)?.verdict == "")
        #expect(try await fixture.catalog.damagedDatabases().isEmpty)
    }

    @Test func aRunWhoseJobIsClosedEndsAtTheNextStart() async throws {
        let run = RunID(from: fixture.random)
        let job = job(run)
        try await fixture.catalog.add([job])
        _ = try await fixture.catalog.finish(
            job.id, of: node.id, state: .done, snapshot: nil, errorSummary: "", errorHint: "",
            now: fixture.clock.now())
        try await fixture.catalog.begin(
            run, level: .verify, snapshots: [commit.snapshot], jobs: [], now: fixture.clock.now())
        try await fixture.catalog.concludeClosedJobs(now: fixture.clock.now())
        let verification = try #require(try await fixture.catalog.verification(run))
        #expect(verification.isFinished && verification.passed == 0)
    }

    @Test func aJobOfANodeInTouchMayTakeItsTime() async throws {
        let job = job(RunID(from: fixture.random))
        try await fixture.catalog.add([job])
        func expired(after hours: Int, contactAfter contact: Int) async throws -> Int {
            let now = job.createdAt + .seconds(hours * 3600)
            try await fixture.catalog.touch(node.id, at: job.createdAt + .seconds(contact * 3600))
            return try await fixture.catalog.expireJobs(untouchedSince: now - .seconds(3600), now: now).count
        }
        #expect(try await expired(after: 4, contactAfter: 4) == 0)
        #expect(try await expired(after: 24, contactAfter: 24) == 0)
        #expect(try await expired(after: 6, contactAfter: 4) == 1)
        try await fixture.catalog.add([self.job(RunID(from: fixture.random))])
        #expect(try await expired(after: 26, contactAfter: 26) == 0, "it waits for its turn")
        #expect(
            try await fixture.catalog.takeJobs(of: node.id, Catalog.Asking(boot: "one"), limit: 1, now: job.createdAt)
                .count == 1)
        #expect(try await expired(after: 26, contactAfter: 26) == 1, "no outcome is waited for longer than a day")
    }

    @Test func aDatabaseHasOneAlarmOfItsForks() async throws {
        for number in 1...3 {
            var branch = try fixture.commit(node, database: commit.database)
            branch.forkedFrom = "fork \(number)"
            #expect(try await fixture.catalog.commit(branch) == .committed)
        }
        let alarms = try await fixture.catalog.alarms(now: Timestamp(microseconds: 0))
        #expect(alarms.count == 1 && alarms.first?.summary.hasSuffix("fork 3") == true)
    }

    @Test func theParentIsTheHeadsSnapshot() async throws {
        var next = try fixture.commit(node, after: commit)
        next.parent = SnapshotID(from: fixture.random)
        guard case .stale(let head) = try await fixture.catalog.commit(next) else {
            Issue.record("another parent was taken")
            return
        }
        #expect(head?.snapshot == commit.snapshot)
    }

    @Test func aNodeNamesOnlySoManyDatabases() async throws {
        func report(_ count: Int) async throws {
            let databases = (0..<count).map { number in
                Catalog.Database(
                    id: DatabaseID(from: fixture.random), node: node.id, nodeName: "", name: "db-\(number)")
            }
            _ = try await fixture.catalog.record(
                Catalog.Report(agentVersion: "1", clockOffset: .zero, databases: databases, isWhole: false),
                from: node.id, now: fixture.clock.now())
        }
        try await report(Catalog.maximumDatabases - 1)
        await #expect(throws: CatalogError.tooManyDatabases(limit: Catalog.maximumDatabases)) { try await report(1) }
        let databases = try await fixture.catalog.databases(of: node.id)
        #expect(databases.count == Catalog.maximumDatabases)
        await #expect(throws: CatalogError.tooManyDatabases(limit: Catalog.maximumDatabases)) {
            _ = try await fixture.catalog.preview(try fixture.commit(node))
        }
        let known = try fixture.commit(node, database: databases[0].id)
        #expect(try await fixture.catalog.preview(known).outcome == .committed)
    }
}
