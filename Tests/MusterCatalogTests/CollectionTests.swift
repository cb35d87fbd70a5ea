import Foundation
import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("gc in the catalog")
struct CollectionTests {
    private let fixture: Fixture
    private let node: Catalog.Node
    /// All of them old enough that no lease protects them.
    private let packs: [PackID]
    /// 0 needs a, b; 1 needs b, c; 2 needs c, d; 3 needs d, e.
    private let history: LineageHistory

    init() async throws {
        fixture = try await Fixture()
        node = try await fixture.makeNode()
        var packs: [PackID] = []
        for _ in 0..<5 { packs.append(try await fixture.makePack(node)) }
        self.packs = packs
        var history = LineageHistory(fixture, node)
        for first in 0..<4 { try await history.add(needing: [packs[first], packs[first + 1]], base: nil) }
        self.history = history
        for commit in history.commits { fixture.catalog.receiptIsStored(commit.snapshot) }
        try await fixture.catalog.settle()
        fixture.clock.advance(by: Catalog.leaseDuration + .seconds(1))
    }

    private func mark(_ sequences: [Int], of other: LineageHistory? = nil, grace: Duration = .zero) async throws {
        let now = fixture.clock.now()
        let graceUntil = now + grace
        let ids = sequences.map { (other ?? history).commits[$0].snapshot.blob }
        try await fixture.catalog.write { database in
            for id in ids {
                try database.run(
                    "UPDATE snapshot SET expired_at = ?1, grace_until = ?2, expired_by = ?3 WHERE id = ?4",
                    [now.microseconds, graceUntil.microseconds, Data(repeating: 1, count: 16), id])
            }
        }
    }

    private func collect() async throws {
        let (catalog, now) = (fixture.catalog, fixture.clock.now())
        _ = try await catalog.forgetMarked(after: nil, now: now)
        var gap: Catalog.Gap?
        repeat { gap = try await catalog.freeUnneeded(gap).next } while gap != nil
        _ = try await catalog.condemnUnneeded(now: now)
        _ = try await catalog.sweepCondemned(before: now, now: now)
        _ = try await catalog.dropForgotten(below: nil, now: now)
    }

    private func held() async throws -> Set<Int> {
        var held: Set<Int> = []
        for (index, pack) in packs.enumerated() where try await !fixture.catalog.replicas(of: pack, in: nil).isEmpty {
            held.insert(index)
        }
        return held
    }

    private func isThere(_ sequence: Int) async throws -> Bool {
        guard let snapshot = try await fixture.catalog.snapshot(history.commits[sequence].snapshot) else {
            return false
        }
        return !snapshot.isForgotten
    }

    private func discarded() async throws -> [String] {
        try await fixture.catalog.discardedObjects(
            in: fixture.store.number, limit: 100, now: fixture.clock.now()
        ).map(\.object)
    }

    @Test func aNodeHasThePacksThatAreThereAndEachOnce() async throws {
        let catalog = fixture.catalog
        func bytes() async throws -> Int64? { try await catalog.node(node.id)?.packBytes }
        #expect(try await bytes() == 5000)
        let other = try await fixture.makeNode("beta")
        _ = try await fixture.makePack(other, size: 70)
        let weight = try #require(try await catalog.packWeight(of: other.scope, asking: [packs[0]]))
        #expect(weight.name == "beta" && weight.bytes == 70 && weight.known.isEmpty, "another node's pack")
        #expect(try await catalog.packWeight(of: node.scope, asking: packs)?.known == Set(packs))
        // The same pack in another store, and again in the same.
        let second = try await catalog.add(store: "second", url: "file:///second", at: fixture.clock.now())
        for store in [second.number, second.number] {
            try await catalog.add(
                Catalog.NewPack(
                    id: packs[0], scope: node.scope, sizeBytes: 1000, replicas: [(store, "00000000000000dd")],
                    chunks: []),
                now: fixture.clock.now())
        }
        #expect(try await bytes() == 5000)
        fixture.clock.advance(by: Catalog.leaseDuration + .seconds(1))
        try await mark([0, 1])
        try await collect()
        #expect(try await bytes() == 3000, "two packs were only needed by what was given up")
        let gone = try await catalog.packWeight(of: node.scope, asking: packs)
        #expect(gone?.known == Set(packs[2...]))
        // What comes again counts again.
        try await catalog.add(
            Catalog.NewPack(
                id: packs[0], scope: node.scope, sizeBytes: 1000,
                replicas: [(fixture.store.number, "00000000000000ee")], chunks: []),
            now: fixture.clock.now())
        #expect(try await bytes() == 4000)
    }

