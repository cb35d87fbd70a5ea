import Foundation
import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

/// Two stores that hold the same history: what one lacks of it, and copies that come too late.
@Suite("What a store has of a snapshot")
struct StandingTests {
    private static let (packCopy, keysObject) = ("00000000000000aa", "keys of the second store")

    private let fixture: Fixture
    private let node: Catalog.Node
    private let second: Int64
    private let packs: [PackID]
    private let history: LineageHistory
    private var catalog: Catalog { fixture.catalog }
    private var main: Int64 { fixture.store.number }
    private var now: Timestamp { fixture.clock.now() }

    init() async throws {
        fixture = try await Fixture()
        node = try await fixture.makeNode()
        second = try await fixture.catalog.add(store: "second", url: "file:///b", at: fixture.clock.now()).number
        try await fixture.catalog.recordKeys(
            of: node.id, in: second, object: Self.keysObject, byteCount: 100, quarantine: .zero,
            now: fixture.clock.now())
        let packs: [PackID] = [try fixture.digest(), try fixture.digest(), try fixture.digest()]
        self.packs = packs
        for pack in packs {
            try await fixture.catalog.add(
                Catalog.NewPack(
                    id: pack, scope: node.scope, sizeBytes: 1000,
                    replicas: [(fixture.store.number, Self.packCopy), (second, Self.packCopy)], chunks: []),
                now: fixture.clock.now())
        }
        var history = LineageHistory(fixture, node)
        for (needs, base) in [([0], nil), ([0, 1], 0), ([0, 1], 0)] as [([Int], Int?)] {
            let needed = Set(needs.map { packs[$0] })
            var commit = try history.next(needing: needed, base: base)
            commit.places.append((second, "00000000000000b2", "00000000000000c2"))
            guard try await fixture.catalog.commit(commit) == .committed else { throw Fixture.Missing() }
            history.take(commit, needing: needed)
        }
        self.history = history
    }

    private func number(of pack: PackID) async throws -> Int64 {
        try #require(try await catalog.replicas(of: pack, in: nil).first).pack
    }

    private func mark(_ pack: PackID, as state: Catalog.ReplicaState) async throws {
        try await catalog.mark(
            pack: try await number(of: pack), store: main, generation: Self.packCopy, as: state, isHashed: true,
            now: now)
    }

    private func snapshot(_ sequence: Int) async throws -> Catalog.Snapshot {
        try #require(try await catalog.snapshot(history.commits[sequence].snapshot))
    }

    private func next(in store: Int64, base: Int = 2) throws -> Catalog.Commit {
        var commit = try history.next(needing: Set(packs), base: base)
        commit.places = [(store, "00000000000000b3", "00000000000000c3")]
        return commit
    }

    private func discarded() async throws -> Set<String> { try await catalog.discardedObjects(limit: 100) }

    // MARK: - What is lacking

    @Test(arguments: [Catalog.ReplicaState.damaged, .missing])
    func anOlderPackThatWasFoundBadIsLacking(state: Catalog.ReplicaState) async throws {
        try await mark(packs[0], as: state)
        let lacking = [try await number(of: packs[0])]
        let commit = try next(in: main)
        let standing = try await catalog.standing(of: commit, incoming: [], in: main)
        #expect(standing.hasParent && standing.lacking == lacking)
        #expect(try await catalog.standing(of: commit, incoming: [packs[0]], in: main).lacking == [])
        #expect(try await catalog.commit(commit) == .storeLacks(store: main), "a receipt would be a lie")
        #expect(try await catalog.commit(next(in: second)) == .committed)
        let last = try await snapshot(2)
        #expect(try await catalog.standing(of: last, in: main, limit: 10).lacking == lacking)
        #expect(try await catalog.standing(of: last, in: second, limit: 10).lacking == [])
    }

