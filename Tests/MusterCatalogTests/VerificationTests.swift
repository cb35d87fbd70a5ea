import Foundation
import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Runs over the fleet")
struct VerificationTests {
    private let fixture: Fixture
    private let alpha: Catalog.Node
    private let beta: Catalog.Node
    private var catalog: Catalog { fixture.catalog }

    init() async throws {
        fixture = try await Fixture()
        (alpha, beta) = (try await fixture.makeNode("alpha"), try await fixture.makeNode("beta"))
        for node in [alpha, beta] { try await fixture.catalog.touch(node.id, at: fixture.clock.now()) }
    }

    private func commit(_ node: Catalog.Node, name: String = "app") async throws -> Catalog.Commit {
        let commit = try fixture.commit(node, name: name)
        #expect(try await catalog.commit(commit) == .committed)
        return commit
    }

    private func job(_ commit: Catalog.Commit, _ run: RunID, _ level: VerificationLevel = .verify) -> Catalog.Job {
        var job = Catalog.Job(
            id: JobID(from: fixture.random), kind: .verify, node: commit.node, database: commit.database,
            createdAt: fixture.clock.now())
        (job.run, job.snapshot, job.level) = (run, commit.snapshot, level.rawValue)
        return job
    }

    private func begin(
        _ commits: [Catalog.Commit], _ level: VerificationLevel = .verify, patience: Duration = .seconds(900)
    ) async throws -> RunID {
        let run = RunID(from: fixture.random)
        try await catalog.begin(
            Catalog.NewVerification(run: run, level: level, patience: patience), now: fixture.clock.now())
        let step = Catalog.VerificationStep(
            snapshots: commits.map(\.snapshot), jobs: commits.map { job($0, run, level) }, isLast: true)
        try await catalog.add(step, to: run, now: fixture.clock.now())
        return run
    }

    private func take(_ node: Catalog.Node, boot: String = "one", atOnce: Int = 10) async throws -> [Catalog.Job] {
        try await catalog.takeJobs(
            of: node.id, Catalog.Asking(boot: boot), limit: 10, inspectionsAtOnce: atOnce, now: fixture.clock.now())
    }

    private func finish(
        _ job: Catalog.Job, findings: [Failing] = [], drill: Catalog.DrillMeasure? = nil
    ) async throws {
        _ = try await catalog.finish(
            job.id, of: job.node, state: .done, snapshot: job.snapshot, findings: findings,
            effort: Catalog.Effort(seconds: 2, bytesRead: 100), drill: drill, errorSummary: "", errorHint: "",
            now: fixture.clock.now())
    }

    // MARK: - Filling

    @Test func aRunIsFilledInStepsAndEndsOnlyWhenItIsFull() async throws {
        let (first, second) = (try await commit(alpha), try await commit(beta))
        let bare = DatabaseID(from: fixture.random)
        let report = Catalog.Report(
            agentVersion: "1", clockOffset: .zero,
            databases: [Catalog.Database(id: bare, node: beta.id, nodeName: "", name: "new")], isWhole: false)
        _ = try await catalog.record(report, from: beta.id, now: fixture.clock.now())

        let run = RunID(from: fixture.random)
        try await catalog.begin(
            Catalog.NewVerification(run: run, level: .verify, scope: VerificationScope.fleet), now: fixture.clock.now())
        var seen: [Catalog.Candidate] = []
        while let next = try await catalog.candidates(after: seen.last?.database, limit: 1).first {
            seen.append(next)
            let step = Catalog.VerificationStep(
                snapshots: [next.snapshot].compactMap { $0 }, jobs: [],
                bare: next.snapshot == nil ? [next.database] : [],
                filledTo: next.database, isLast: false)
            try await catalog.add(step, to: run, now: fixture.clock.now())
            #expect(try await catalog.fillings().map(\.filledTo) == [next.database])
        }
        #expect(Set(seen.map(\.database)) == [first.database, second.database, bare])
        for commit in [first, second] {
            try await catalog.conclude(commit.snapshot, in: run, .inspected([]), now: fixture.clock.now())
        }
        #expect(try await catalog.verification(run)?.isFinished == false, "more may come")
        try await catalog.add(
            Catalog.VerificationStep(snapshots: [], jobs: [], isLast: true), to: run, now: fixture.clock.now())
        let ended = try #require(try await catalog.verification(run))
        #expect(ended.isFinished && ended.passed == 2 && ended.total == 3 && ended.unfinished == 1)
        #expect(ended.failed.map(\.failing.reason) == ["it has no snapshot"])
        #expect(ended.failed.map(\.databaseName) == ["new"])
        #expect(try await catalog.fillings().isEmpty)
    }