    @Test func whatNothingNeedsGoesAndTheNeighboursStay() async throws {
        try await mark([1])
        try await collect()
        #expect(try await held() == [0, 1, 2, 3, 4], "each of its packs is needed by a neighbour")
        try await mark([2])
        try await collect()
        #expect(try await held() == [0, 1, 3, 4], "only 1 and 2 needed it")
        let discarded = try await discarded()
        #expect(discarded.contains("pack \(packs[2]) 00000000000000aa"))
        #expect(discarded.count == 5, "the pack, two manifests and two receipts: \(discarded)")
        #expect(try await fixture.catalog.snapshot(history.commits[1].snapshot) == nil)
    }

    /// One node that sends much and commits nothing must not weigh in what gc is judged by.
    @Test func theEstimateTellsWhatSnapshotsNeedFromWhatNobodyClaimed() async throws {
        for _ in 0..<3 { _ = try await fixture.makePack(node, size: 1_000_000) }
        fixture.clock.advance(by: Catalog.leaseDuration + .seconds(1))
        try await mark([1, 2])
        let estimate = try await fixture.catalog.collectionEstimate(now: fixture.clock.now())
        #expect(estimate.snapshots == 2 && estimate.packs == 4)
        let stored = try await fixture.catalog.totals().storedBytes
        #expect(stored >= 5000, "five packs, and the manifests")
        #expect(estimate.freedBytes == 1000 && estimate.neededBytes == stored)
        #expect(estimate.byteCount == 3_001_000 && estimate.totalBytes == 3_000_000 + stored)
    }

    struct GraceExample: CustomTestStringConvertible, Sendable {
        let due: [Int]
        let inGrace: [Int]
        let freedBytes: Int64
        var testDescription: String { "\(due) due, \(inGrace) in grace" }
    }
    static let graceExamples = [
        GraceExample(due: [0], inGrace: [1, 2], freedBytes: 1000),
        GraceExample(due: [1], inGrace: [0, 2], freedBytes: 0),
        GraceExample(due: [0, 1], inGrace: [2], freedBytes: 2000),
        GraceExample(due: [0, 2], inGrace: [1], freedBytes: 1000),
        GraceExample(due: [2], inGrace: [0, 1], freedBytes: 0),
    ]

    @Test(arguments: graceExamples)
    func theEstimateLeavesOutWhatAMarkInGraceNeeds(example: GraceExample) async throws {
        try await mark(example.due)
        try await mark(example.inGrace, grace: .seconds(3600))
        let estimate = try await fixture.catalog.collectionEstimate(now: fixture.clock.now())
        #expect(estimate.snapshots == example.due.count && estimate.freedBytes == example.freedBytes)
        fixture.clock.advance(by: .seconds(3600))
        let later = try await fixture.catalog.collectionEstimate(now: fixture.clock.now())
        #expect(later.snapshots == 3 && later.freedBytes == 3000, "all of them are due: a, b and c")
    }

    /// 0 alone needed a; it went, and 4 needs it again.
    @Test func aPackThatCameBackIsKeptByTheMarkInGrace() async throws {
        var history = self.history
        try await history.add(needing: [packs[0], packs[4]], base: nil)
        try await history.add(needing: [packs[4]], base: nil)
        fixture.catalog.receiptIsStored(history.commits[4].snapshot)
        try await fixture.catalog.settle()
        try await mark([0])
        try await mark([4], of: history, grace: .seconds(3600))
        let estimate = try await fixture.catalog.collectionEstimate(now: fixture.clock.now())
        #expect(estimate.snapshots == 1 && estimate.freedBytes == 0)
        fixture.clock.advance(by: .seconds(3600))
        let later = try await fixture.catalog.collectionEstimate(now: fixture.clock.now())
        #expect(later.snapshots == 2 && later.freedBytes == 1000)
    }

