import Foundation
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Jobs and runs")
struct WorkTests {
    private func job(_ fixture: Fixture, _ commit: Catalog.Commit, run: RunID? = nil) -> Catalog.Job {
        var job = Catalog.Job(
            id: JobID(from: fixture.random), kind: run == nil ? .snapshot : .verify, node: commit.node,
            database: commit.database, createdAt: fixture.clock.now())
        (job.run, job.snapshot, job.level) = (run, run == nil ? nil : commit.snapshot, run == nil ? "" : "verify")
        return job
    }

    @Test func aJobIsHandedOutOncePerLifeOfTheAgent() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        let commit = try fixture.commit(node)
        #expect(try await fixture.catalog.commit(commit) == .committed)
        let job = job(fixture, commit)
        try await fixture.catalog.add([job])
        func take(_ boot: String) async throws -> [JobID] {
            try await fixture.catalog.takeJobs(
                of: node.id, Catalog.Asking(boot: boot), limit: 10, now: fixture.clock.now()
            ).map(\.id)
        }
        #expect(try await take("one") == [job.id])
        #expect(try await take("one").isEmpty)
        #expect(try await take("two") == [job.id])
        let other = try await fixture.makeNode("beta")
        func finish(_ node: NodeID) async throws -> Catalog.Job? {
            try await fixture.catalog.finish(
                job.id, of: node, state: .done, snapshot: commit.snapshot, errorSummary: "", errorHint: "",
                now: fixture.clock.now())
        }
        #expect(try await finish(other.id) == nil)
        #expect(try await finish(node.id)?.state == .done)
        #expect(try await take("three").isEmpty)
    }

    /// An answer that never came, or an outcome that was lost, holds nothing up.
    @Test(arguments: [false, true]) func whatTheAgentDoesNotWorkOnIsHandedOutAgainButNotForEver(
        isInspection: Bool
    ) async throws {
        let fixture = try await Fixture()
        let (node, catalog) = (try await fixture.makeNode(), fixture.catalog)
        let commit = try fixture.commit(node)
        #expect(try await catalog.commit(commit) == .committed)
        let run = RunID(from: fixture.random)
        let (first, second) = (
            job(fixture, commit, run: isInspection ? run : nil), job(fixture, commit, run: isInspection ? run : nil)
        )
        if isInspection {
            try await catalog.begin(
                run, level: .verify, snapshots: [commit.snapshot], jobs: [first], now: fixture.clock.now())
        } else {
            try await catalog.add([first])
        }
        func take(_ atWork: Set<JobID>?) async throws -> [JobID] {
            try await catalog.takeJobs(
                of: node.id, Catalog.Asking(boot: "one", atWork: atWork), limit: 10, now: fixture.clock.now()
            ).map(\.id)
        }
        #expect(try await take([]) == [first.id])
        #expect(try await take([first.id]).isEmpty, "it is at work")
        #expect(try await take(nil).isEmpty, "an agent that does not tell is believed to be")
        for _ in 1..<Catalog.mostHandOuts { #expect(try await take([second.id]) == [first.id], "it is lost") }
        #expect(try await catalog.job(first.id)?.state == .running)
        try await catalog.add([second])
        #expect(try await take([]) == [second.id], "what was given up makes room")
        let closed = try #require(try await catalog.job(first.id))
        #expect(closed.state == .failed && closed.errorSummary.contains("was given the job 5 times"))
        guard isInspection else { return }
        let ended = try #require(try await catalog.verification(run))
        #expect(
            ended.isFinished && ended.unfinished == 1 && ended.failed[0].failing.reason.hasSuffix(closed.errorSummary))
    }

    @Test func aJobThatNobodyFinishesFails() async throws {
        let fixture = try await Fixture()
        let commit = try fixture.commit(try await fixture.makeNode())
        #expect(try await fixture.catalog.commit(commit) == .committed)
        let job = job(fixture, commit)
        try await fixture.catalog.add([job])
        let now = fixture.clock.now()
        #expect(try await fixture.catalog.expireJobs(untouchedSince: now, now: now).isEmpty)
        #expect(try await fixture.catalog.expireJobs(untouchedSince: now + .seconds(1), now: now).map(\.id) == [job.id])
        #expect(try await fixture.catalog.job(job.id)?.state == .failed)
    }

    @Test func aRunEndsWithItsLastSnapshotAndKeepsItsVerdicts() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        let first = try fixture.commit(node)
        let second = try fixture.commit(node, after: first)
        for commit in [first, second] { #expect(try await fixture.catalog.commit(commit) == .committed) }
        let run = RunID(from: fixture.random)
        let now = fixture.clock.now()
        try await fixture.catalog.begin(
            run, level: .verify, snapshots: [first.snapshot, second.snapshot], jobs: [], now: now)
        #expect(try await fixture.catalog.unfinishedRuns().map(\.run) == [run])
        #expect(try await fixture.catalog.nextWaiting(in: run)?.snapshot == first.snapshot)
        try await fixture.catalog.conclude(
            first.snapshot, in: run, .inspected([]), Catalog.Effort(bytesRead: 10), now: now)
        let finding = Failing(snapshot: "\(second.snapshot)", store: "main", object: "packs/x", reason: "gone")
        // A second outcome of the same snapshot changes nothing.
        for findings in [[finding], []] {
            try await fixture.catalog.conclude(
                second.snapshot, in: run, .inspected(findings), Catalog.Effort(bytesRead: 5), now: now)
        }
        let verification = try #require(try await fixture.catalog.verification(run))
        #expect(verification.isFinished && verification.passed == 1 && verification.total == 2)
        #expect(verification.failed.map(\.failing) == [finding] && verification.bytesRead == 15)
        #expect(try await fixture.catalog.snapshot(first.snapshot)?.verifiedAt == now)
        #expect(try await fixture.catalog.snapshot(first.snapshot)?.verdict == "passed verify")
        #expect(try await fixture.catalog.snapshot(second.snapshot)?.verdict == "failed verify")
        #expect(try await fixture.catalog.damagedDatabases().map(\.snapshot) == [second.snapshot])
        #expect(try await fixture.catalog.unfinishedRuns().isEmpty)
    }

    @Test func everythingIsThereAfterReopening() async throws {
        let fixture = try await Fixture()
        let commit = try fixture.commit(try await fixture.makeNode())
        #expect(try await fixture.catalog.commit(commit) == .committed)
        try await fixture.catalog.close()
        let reopened = try Catalog(
            path: fixture.directory.file("catalog.db"), names: Fixture.names, sha256: Fixture.mix)
        #expect(try await reopened.snapshot(commit.snapshot)?.manifestHash == commit.manifestHash)
        #expect(try await reopened.stores() == [fixture.store])
    }
}