    /// Between the question for the newest snapshots and the step that adds them, gc may have come.
    @Test func whatGCTookBeforeItWasAddedCountsAndDoesNotKeepTheRunOpen() async throws {
        let (kept, given, dropped) = (
            try await commit(alpha), try await commit(alpha, name: "b"), try await commit(beta)
        )
        let run = RunID(from: fixture.random)
        try await catalog.begin(Catalog.NewVerification(run: run, level: .verify), now: fixture.clock.now())
        try await catalog.write { database in
            try database.run("UPDATE snapshot SET forgotten_at = 1 WHERE id = ?", [given.snapshot.blob])
        }
        let gone = SnapshotID(from: fixture.random)
        let step = Catalog.VerificationStep(
            snapshots: [kept.snapshot, given.snapshot, gone], owners: [gone: dropped.database],
            jobs: [kept, given].map { job($0, run) }, isLast: true)
        try await catalog.add(step, to: run, now: fixture.clock.now())
        let begun = try #require(try await catalog.verification(run))
        #expect(begun.total == 3 && begun.unfinished == 2 && !begun.isFinished)
        #expect(begun.waiting == [kept.snapshot])
        #expect(begun.failed.map(\.databaseName) == ["b", "app"])
        let reasons = begun.failed.map(\.failing.reason)
        #expect(zip(reasons, [given.snapshot, gone]).allSatisfy { $0.contains("\($1)") && $0.contains("given up") })
        #expect(try await catalog.openInspections() == 1, "what cannot be inspected is nobody's job")
        try await catalog.conclude(kept.snapshot, in: run, .inspected([]), now: fixture.clock.now())
        #expect(try await catalog.verification(run)?.isFinished == true)
    }

    @Test func whatIsAddedTwiceCountsOnceAndAFullRunTakesNothing() async throws {
        let commit = try await commit(alpha)
        let run = RunID(from: fixture.random)
        try await catalog.begin(Catalog.NewVerification(run: run, level: .verify), now: fixture.clock.now())
        for isLast in [false, true, false] {
            let step = Catalog.VerificationStep(snapshots: [commit.snapshot], jobs: [job(commit, run)], isLast: isLast)
            try await catalog.add(step, to: run, now: fixture.clock.now())
        }
        #expect(try await catalog.verification(run)?.total == 1)
        #expect(try await catalog.openInspections() == 1)
    }

    // MARK: - Handing out

    @Test func aNodeHasOneInspectionAtATimeAndSnapshotsBesideIt() async throws {
        let commits = [try await commit(alpha, name: "a"), try await commit(alpha, name: "b")]
        let run = try await begin(commits)
        let first = try await take(alpha)
        #expect(first.map(\.snapshot) == [commits[0].snapshot])
        #expect(try await take(alpha).isEmpty, "it has one to do")
        #expect(try await take(alpha, boot: "two").map(\.id) == first.map(\.id), "its earlier life had it")
        var snapshot = Catalog.Job(
            id: JobID(from: fixture.random), kind: .snapshot, node: alpha.id, database: commits[0].database,
            createdAt: fixture.clock.now())
        snapshot.labels = ["a": "b"]
        try await catalog.add([snapshot])
        #expect(try await take(alpha, boot: "two").map(\.id) == [snapshot.id])
        try await finish(first[0])
        #expect(try await take(alpha, boot: "two").map(\.snapshot) == [commits[1].snapshot])
        #expect(try await catalog.verification(run)?.passed == 1)
    }

    @Test func soManyNodesInspectAtOnceAndAnAwayOneDoesNotCount() async throws {
        _ = try await begin([try await commit(alpha), try await commit(beta)])
        #expect(try await take(alpha, atOnce: 1).count == 1)
        #expect(try await take(beta, atOnce: 1).isEmpty)
        #expect(try await catalog.nodesToInspect(after: alpha.id, limit: 4) == [beta.id])
        fixture.clock.advance(by: .seconds(600))
        try await catalog.touch(beta.id, at: fixture.clock.now())
        #expect(try await take(beta, atOnce: 1).count == 1, "nobody waits for a node that is away")
    }

    // MARK: - Away