    @Test func theHeadIsNeverForgotten() async throws {
        try await mark([0, 1, 2, 3])
        try await collect()
        #expect(try await isThere(3))
        #expect(try await held() == [3, 4])
    }

    @Test func aPinnedSnapshotStaysUntilThePinEnds() async throws {
        let (id, now) = (history.commits[0].snapshot, fixture.clock.now())
        #expect(try await fixture.catalog.pin(id, .restore, for: .seconds(3600), now: now))
        try await mark([0])
        try await collect()
        #expect(try await isThere(0))
        fixture.clock.advance(by: .seconds(3601))
        try await collect()
        #expect(try await !isThere(0))
        #expect(try await !fixture.catalog.pin(id, .restore, for: .seconds(3600), now: fixture.clock.now()))
    }

    @Test func aLeasedPackIsNotCondemned() async throws {
        #expect(try await fixture.catalog.refresh(packs[0], in: node.scope, now: fixture.clock.now()))
        try await mark([0])
        try await collect()
        #expect(try await held().contains(0))
        fixture.clock.advance(by: Catalog.leaseDuration + .seconds(1))
        try await collect()
        #expect(try await !held().contains(0))
    }

    @Test func aCondemnedPackCountsAsAbsentAndSentAgainGetsANewName() async throws {
        let (catalog, now) = (fixture.catalog, fixture.clock.now())
        try await mark([0])
        _ = try await catalog.forgetMarked(after: nil, now: now)
        _ = try await catalog.freeUnneeded(nil)
        #expect(try await catalog.condemnUnneeded(now: now).count == 1)
        #expect(try await !catalog.hasPack(packs[0], in: node.scope))
        let commit = try history.next(needing: [packs[0], packs[3]], base: nil)
        #expect(try await catalog.commit(commit) == .packsMissing([packs[0]]))
        try await catalog.add(
            Catalog.NewPack(
                id: packs[0], scope: node.scope, sizeBytes: 1000,
                replicas: [(fixture.store.number, "00000000000000dd")],
                chunks: []), now: now)
        #expect(try await catalog.commit(commit) == .committed)
        _ = try await catalog.sweepCondemned(before: now, now: now)
        #expect(try await catalog.replicas(of: packs[0], in: nil).map(\.generation) == ["00000000000000dd"])
    }

    @Test(
        arguments: [
            Catalog.markedQuery, Catalog.forgettableQuery, Catalog.unfreedQuery, Catalog.neighbourBeforeQuery,
            Catalog.neighbourAfterQuery, Catalog.gapQuery, Catalog.neededPackQuery, Catalog.unneededQuery,
            Catalog.condemnedQuery, Catalog.forgottenQuery, Catalog.childQuery, Catalog.rowBeforeQuery,
            Catalog.rowAfterQuery, Catalog.lonelyQuery, Catalog.keptBeforeQuery, Catalog.keptAfterQuery,
            Catalog.keptPackQuery, Catalog.unneededSumQuery, Catalog.discardedQuery, Catalog.pinQuery,
            Catalog.undeletableQuery, Catalog.backupPacksQuery,
        ] + Catalog.leavings)
    func eachStepIsASearchOfAnIndex(sql: String) async throws {
        let wholeIndexes = [
            "snapshot_unfreed", "snapshot_marked", "snapshot_forgotten", "discarded_object_undeletable",
        ]
        for plan in try await fixture.plans(of: sql) {
            #expect(
                plan.allSatisfy { step in !step.hasPrefix("SCAN") || wholeIndexes.contains { step.contains($0) } },
                "\(plan)")
        }
    }
}
