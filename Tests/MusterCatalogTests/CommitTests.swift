import Foundation
import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("The commit")
struct CommitTests {
    @Test func theSameManifestTwiceGivesTheSameReceipt() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        var commit = try fixture.commit(node)
        #expect(try await fixture.catalog.commit(commit) == .committed)
        let receipt = commit.receipt
        commit.receipt = [1, 2, 3]
        #expect(try await fixture.catalog.commit(commit) == .repeated(receipt: receipt, isStored: false))
        fixture.catalog.receiptIsStored(commit.snapshot)
        try await fixture.catalog.settle()
        #expect(try await fixture.catalog.commit(commit) == .repeated(receipt: receipt, isStored: true))
        #expect(try await fixture.catalog.totals().snapshots == 1)
    }

    @Test func ofTwoChildrenOfOneHeadOneIsStale() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        let first = try fixture.commit(node)
        #expect(try await fixture.catalog.commit(first) == .committed)
        let (left, right) = (try fixture.commit(node, after: first), try fixture.commit(node, after: first))
        #expect(try await fixture.catalog.commit(left) == .committed)
        let head = Catalog.Head(
            lineage: left.lineage, sequence: 1, snapshot: left.snapshot, manifestHash: left.manifestHash)
        #expect(try await fixture.catalog.commit(right) == .stale(head: head))
        #expect(try await fixture.catalog.head(of: first.lineage) == head)
    }

    @Test func aLineageBeginsAtZero() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        let orphan = try fixture.commit(node, after: try fixture.commit(node))
        #expect(try await fixture.catalog.commit(orphan) == .stale(head: nil))
    }

    @Test func packsOfAnotherScopeAreMissing() async throws {
        let fixture = try await Fixture()
        let (alpha, beta) = (try await fixture.makeNode("alpha"), try await fixture.makeNode("beta"))
        let pack = try await fixture.makePack(alpha)
        #expect(
            try await fixture.catalog.commit(try fixture.commit(beta, packs: [pack])) == .packsMissing([pack]))
        #expect(try await fixture.catalog.commit(try fixture.commit(alpha, packs: [pack])) == .committed)
    }

    @Test func aPackWithoutAGoodReplicaIsMissing() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        let pack = try await fixture.makePack(node)
        let replica = try #require(try await fixture.catalog.replicas(of: pack, in: node.scope).first)
        try await fixture.catalog.mark(
            pack: replica.pack, store: replica.store, generation: replica.generation, as: .damaged, isHashed: true,
            now: fixture.clock.now())
        #expect(try await fixture.catalog.commit(try fixture.commit(node, packs: [pack])) == .packsMissing([pack]))
        #expect(try await !fixture.catalog.hasPack(pack, in: node.scope))
    }

    @Test(arguments: [true, false]) func aNodeThatEndedMeanwhileCommitsNothing(isRetired: Bool) async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        let first = try fixture.commit(node)
        #expect(try await fixture.catalog.commit(first) == .committed)
        let now = fixture.clock.now()
        let outcome =
            isRetired
            ? try await fixture.catalog.retire(node.id, at: now) : try await fixture.catalog.revoke(node.id, at: now)
        guard case .ended(closedJobs: 0, lostStores: [], restores: [])? = outcome else {
            throw Unexpected("\(outcome as Any)")
        }
        #expect(try await fixture.catalog.commit(try fixture.commit(node, after: first)) == .nodeEnded)
        // What was promised before stays promised.
        guard case .repeated = try await fixture.catalog.commit(first) else { throw Unexpected("no receipt") }
        #expect(try await fixture.catalog.databases(of: node.id).map(\.state) == [Catalog.removedState])
    }

    private struct Unexpected: Error {
        let text: String
        init(_ text: String) { self.text = text }
    }

    @Test func nobodyCommitsToAnothersDatabaseOrLineage() async throws {
        let fixture = try await Fixture()
        let (alpha, beta) = (try await fixture.makeNode("alpha"), try await fixture.makeNode("beta"))
        let first = try fixture.commit(alpha)
        #expect(try await fixture.catalog.commit(first) == .committed)
        #expect(try await fixture.catalog.commit(try fixture.commit(beta, database: first.database)) == .notOwned)
        #expect(try await fixture.catalog.commit(try fixture.commit(beta, after: first)) == .notOwned)
        var foreignScope = try fixture.commit(alpha)
        foreignScope.scope = beta.scope
        #expect(try await fixture.catalog.commit(foreignScope) == .notOwned)
        var takenID = try fixture.commit(alpha)
        takenID.snapshot = first.snapshot
        #expect(try await fixture.catalog.commit(takenID) == .notOwned)
    }

    @Test func aPackIsNeededFromItsBirthUntilItsDeath() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        let (old, new) = (try await fixture.makePack(node), try await fixture.makePack(node))
        let first = try fixture.commit(node, packs: [old])
        let second = try fixture.commit(node, after: first, packs: [old, new])
        let third = try fixture.commit(node, after: second, packs: [new])
        for commit in [first, second, third] { #expect(try await fixture.catalog.commit(commit) == .committed) }
        func needed(_ commit: Catalog.Commit) async throws -> Set<PackID> {
            let snapshot = try #require(try await fixture.catalog.snapshot(commit.snapshot))
            return Set(try await fixture.catalog.packs(neededBy: snapshot).map(\.id))
        }
        #expect(try await needed(first) == [old])
        #expect(try await needed(second) == [old, new])
        #expect(try await needed(third) == [new])
        let replica = try #require(try await fixture.catalog.replicas(of: old, in: nil).first)
        #expect(try await fixture.page { $0.pack = old } == [second.snapshot, first.snapshot])
        #expect(
            try await fixture.catalog.snapshots(needing: replica.pack, limit: 10) == [first.snapshot, second.snapshot])
    }

    @Test func storedBytesAreCountedHereAndOnce() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        let pack = try await fixture.makePack(node, size: 7000)
        let first = try fixture.commit(node, packs: [pack])
        let second = try fixture.commit(node, after: first, packs: [pack])
        for commit in [first, second] { #expect(try await fixture.catalog.commit(commit) == .committed) }
        #expect(try await fixture.catalog.snapshot(first.snapshot)?.storedBytes == 7500)
        #expect(try await fixture.catalog.snapshot(second.snapshot)?.storedBytes == 500)
        #expect(try await fixture.catalog.totals().storedBytes == 8000)
    }

    @Test func aForkIsAnAlarmAndBothBranchesStay() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        let trunk = try fixture.commit(node)
        var branch = try fixture.commit(node, database: trunk.database)
        branch.forkedFrom = "the trunk"
        for commit in [trunk, branch] { #expect(try await fixture.catalog.commit(commit) == .committed) }
        #expect(try await fixture.catalog.alarms(now: Timestamp(microseconds: 0)).map(\.kind) == [.fork])
        let database = try #require(try await fixture.catalog.database(trunk.database))
        #expect(database.isForked && database.lineageCount == 2 && database.snapshotCount == 2)
    }

    @Test func anUnstoredReceiptIsKeptForTheNextStart() async throws {
        let fixture = try await Fixture()
        let commit = try fixture.commit(try await fixture.makeNode())
        #expect(try await fixture.catalog.commit(commit) == .committed)
        let unstored = try await fixture.catalog.unstoredReceipts(limit: 10)
        #expect(unstored.map(\.bytes) == [commit.receipt])
        #expect(unstored.first?.snapshot.replicas.first?.receiptGeneration == "00000000000000cc")
        fixture.catalog.receiptIsStored(commit.snapshot)
        try await fixture.catalog.settle()
        #expect(try await fixture.catalog.unstoredReceipts(limit: 10).isEmpty)
    }
}