    @Test func aNodeThatIsAwayIsGivenUpAfterTheRunsPatience() async throws {
        let commits = [try await commit(alpha, name: "a"), try await commit(alpha, name: "b"), try await commit(beta)]
        let heard = fixture.clock.now()
        let run = try await begin(commits, patience: .seconds(60))
        _ = try await take(alpha)
        let start = fixture.clock.now()
        func giveUp(listeningSince: Timestamp = start) async throws -> Int {
            try await catalog.giveUp(listeningSince: listeningSince, now: fixture.clock.now())
        }
        fixture.clock.advance(by: .seconds(59))
        #expect(try await giveUp() == 0)
        try await catalog.touch(beta.id, at: fixture.clock.now())
        fixture.clock.advance(by: .seconds(2))
        #expect(
            try await giveUp(listeningSince: fixture.clock.now()) == 0, "a coordinator that just began heard nobody")
        #expect(try await giveUp() == 2, "beta was heard of")
        #expect(try await giveUp() == 0)
        let running = try #require(try await catalog.verification(run))
        #expect(!running.isFinished && running.unfinished == 2 && running.waitingCount == 1)
        let reason = "not verified: node 'alpha' has been away since \(heard)"
        #expect(running.failed.map(\.failing.reason) == [reason, reason])
        #expect(try await catalog.snapshot(commits[0].snapshot)?.verdict == "", "it says nothing of the snapshot")
        let beta = try #require(try await take(beta).first)
        try await finish(beta)
        #expect(try await catalog.verification(run)?.isFinished == true)
    }

    @Test func aNodeThatWasRevokedIsGivenUpAtOnce() async throws {
        let run = try await begin([try await commit(alpha)])
        try await catalog.revoke(alpha.id, at: fixture.clock.now())
        let ended = try #require(try await catalog.verification(run))
        #expect(ended.isFinished && ended.failed.map(\.failing.reason) == ["not verified: node 'alpha' was revoked"])
        #expect(try await catalog.giveUp(listeningSince: fixture.clock.now(), now: fixture.clock.now()) == 0)
    }

    @Test func aRunOverANodeThatHasEndedIsGivenUpAtOnce() async throws {
        let snapshot = try await commit(alpha)
        try await catalog.revoke(alpha.id, at: fixture.clock.now())
        let run = try await begin([snapshot])
        #expect(try await catalog.giveUp(listeningSince: fixture.clock.now(), now: fixture.clock.now()) == 1)
        let ended = try #require(try await catalog.verification(run))
        #expect(ended.isFinished && ended.failed.map(\.failing.reason) == ["not verified: node 'alpha' is revoked"])
    }

    @Test func aQueueMayBeLongerThanADay() async throws {
        let commits = [try await commit(alpha, name: "a"), try await commit(alpha, name: "b")]
        _ = try await begin(commits)
        _ = try await take(alpha)
        fixture.clock.advance(by: .seconds(26 * 3600))
        let now = fixture.clock.now()
        try await catalog.touch(alpha.id, at: now)
        let expired = try await catalog.expireJobs(untouchedSince: now - .seconds(3600), now: now)
        #expect(expired.map(\.snapshot) == [commits[0].snapshot], "only what was handed out a day ago")
    }

    // MARK: - What stays

    @Test func countsOfARunAndItsNodesAreKept() async throws {
        let commits = [try await commit(alpha, name: "a"), try await commit(alpha, name: "b"), try await commit(beta)]
        let run = try await begin(commits)
        let finding = Failing(snapshot: "\(commits[0].snapshot)", store: "main", object: "packs/x", reason: "gone")
        try await finish(try #require(try await take(alpha).first), findings: [finding])
        try await finish(try #require(try await take(alpha).first))
        let nodes = try await catalog.nodes(in: run, limit: 10)
        #expect(nodes.map(\.name) == ["alpha", "beta"])
        #expect(nodes.map(\.passed) == [1, 0] && nodes.map(\.failed) == [1, 0] && nodes.map(\.total) == [2, 1])
        #expect(nodes[0].bytesRead == 200 && nodes[0].seconds == 4)
        #expect(try await catalog.nodes(in: run, after: "alpha", limit: 10).map(\.name) == ["beta"])
        let items = try await catalog.items(in: run, limit: 2)
        #expect(items.map(\.state) == ["failed", "passed"])
        let rest = try await catalog.items(in: run, after: items[1].position, limit: 2)
        #expect(rest.map(\.snapshot) == [commits[2].snapshot] && rest.map(\.state) == ["waiting"])
        #expect(try await catalog.items(in: run, node: beta.id, limit: 9).count == 1)
        #expect(try await catalog.items(in: run, state: "failed", limit: 9).map(\.databaseName) == ["a"])
        let found = try #require(try await catalog.verification(run))
        #expect(found.failed.map(\.failing) == [finding] && found.failed.map(\.nodeName) == ["alpha"])
        #expect(try await catalog.verification(run, findingsAfter: Int64.max)?.failed == [])
    }

    @Test func runsAreListedNewestFirstInPages() async throws {
        let commit = try await commit(alpha)
        var runs: [RunID] = []
        for _ in 0..<5 {
            fixture.clock.advance(by: .seconds(1))
            runs.insert(try await begin([commit]), at: 0)
        }
        #expect(try await catalog.verifications(limit: 3).map(\.run) == Array(runs[..<3]))
        #expect(try await catalog.verifications(after: runs[2], limit: 3).map(\.run) == Array(runs[3...]))
    }

    @Test func aDrillIsKeptWithWhatItMeasured() async throws {
        let commit = try await commit(alpha)
        var measure = Catalog.DrillMeasure()
        (measure.restoreSeconds, measure.restoredBytes, measure.rowCount) = (1.5, 4096, 7)
        (measure.isCompared, measure.comparedWith) = (true, SnapshotID(from: fixture.random))
        (measure.tableCount, measure.tablesPresent, measure.integrity) = (1000, 1200, "ok")
        measure.assertions = [
            .init(name: "orders", passed: false, value: 3, reason: "its value is not within the bounds")
        ]
        for passes in [true, false] {
            fixture.clock.advance(by: .seconds(1))
            _ = try await begin([commit], .drill)
            let finding = Failing(snapshot: "\(commit.snapshot)", store: "", object: "", reason: "assertion")
            try await finish(
                try #require(try await take(alpha).first), findings: passes ? [] : [finding], drill: measure)
            if passes { measure.restoreSeconds = 99 }
        }
        let drills = try await catalog.drills(of: commit.database, limit: 10)
        #expect(drills.map(\.passed) == [false, true] && drills.map(\.measure.restoreSeconds) == [99, 1.5])
        #expect(drills.first?.measure == measure && drills.map(\.reason) == ["assertion", ""])
        let database = try #require(try await catalog.database(commit.database))
        #expect(database.restoreSeconds == 1.5 && database.restoredBytes == 4096, "that of the one that passed")
        #expect(database.drilledAt == drills[1].at && database.verifiedAt == drills[1].at)
        #expect(try await catalog.snapshot(commit.snapshot)?.verdict == "failed drill")
    }

    /// What could not be rebuilt was drilled all the same: it is the most important row of the history.
    @Test func aDrillThatRebuiltNothingIsHistoryToo() async throws {
        let commit = try await commit(alpha)
        _ = try await begin([commit], .drill)
        let finding = Failing(snapshot: "\(commit.snapshot)", store: "a", object: "pack x", reason: "it does not open")
        try await finish(try #require(try await take(alpha).first), findings: [finding])
        let drill = try #require(try await catalog.drills(of: commit.database, limit: 10).first)
        #expect(!drill.passed && drill.reason == "it does not open" && !drill.measure.isOfRestored)
        #expect(drill.measure == Catalog.DrillMeasure())
        _ = try await begin([commit], .verify)
        try await finish(try #require(try await take(alpha).first), findings: [finding])
        #expect(try await catalog.drills(of: commit.database, limit: 10).count == 1, "a verify is none")
    }

    // MARK: - What is over

    private func rows(_ table: String) async throws -> Int {
        try await catalog.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM \(table)") ?? 0 }
    }

    private func forget() async throws {
        // So many steps are enough, or it does not end.
        for _ in 0..<100 {
            guard try await catalog.forgetWork(endedBefore: fixture.clock.now() - Catalog.keptWork) else { return }
        }
        Issue.record("there is always more to forget")
    }

    @Test func workThatIsLongOverIsForgottenAndWhatItFoundIsNot() async throws {
        let (first, second) = (try await commit(alpha), try await commit(beta))
        let finding = Failing(snapshot: "\(first.snapshot)", store: "", object: "", reason: "a page is damaged")
        let old = try await begin([first, second])
        let open = try await begin([first])
        fixture.clock.advance(by: .seconds(1))
        try await finish(try #require(try await take(alpha).first), findings: [finding])
        try await finish(try #require(try await take(beta).first))
        let store = fixture.store.number
        try await catalog.record("", of: "packs/a", store: store, bytesRead: 5, in: old)
        fixture.clock.advance(by: Catalog.keptWork - .seconds(1))
        try await forget()
        #expect(try await catalog.verification(old)?.total == 2, "it may still be asked for")
        fixture.clock.advance(by: .seconds(2))
        let young = try await begin([second])
        try await catalog.touch(beta.id, at: fixture.clock.now())
        try await finish(try #require(try await take(beta).first))
        try await forget()
        let kept = Set(try await catalog.verifications(limit: 10).map(\.run))
        #expect(kept == [young, open, old], "its failure stands")
        try await finish(try #require(try await take(alpha).first))
        #expect(try await catalog.snapshot(first.snapshot)?.verdict == "failed verify", "that one began before")
        let lifting = try await begin([first])
        try await finish(try #require(try await take(alpha).first))
        #expect(try await catalog.snapshot(first.snapshot)?.verdict == "passed verify")
        try await forget()
        #expect(Set(try await catalog.verifications(limit: 10).map(\.run)) == [young, open, lifting])
        #expect(try await rows("verification_item") == 3)
        #expect(try await rows("job") == 3)
        #expect(try await rows("finding") == 0)
        #expect(try await rows("inspected_object") == 0)
        #expect(try await rows("verification_node") == 3)
        // A failure of before would be known by its own time, though no run is.
        let verdicts = try await catalog.verdicts(
            of: try #require(try await catalog.snapshot(first.snapshot)?.number), limit: 10)
        #expect(verdicts.map(\.passed) == [true, true, false])
    }

    @Test func aLargeRunIsForgottenInSteps() async throws {
        let commit = try await commit(alpha)
        let run = try await begin([commit], .scrub)
        for number in 0..<2500 {
            try await catalog.record("", of: "packs/\(number)", store: fixture.store.number, bytesRead: 1, in: run)
        }
        try await catalog.conclude(
            commit.snapshot, in: run, .inspected([]), Catalog.Effort(), now: fixture.clock.now())
        fixture.clock.advance(by: Catalog.keptWork + .seconds(1))
        let limit = fixture.clock.now() - Catalog.keptWork
        #expect(try await catalog.forgetWork(endedBefore: limit))
        #expect(try await rows("inspected_object") > 0)
        #expect(try await rows("verification") == 1)
        try await forget()
        #expect(try await rows("inspected_object") == 0)
        #expect(try await rows("verification") == 0)
    }

    /// A snapshot that is verified every day for years does not grow.
    @Test func ofOldVerdictsTheNewestOfEachKindIsKept() async throws {
        let commit = try await commit(alpha)
        let finding = Failing(snapshot: "\(commit.snapshot)", store: "", object: "", reason: "a page is damaged")
        for day in 0..<400 {
            _ = try await begin([commit])
            try await finish(
                try #require(try await take(alpha).first), findings: day == 0 || day == 3 ? [finding] : [])
            fixture.clock.advance(by: .seconds(86_400))
            try await catalog.touch(alpha.id, at: fixture.clock.now())
        }
        let number = try #require(try await catalog.snapshot(commit.snapshot)?.number)
        let verdicts = try await catalog.verdicts(of: number, limit: 1000)
        #expect(verdicts.filter(\.passed).count == 91)
        #expect(verdicts.count { !$0.passed } == 2, "only one of its kind takes its place")
    }

    @Test func onlyTheNewestDrillsOfADatabaseAreKept() async throws {
        let commit = try await commit(alpha)
        for number in 0..<(Catalog.keptDrills + 3) {
            _ = try await begin([commit], .drill)
            var measure = Catalog.DrillMeasure()
            measure.rowCount = Int64(number)
            measure.assertions = [.init(name: "a", passed: true, value: nil, reason: "")]
            try await finish(try #require(try await take(alpha).first), drill: measure)
        }
        let drills = try await catalog.drills(of: commit.database, limit: 1000)
        #expect(drills.count == Catalog.keptDrills && drills.last?.measure.rowCount == 3)
        let query = "SELECT count(*) FROM drill_assertion"
        #expect(try await catalog.read { try Int.fetchOne($0, sql: query) } == Catalog.keptDrills)
    }
}
