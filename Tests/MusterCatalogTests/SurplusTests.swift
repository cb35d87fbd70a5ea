import Foundation
import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Surplus replicas in the catalog")
struct SurplusTests {
    private let fixture: Fixture
    private let node: Catalog.Node
    private let second: Int64
    /// 0 needs a; 1 needs a, b and is based on 0. Both are in the first store, and copied to the second.
    private let history: LineageHistory
    private let packs: [PackID]

    init() async throws {
        fixture = try await Fixture()
        node = try await fixture.makeNode()
        second = try await fixture.catalog.add(store: "second", url: "file:///b", at: fixture.clock.now()).number
        packs = [try await fixture.makePack(node), try await fixture.makePack(node)]
        var history = LineageHistory(fixture, node)
        try await history.add(needing: [packs[0]], base: nil)
        try await history.add(needing: [packs[0], packs[1]], base: 0)
        self.history = history
        for commit in history.commits { fixture.catalog.receiptIsStored(commit.snapshot) }
        try await fixture.catalog.recordKeys(
            of: node.id, in: second, object: "keys 2", byteCount: 100, quarantine: .zero, now: fixture.clock.now())
        for pack in packs { try await copy(pack) }
        for sequence in 0...1 { #expect(try await copy(sequence)) }
        try await drain(fixture.store.number)
    }

    @Test func oneStoreStaysActive() async throws {
        let (catalog, main) = (fixture.catalog, fixture.store.number)
        #expect(try await !catalog.change(.lost, ofStore: second), "the other one drains")
        #expect(try await catalog.change(.active, ofStore: main))
        #expect(try await catalog.change(.lost, ofStore: second))
        for state in [Catalog.StoreState.draining, .lost] { #expect(try await !catalog.change(state, ofStore: main)) }
        #expect(try await catalog.stores().filter { $0.state == .active }.map(\.number) == [main])
    }

    private func drain(_ store: Int64) async throws {
        try await fixture.catalog.set(.draining, ofStore: store)
    }

    private func copy(_ pack: PackID) async throws {
        let replica = try #require(try await fixture.catalog.replicas(of: pack, in: nil).first)
        let copies = try #require(try await fixture.catalog.copies(ofPack: replica.pack))
        _ = try await fixture.catalog.recordCopy(
            of: copies, in: second, generation: "00000000000000b2", object: "x", replacing: nil, quarantine: .zero,
            now: fixture.clock.now())
    }

    private func copy(_ sequence: Int) async throws -> Bool {
        try await fixture.catalog.recordCopy(
            of: try await snapshot(sequence).number,
            Catalog.SnapshotCopy(store: second, generation: "00000000000000d2", receiptGeneration: "00000000000000e2"),
            quarantine: .zero, now: fixture.clock.now())
    }

    private func snapshot(_ sequence: Int) async throws -> Catalog.Snapshot {
        try #require(try await fixture.catalog.snapshot(history.commits[sequence].snapshot))
    }

    private func surplus(_ change: (inout Catalog.Surplus) -> Void = { _ in }) -> Catalog.Surplus {
        let recent = fixture.clock.now() - .seconds(60)
        var surplus = Catalog.Surplus(
            store: fixture.store.number, node: node.id, wanted: [second], active: [second], hashedSince: recent,
            lookedSince: recent)
        change(&surplus)
        return surplus
    }

    private func giveUp(_ sequence: Int, _ change: (inout Catalog.Surplus) -> Void = { _ in }) async throws -> Bool {
        try await fixture.catalog.giveUp(
            snapshot: try await snapshot(sequence).number, surplus(change), now: fixture.clock.now())
    }

    private func packNumbers() async throws -> [Int64] {
        try await fixture.catalog.packs(
            of: history.commits[0].lineage, in: fixture.store.number, after: 0, limit: 100)
    }

    private func giveUpPacks() async throws -> Int {
        try await fixture.catalog.giveUp(packs: try await packNumbers(), surplus(), now: fixture.clock.now())
    }

    private func discarded() async throws -> Set<String> {
        fixture.clock.advance(by: Catalog.replacedObjectStays)
        return Set(
            try await fixture.catalog.discardedObjects(
                in: fixture.store.number, limit: 100, now: fixture.clock.now()
            ).map(\.object))
    }

    @Test func theNewestGoesFirstThenItsBaseThenPacksThenKeys() async throws {
        #expect(try await !giveUp(0), "another one in the store is based on it")
        #expect(try await giveUpPacks() == 0, "the store has snapshots that need them")
        #expect(try await giveUp(1))
        #expect(try await giveUpPacks() == 0)
        #expect(try await giveUp(0))
        #expect(try await !giveUp(0), "it is gone")
        #expect(try await !fixture.catalog.giveUpKeys(surplus(), now: fixture.clock.now()), "there are packs")
        #expect(try await giveUpPacks() == 2)
        #expect(try await fixture.catalog.giveUpKeys(surplus(), now: fixture.clock.now()))
        let standing = try await fixture.catalog.standing(ofStore: fixture.store.number)
        #expect(standing.snapshots == 0 && standing.packs == 0 && !standing.isEmpty, "their objects are there still")
        let names = try await discarded()
        #expect(names.count == 2 + 2 * 2 + 1 && names.contains("pack \(packs[0]) 00000000000000aa"))
        for commit in history.commits {
            #expect(names.contains("manifest \(commit.snapshot) 00000000000000bb"))
            #expect(names.contains("receipt \(commit.snapshot) 00000000000000cc"))
        }
        try await fixture.catalog.removeDiscarded(
            try await fixture.catalog.discardedObjects(
                in: fixture.store.number, limit: 100, now: fixture.clock.now()))
        #expect(try await fixture.catalog.standing(ofStore: fixture.store.number).isEmpty)
        #expect(try await snapshot(1).replicas.map(\.store) == [second])
    }

    @Test func nothingGoesWhereThePlacementIsAnotherOne() async throws {
        let main = fixture.store.number
        #expect(try await !giveUp(1) { $0.wanted = [] })
        #expect(try await !giveUp(1) { ($0.wanted, $0.active) = ([second, main], [second]) }, "it is wanted there")
        #expect(try await !giveUp(1) { $0.active = [main, second] }, "the stores were others")
        try await fixture.catalog.set(.active, ofStore: main)
        #expect(try await !giveUp(1), "it is in use again")
        #expect(try await giveUp(1) { $0.active = [main, second] }, "in use, and not drawn for this node")
        try await fixture.catalog.set(.lost, ofStore: main)
        #expect(try await !giveUp(0), "it was given up with all that is in it")
    }

    @Test func storesOnNodesNeverSuffice() async throws {
        let edge = try await fixture.catalog.add(
            store: "edge", url: "node://x", node: try await fixture.makeNode("keeper").id, at: fixture.clock.now())
        try await fixture.catalog.pool.write {
            try $0.execute(
                sql: "UPDATE store SET node = ? WHERE number = 2",
                arguments: [edge.node?.blob])
        }
        #expect(try await !giveUp(1) { $0.active = [second, edge.number] })
    }

    enum Lack: String, CaseIterable { case pack, manifest, receipt, base, keys, oldHash, oldLook }

    /// Break any of these conditions in the code, and a case fails.
    @Test(arguments: Lack.allCases)
    func nothingGoesWhereAWantedStoreLacksSomething(lack: Lack) async throws {
        let catalog = fixture.catalog
        let now = fixture.clock.now()
        let pack = try #require(try await catalog.replicas(of: packs[0], in: nil).first).pack
        let (base, last) = (try await snapshot(0), try await snapshot(1))
        switch lack {
        case .pack:
            try await catalog.mark(
                pack: pack, store: second, generation: "00000000000000b2", as: .damaged, isHashed: true, now: now)
        case .manifest, .base:
            try await catalog.mark(
                .manifest, of: lack == .base ? base.number : last.number, store: second,
                generation: "00000000000000d2", as: .missing, isHashed: true, now: now)
        case .receipt:
            try await catalog.mark(
                .receipt, of: last.number, store: second, generation: "00000000000000e2", as: .damaged,
                isHashed: true, now: now)
        case .keys:
            try await catalog.markKeys(of: node.id, in: second, object: "keys 2", as: .damaged, now: now)
        case .oldHash, .oldLook: fixture.clock.advance(by: .seconds(3600))
        }
        let later = fixture.clock.now()
        func narrowed(_ surplus: inout Catalog.Surplus) {
            if lack == .oldHash { surplus.lookedSince = Timestamp(microseconds: 0) }
            if lack == .oldLook { surplus.hashedSince = Timestamp(microseconds: 0) }
        }
        #expect(try await !giveUp(1, narrowed))
        let doubts = try await catalog.doubts(on: last, surplus(narrowed), limit: 10)
        let expected: Set<String> =
            switch lack {
            case .pack: ["pack"]
            // In the queue already.
            case .manifest, .base, .receipt: []
            case .keys: ["keys"]
            case .oldHash: ["pack", "snapshot", "keys"]
            case .oldLook: ["pack", "snapshot"]
            }
        #expect(Set(doubts.map(Self.word)) == expected, "\(doubts)")
        if lack == .oldLook {
            for replica in try await catalog.replicas(of: packs[0], in: nil) + catalog.replicas(of: packs[1], in: nil) {
                try await catalog.mark(
                    pack: replica.pack, store: replica.store, generation: replica.generation, as: .present,
                    isHashed: false, now: later)
            }
            for number in [base.number, last.number] {
                try await catalog.mark(
                    .manifest, of: number, store: second, generation: "00000000000000d2", as: .present,
                    isHashed: false, now: later)
            }
            #expect(try await giveUp(1, narrowed), "a look is enough")
        }
    }

    private static func word(_ doubt: Catalog.Doubt) -> String {
        switch doubt.part {
        case .snapshot: "snapshot"
        case .pack: "pack"
        case .keys: "keys"
        case .missingPack: "missing"
        }
    }

    @Test func aCopyThatWasOvertakenIsNotRecorded() async throws {
        try await fixture.catalog.set(.active, ofStore: fixture.store.number)
        try await fixture.catalog.set(.draining, ofStore: second)
        let main = fixture.store.number
        func away(_ surplus: inout Catalog.Surplus) {
            (surplus.store, surplus.wanted, surplus.active) = (second, [main], [main])
        }
        for sequence in [1, 0] { #expect(try await giveUp(sequence, away)) }
        let numbers = try await fixture.catalog.packs(
            of: history.commits[0].lineage, in: second, after: 0, limit: 10)
        // A copy to the second store saw the packs there, and ends now.
        let standing = try await fixture.catalog.standing(of: try await snapshot(0), in: second, limit: 10)
        #expect(standing.lacking.isEmpty && standing.hasKeys)
        #expect(try await fixture.catalog.giveUp(packs: numbers, surplus(away), now: fixture.clock.now()) == 2)
        #expect(try await !copy(0))
        #expect(try await snapshot(0).replicas.map(\.store) == [main])
    }

    @Test func aCommitInAStoreThatGaveUpTheHistoryIsRefused() async throws {
        var commit = try history.next(needing: [packs[0], packs[1]], base: 0)
        let main = fixture.store.number
        #expect(try await fixture.catalog.standing(of: commit, incoming: [], in: main).lacking.isEmpty)
        for sequence in [1, 0] { #expect(try await giveUp(sequence)) }
        #expect(try await giveUpPacks() == 2)
        #expect(try await fixture.catalog.commit(commit) == .storeLacks(store: main))
        commit.places = [(second, "00000000000000d3", "00000000000000e3")]
        #expect(try await fixture.catalog.commit(commit) == .committed)
    }

    /// Its base is forgotten: a new store needs the manifest of it, and no packs.
    @Test func aForgottenBaseIsCopiedWithoutItsPacks() async throws {
        let third = try await fixture.catalog.add(store: "third", url: "file:///c", at: fixture.clock.now()).number
        try await fixture.catalog.recordKeys(
            of: node.id, in: third, object: "keys 3", byteCount: 100, quarantine: .zero, now: fixture.clock.now())
        let id = history.commits[0].snapshot.blob
        let now = fixture.clock.now().microseconds
        try await fixture.catalog.write { database in
            try database.run(
                """
                UPDATE snapshot SET expired_at = ?1, grace_until = ?1, forgotten_at = ?1, expired_by = ?3 WHERE id = ?2
                """, [now, id, Data(repeating: 1, count: 16)])
        }
        let base = try await fixture.catalog.standing(of: try await snapshot(0), in: third, limit: 10)
        #expect(base.lacking.isEmpty && base.hasBase)
        #expect(
            try await fixture.catalog.recordCopy(
                of: try await snapshot(0).number,
                Catalog.SnapshotCopy(
                    store: third, generation: "00000000000000d3", receiptGeneration: "00000000000000e3"),
                quarantine: .zero, now: fixture.clock.now()))
        let next = try await fixture.catalog.standing(of: try await snapshot(1), in: third, limit: 10)
        #expect(!next.hasParent && next.hasBase && next.lacking.count == 2, "the parent says nothing of packs")
    }

    @Test func whatWasInALostStoreAloneIsWanting() async throws {
        let lone = try await fixture.makePack(node)
        var history = history
        try await history.add(needing: [packs[0], lone], base: nil)
        try await fixture.catalog.set(.lost, ofStore: fixture.store.number)
        #expect(try await fixture.catalog.forgetReplicas(ofLostStore: second).count == 0, "it is not lost")
        #expect(try await fixture.catalog.hasPack(lone, in: node.scope))
        var lost: [SnapshotID] = []
        var steps = 0
        while true {
            let step = try await fixture.catalog.forgetReplicas(ofLostStore: fixture.store.number, limit: 2)
            guard step.count > 0 else { break }
            #expect(step.count <= 2)
            lost += step.lost
            steps += 1
        }
        #expect(steps > 3 && lost == [history.commits[2].snapshot])
        #expect(try await !fixture.catalog.hasPack(lone, in: node.scope))
        #expect(try await fixture.catalog.hasPack(packs[0], in: node.scope), "the second store has it")
        #expect(try await fixture.catalog.lostPacks(limit: 10).map(\.id) == [lone])
        #expect(try await fixture.catalog.discardedCount() == 0, "nothing is deleted in a store that is not there")
        #expect(try await fixture.catalog.standing(ofStore: fixture.store.number).isEmpty)
    }

    /// Nor is anything sorted but what is few.
    @Test(
        arguments: [
            Catalog.holdingQuery, Catalog.emptyHoldingQuery, Catalog.heldQuery, Catalog.heldPacksQuery,
            Catalog.wantedPackQuery, Catalog.heldChildQuery, Catalog.chainNumbersQuery, Catalog.unprovenPacksQuery,
            Catalog.provenPackQuery, Catalog.provenManifestQuery, Catalog.soundKeysQuery, Catalog.anyPacksQuery,
            Catalog.anyManifestsQuery, Catalog.nowhereQuery, Catalog.expectedQuery, Catalog.packsInStoreQuery,
            Catalog.manifestsInStoreQuery, Catalog.queuedQuery, Catalog.repairsQuery, Catalog.lackingLiveQuery,
            Catalog.lackingNewQuery, Catalog.lackingQuery, Catalog.lackingCommittedQuery,
            Catalog.lackingSuspectQuery, Catalog.lackingLiveSuspectQuery, Catalog.wantLostStatement,
            Catalog.wantLostNewStatement, Catalog.hastenDependentsStatement, Catalog.nowhereToBeFoundQuery,
            Catalog.lostQuery,
        ] + Catalog.lostStatements + Catalog.wantStatements)
    func eachStepIsASearchOfAnIndex(sql: String) async throws {
        let few = ["SCAN (subquery", "SCAN CONSTANT ROW", "SCAN c", "SCAN chain", "SCAN f", "SCAN b"]
        for plan in try await fixture.plans(of: sql) {
            let wrong = plan.filter { step in
                step.contains("TEMP B-TREE") && !step.hasSuffix("DISTINCT")
                    || step.hasPrefix("SCAN") && !few.contains { step == $0 || step.hasPrefix("SCAN (sub") }
            }
            #expect(wrong.isEmpty, "\(plan)")
        }
    }
}
