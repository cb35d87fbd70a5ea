import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("What is good in no store")
struct LossTests {
    private let fixture: Fixture
    private let node: Catalog.Node
    private var catalog: Catalog { fixture.catalog }

    init() async throws {
        fixture = try await Fixture()
        node = try await fixture.makeNode()
    }

    /// A full snapshot, one that is based on it, and one based on that.
    private func makeHistory() async throws -> LineageHistory {
        var history = LineageHistory(fixture, node)
        for base in [nil, 0, 1] { try await history.add(needing: [], base: base) }
        return history
    }

    private func mark(
        _ commit: Catalog.Commit, _ part: Catalog.SnapshotPart = .manifest, as state: Catalog.ReplicaState
    ) async throws {
        let snapshot = try #require(try await catalog.snapshot(commit.snapshot))
        for replica in snapshot.replicas {
            try await catalog.mark(
                part, of: snapshot.number, store: replica.store,
                generation: part == .manifest ? replica.generation : replica.receiptGeneration, as: state,
                isHashed: true, now: fixture.clock.now())
        }
    }

    private func damaged() async throws -> Set<DatabaseID> {
        let now = fixture.clock.now()
        let facts = try await catalog.survey(
            provenSince: now, Catalog.Patience(now: now, tolerance: .zero, objective: nil, intervals: 3))
        let damaged = try await catalog.databases().filter(\.isDamaged).map(\.id)
        #expect(facts.filter(\.facts.isDamaged).reduce(0) { $0 + $1.count } == damaged.count)
        return Set(damaged)
    }

    private func lostDatabases() async throws -> [DatabaseID] {
        try await catalog.lostManifests(limit: 10).map(\.database)
    }

    private func expectNothingLost(_ comment: Comment? = nil) async throws {
        #expect(try await catalog.losses(limit: 10).isEmpty, comment)
        #expect(try await catalog.lostKeys(limit: 10).isEmpty, comment)
        #expect(try await damaged().isEmpty, comment)
    }

    @Test func aManifestIsNamedWithAllThatIsBasedOnIt() async throws {
        var history = try await makeHistory()
        let other = try fixture.commit(node, name: "other")
        #expect(try await catalog.commit(other) == .committed)
        let commits = history.commits
        let database = commits[0].database
        #expect(try await catalog.losses(limit: 10).isEmpty)

        try await mark(commits[1], .receipt, as: .missing)
        #expect(try await catalog.losses(limit: 10).isEmpty, "its bytes are in the catalog")
        try await mark(commits[1], as: .damaged)
        let loss = Catalog.Loss(
            object: .manifest(commits[1].snapshot), database: database, snapshotCount: 2, newest: commits[2].snapshot)
        #expect(try await catalog.losses(limit: 10) == [loss])
        #expect(try await damaged() == [database])
        #expect(try await lostDatabases() == [database], "the newest is based on it")

        try await history.add(needing: [], base: 0)
        #expect(try await lostDatabases().isEmpty, "the present does without it")
        #expect(try await catalog.losses(limit: 10) == [loss], "the past does not")

        try await mark(commits[1], as: .present)
        try await expectNothingLost()
    }

    @Test func ofAForgottenOneThoseAreNamedThatAreBasedOnIt() async throws {
        let history = try await makeHistory()
        let commits = history.commits
        func forget(_ commits: Catalog.Commit...) async throws {
            for commit in commits {
                try await catalog.write { database in
                    try database.run(
                        "UPDATE snapshot SET forgotten_at = 1 WHERE id = ?", [commit.snapshot.blob])
                }
            }
        }
        try await mark(commits[0], as: .missing)
        try await forget(commits[0], commits[1])
        #expect(try await catalog.losses(limit: 10).map(\.snapshotCount) == [1])
        #expect(try await damaged() == [commits[0].database])
        try await mark(commits[2], as: .missing)
        try await mark(commits[0], as: .present)
        try await forget(commits[2])
        try await expectNothingLost("nobody wants it any more")
    }