    /// Its replicas may all stand in the catalog still: they are forgotten later, and nothing counts in it.
    @Test func aStoreThatWasGivenUpMeanwhileAcknowledgesNothing() async throws {
        try await catalog.set(.lost, ofStore: main)
        #expect(try await catalog.commit(try next(in: main)) == .storeLacks(store: main))
        #expect(try await catalog.commit(try next(in: second)) == .committed)
    }

    @Test func whatDiedBeforeIsNotLacking() async throws {
        try await mark(packs[1], as: .damaged)
        #expect(try await catalog.standing(of: try await snapshot(0), in: main, limit: 10).lacking == [])
        var commit = try history.next(needing: [packs[0], packs[2]], base: 2)
        commit.places = [(main, "00000000000000b3", "00000000000000c3")]
        #expect(try await catalog.standing(of: commit, incoming: [], in: main).lacking == [])
        #expect(try await catalog.commit(commit) == .committed)
    }

    /// A rebuild found it so: there is no row that could be bad.
    @Test func aPackThatTheStoreNeverHadIsLacking() async throws {
        let pack = try await number(of: packs[0])
        try await catalog.write { [main] in
            try $0.run("DELETE FROM pack_replica WHERE pack = ? AND store = ?", [pack, main])
        }
        try await catalog.want(packs: [pack], in: main, now: now)
        #expect(try await catalog.standing(of: try next(in: main), incoming: [], in: main).lacking == [pack])
        #expect(try await catalog.commit(try next(in: main)) == .storeLacks(store: main))
    }

    /// As after a disk that was lost: then all that the snapshot needs is looked at, which is less.
    @Test func aStoreWithMuchThatIsBadIsJudgedTheSame() async throws {
        let (catalog, names, scope, main, now) = (catalog, Fixture.names, node.scope, main, now)
        let ids: [PackID] = try (0..<Catalog.fewSuspects).map { _ in try fixture.digest() }
        try await catalog.write { database in
            for id in ids {
                let pack = Catalog.NewPack(
                    id: id, scope: scope, sizeBytes: 1, replicas: [(main, Self.packCopy)], chunks: [])
                try Catalog.add(pack, names, now: now, in: database)
            }
            try database.run("UPDATE pack_replica SET state = 'missing' WHERE pack > 3", [])
        }
        #expect(try await catalog.standing(of: try next(in: main), incoming: [], in: main).lacking == [])
        try await mark(packs[0], as: .damaged)
        let lacking = [try await number(of: packs[0])]
        #expect(try await catalog.standing(of: try next(in: main), incoming: [], in: main).lacking == lacking)
        #expect(try await catalog.standing(of: try await snapshot(2), in: main, limit: 10).lacking == lacking)
    }

    /// The manifest of sequence 2 is based on that of sequence 0, and its own is good.
    @Test func everyManifestOfTheChainHasToBeGood() async throws {
        let first = try await snapshot(0)
        let held = try #require(first.replicas.first { $0.store == main })
        try await catalog.mark(
            .manifest, of: first.number, store: main, generation: held.generation, as: .damaged, isHashed: true,
            now: now)
        #expect(try await !catalog.standing(of: try next(in: main), incoming: [], in: main).hasBase)
        #expect(try await catalog.standing(of: try next(in: main), incoming: [], in: second).hasBase)
        #expect(try await catalog.commit(try next(in: main)) == .storeLacks(store: main))
        #expect(try await !catalog.standing(of: try await snapshot(2), in: main, limit: 10).hasBase)
    }

    // MARK: - Copies that come too late

    private func recordPack(_ copies: Catalog.PackCopies) async throws -> Bool {
        try await catalog.recordCopy(
            of: copies, in: main, generation: "00000000000000ad", object: "the late copy",
            replacing: ("the bad copy", true), quarantine: .zero, now: now)
    }