    @Test func oneGoodCopyIsEnoughAndTheLastThatGoesIsNoted() async throws {
        let second = try await catalog.add(store: "second", url: "file:///b", at: fixture.clock.now())
        try await catalog.recordKeys(
            of: node.id, in: second.number, object: "nodes/y", byteCount: 1, quarantine: .zero, now: fixture.clock.now()
        )
        var commit = try fixture.commit(node)
        commit.places.append((second.number, "00000000000000bb", "00000000000000cc"))
        #expect(try await catalog.commit(commit) == .committed)
        let number = try #require(try await catalog.snapshot(commit.snapshot)).number
        try await catalog.mark(
            .manifest, of: number, store: second.number, generation: "00000000000000bb", as: .damaged, isHashed: true,
            now: fixture.clock.now())
        try await catalog.markKeys(
            of: node.id, in: second.number, object: "nodes/y", as: .missing, now: fixture.clock.now())
        try await expectNothingLost()
        let first = fixture.store.number
        try await catalog.write { database in
            try database.run("DELETE FROM manifest_replica WHERE store = ?", [first])
            try database.run("DELETE FROM key_replica WHERE store = ?", [first])
        }
        #expect(try await catalog.losses(limit: 10).map(\.newest) == [commit.snapshot])
        #expect(try await catalog.lostKeys(limit: 10) == [.init(node: node.id, snapshotCount: 1)])
        let (id, node) = (number, node.id)
        try await catalog.write { database in
            try database.run("UPDATE manifest_replica SET state = 'present' WHERE snapshot = ?", [id])
            try database.run("UPDATE key_replica SET state = 'present' WHERE node = ?", [node.blob])
        }
        try await expectNothingLost()
    }

    @Test func aKeyRecordIsNamedWithItsNodeOnceThatHasSnapshots() async throws {
        let bare = try await fixture.makeNode("beta", hasKeys: false)
        let commit = try fixture.commit(node)
        #expect(try await catalog.commit(commit) == .committed)
        #expect(try await catalog.nodesWithoutKeys(limit: 10) == [bare.id])
        #expect(try await catalog.lostKeys(limit: 10).isEmpty)

        try await catalog.markKeys(
            of: node.id, in: fixture.store.number, object: node.keyObject, as: .damaged, now: fixture.clock.now())
        #expect(try await catalog.lostKeys(limit: 10) == [.init(node: node.id, snapshotCount: 1)])
        #expect(try await catalog.nodesWithoutKeys(limit: 10) == [node.id, bare.id])
        #expect(try await damaged() == [commit.database])

        try await catalog.recordKeys(
            of: node.id, in: fixture.store.number, object: "nodes/x/keys-1.1", byteCount: 100,
            replacing: node.keyObject, quarantine: .zero, now: fixture.clock.now())
        try await expectNothingLost()
        _ = try await catalog.revoke(bare.id, at: fixture.clock.now())
        #expect(try await catalog.nodesWithoutKeys(limit: 10).isEmpty, "who left the fleet cannot answer")
    }

    /// What holds only what is lost may be gone over, and what was found there; everything else is searched.
    @Test(arguments: [
        Catalog.lossQuery, Catalog.manifestLossQuery, Catalog.lostManifestsQuery, Catalog.lostKeysQuery,
        Catalog.nodesWithoutKeysQuery, Catalog.damagedIDs,
    ])
    func costsNothingWhereAllIsWell(sql: String) async throws {
        let few = ["snapshot_damaged", "pack_lost", "snapshot_manifest_wanting", "node_keys_wanting"]
        let found = ["SCAN p", "SCAN w", "SCAN h", "SCAN c", "SCAN chain", "SCAN CONSTANT ROW"]
        for plan in try await fixture.plans(of: sql) {
            #expect(!plan.isEmpty)
            let scans = plan.filter { $0.hasPrefix("SCAN") && !found.contains($0) }
            #expect(scans.allSatisfy { step in few.contains { step.hasSuffix("INDEX \($0)") } }, "\(plan)")
        }
    }
}