    @Test func aCopyOfAPackThatWasSentAgainMeanwhileIsDiscarded() async throws {
        try await mark(packs[0], as: .damaged)
        let copies = try #require(try await catalog.copies(ofPack: try await number(of: packs[0])))
        try await catalog.add(
            Catalog.NewPack(
                id: packs[0], scope: node.scope, sizeBytes: 1000, replicas: [(main, "00000000000000ac")], chunks: []),
            now: now)
        #expect(try await !recordPack(copies))
        let held = try await catalog.replicas(of: packs[0], in: nil).first { $0.store == main }
        #expect(held?.generation == "00000000000000ac")
        #expect(try await discarded().contains("the late copy"))
        #expect(try await !discarded().contains("the bad copy"), "it was discarded by its own name")
    }

    @Test func aCopyOfAPackThatWasGivenUpMeanwhileIsDiscarded() async throws {
        try await mark(packs[0], as: .damaged)
        let copies = try #require(try await catalog.copies(ofPack: try await number(of: packs[0])))
        try await catalog.write { [main] in
            try $0.run("DELETE FROM pack_replica WHERE pack = ? AND store = ?", [copies.number, main])
        }
        #expect(try await !recordPack(copies))
        #expect(try await discarded() == ["the late copy"])
    }

    @Test func aRepairReplacesWhatItBeganBeside() async throws {
        try await mark(packs[0], as: .damaged)
        let copies = try #require(try await catalog.copies(ofPack: try await number(of: packs[0])))
        #expect(try await recordPack(copies))
        #expect(try await discarded() == ["the bad copy"])
        #expect(try await catalog.standing(of: try next(in: main), incoming: [], in: main).lacking == [])
    }

    /// The manifest was good and kept its name; both were given up while the receipt was copied.
    @Test func aManifestThatWasGivenUpMeanwhileIsNotWrittenDownAgain() async throws {
        let last = try await snapshot(2)
        let held = try #require(last.replicas.first { $0.store == main })
        try await catalog.mark(
            .receipt, of: last.number, store: main, generation: held.receiptGeneration, as: .missing, isHashed: true,
            now: now)
        let copy = Catalog.SnapshotCopy(
            store: main, generation: held.generation, receiptGeneration: "00000000000000cd",
            replacing: try await snapshot(2).replicas.first { $0.store == main })
        try await catalog.write { [main] in
            try $0.run("DELETE FROM manifest_replica WHERE snapshot = ? AND store = ?", [last.number, main])
        }
        #expect(try await !catalog.recordCopy(of: last.number, copy, quarantine: .zero, now: now))
        #expect(try await snapshot(2).replicas.map(\.store) == [second])
    }

    @Test func aLostStoreTakesNothing() async throws {
        let copies = try #require(try await catalog.copies(ofPack: try await number(of: packs[0])))
        let last = try await snapshot(2)
        try await catalog.set(.lost, ofStore: main)
        while try await catalog.forgetReplicas(ofLostStore: main).count > 0 {}
        #expect(
            try await !recordPack(
                Catalog.PackCopies(
                    number: copies.number, id: copies.id, sizeBytes: 1000,
                    replicas: copies.replicas.filter { $0.store != main })))
        let copy = Catalog.SnapshotCopy(
            store: main, generation: "00000000000000bd", receiptGeneration: "00000000000000cd")
        #expect(try await !catalog.recordCopy(of: last.number, copy, quarantine: .zero, now: now))
        #expect(
            try await !catalog.recordKeys(
                of: node.id, in: main, object: "late keys", byteCount: 1, quarantine: .zero, now: now))
        #expect(try await catalog.holdings(inStore: main).isEmpty)
        #expect(try await catalog.keyReplicas(of: node.id).map(\.store) == [second])
    }

    @Test func keysThatCameFirstStayAndTheOthersAreDiscarded() async throws {
        func record(_ object: String, replacing old: String?) async throws -> Bool {
            try await catalog.recordKeys(
                of: node.id, in: second, object: object, byteCount: 1, replacing: old, quarantine: .zero, now: now)
        }
        #expect(try await record("first", replacing: Self.keysObject))
        #expect(try await !record("late", replacing: Self.keysObject))
        #expect(try await catalog.keyReplicas(of: node.id).map(\.object).contains("first"))
        #expect(try await discarded() == [Self.keysObject, "late"])
    }
}
