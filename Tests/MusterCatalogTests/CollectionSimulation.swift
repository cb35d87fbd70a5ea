import Foundation
import MusterModel
import MusterTestSupport

@testable import MusterCatalog

/// gc beside uploads, restores, copies, retention, re-balancing and another gc: each actor does its work in steps,
/// chance says whose step is next, and any of them may be cut off for good between two steps, as by a crash.
///
/// The catalog is the real one; the stores are sets of names. Grace is 0, so nothing but the checks protects
/// what is needed. What is wrong is thrown by the step that sees it: at each deletion every snapshot must be whole in every
/// store that the catalog names for it.
final class CollectionSimulation {
    struct Wrong: Error, CustomStringConvertible {
        let description: String
    }

    typealias Step = () async throws -> Void

    struct Taken {
        let commit: Catalog.Commit
        let needs: Set<PackID>
    }

    private static let packCount = 6

    let fixture: Fixture
    let stores: [Int64]
    var dice: SeededGenerator
    let node: Catalog.Node
    let packs: [PackID]
    let chunks: [PackID: ChunkID]
    var histories: [LineageHistory]
    var snapshots: [Taken] = []
    /// What each store holds.
    var objects: [Int64: Set<String>]
    /// Put, and not recorded yet: where the actor is cut off nobody ever knows of them.
    var orphans: Set<String> = []
    private var named = 0
    /// Stores that the placement draws from, as the coordinator believes, and of how many of them.
    var active: [Int64]
    let replicas: Int

    init(_ fixture: Fixture, stores: [Int64], node: Catalog.Node, seed: UInt64) throws {
        (self.fixture, self.stores, self.node) = (fixture, stores, node)
        dice = SeededGenerator(seed: seed)
        packs = try (0..<Self.packCount).map { _ in try fixture.digest() }
        chunks = Dictionary(uniqueKeysWithValues: try packs.map { ($0, try fixture.digest()) })
        histories = [LineageHistory(fixture, node), LineageHistory(fixture, node)]
        objects = Dictionary(uniqueKeysWithValues: stores.map { ($0, []) })
        active = stores
        replicas = Int.random(in: 1...2, using: &dice)
    }

    /// One interleaving: so many steps, then all actors are cut off, and one gc runs to its end.
    func run(steps: Int) async throws {
        for store in stores { try await fixture.catalog.set(.active, ofStore: store) }
        var scripts = [[Step]](repeating: [], count: 12)
        for _ in 0..<steps {
            let actor = Int.random(in: 0..<scripts.count, using: &dice)
            if scripts[actor].isEmpty {
                scripts[actor] = plan(actor)
            } else if Int.random(in: 0..<40, using: &dice) == 0 {
                note("actor \(actor) is cut off")
                scripts[actor] = []
                continue
            }
            guard !scripts[actor].isEmpty else { continue }
            let step = scripts[actor].removeFirst()
            added = []
            try await step()
            scripts[actor] = added + scripts[actor]
        }
        try await end()
    }

    /// What happened, for whoever looks into a failure.
    private(set) var trace: [String] = []

    func note(_ text: String) { trace.append(text) }

    func short(_ pack: PackID) -> String { "pack \(packs.firstIndex(of: pack) ?? -1)" }

    /// Steps that the step under way puts before the rest of its script.
    var added: [Step] = []

    private func plan(_ actor: Int) -> [Step] {
        switch actor {
        case 0, 1: upload(actor)
        case 2: [{ try await self.expire() }]
        case 3: restore()
        case 4: copy()
        case 5: [{ self.wait() }]
        case 6: [{ try await self.bringBack() }]
        case 9: place()
        case 10: copySnapshot()
        case 11: giveUpSurplus()
        default: collect(limit: Int.random(in: 1...3, using: &dice))
        }
    }

    func wait() {
        let spans: [Int64] = [0, 1, 1, 60, 7200, 90_000]
        let span = spans.randomElement(using: &dice) ?? 0
        fixture.clock.advance(by: .seconds(span))
        note("\(span) s pass")
    }

    func generation() -> String {
        named += 1
        return String(format: "%016x", named)
    }

    func put(_ name: String, in store: Int64) {
        objects[store]?.insert(name)
        orphans.insert(name)
    }

    // MARK: - Actors

    private func expire() async throws {
        guard let victim = snapshots.randomElement(using: &dice) else { return }
        let now = fixture.clock.now()
        let grace = Bool.random(using: &dice) ? Duration.zero : .seconds(3000)
        let outcome = try await fixture.catalog.forget(
            victim.commit.snapshot, run: RunID(from: fixture.random), graceUntil: now + grace, actor: "eve", now: now)
        note("forget \(victim.commit.sequence): \(outcome?.rawValue ?? "gone")")
    }

    private func bringBack() async throws {
        guard let snapshot = snapshots.randomElement(using: &dice)?.commit.snapshot else { return }
        guard try await fixture.catalog.undo(snapshot, now: fixture.clock.now()) else { return }
        try await check(snapshot)
    }

    /// Pins, reads what it needs, pack by pack, and lets go.
    private func restore() -> [Step] {
        guard let victim = snapshots.randomElement(using: &dice) else { return [] }
        let id = victim.commit.snapshot
        let patience = Duration.seconds(7000)
        return [
            {
                let began = self.fixture.clock.now()
                guard try await self.fixture.catalog.pin(id, .restore, for: patience, now: began) else { return }
                self.added = victim.needs.sorted().map { pack in
                    {
                        guard self.fixture.clock.now() < began + patience else { return }
                        try await self.check([pack], "a reader with a pin")
                    }
                }
                self.added += [{ try await self.fixture.catalog.unpin(id, .restore) }]
            }
        ]
    }

    /// Copies a pack into the other store.
    private func copy() -> [Step] {
        guard let pack = packs.randomElement(using: &dice) else { return [] }
        return [
            {
                let replicas = try await self.fixture.catalog.replicas(of: pack, in: self.node.scope)
                guard let source = replicas.first, !replicas.contains(where: { $0.store == self.stores[1] }),
                    let copies = try await self.fixture.catalog.copies(ofPack: source.pack)
                else { return }
                let generation = self.generation()
                let name = "pack \(pack) \(generation)"
                self.added = [
                    {
                        let held = self.objects[source.store] ?? []
                        guard held.contains("pack \(pack) \(source.generation)") else { return }
                        self.put(name, in: self.stores[1])
                        self.added = [
                            {
                                _ = try await self.fixture.catalog.recordCopy(
                                    of: copies, in: self.stores[1], generation: generation, object: name,
                                    replacing: nil, quarantine: .zero, now: self.fixture.clock.now())
                                self.orphans.remove(name)
                            }
                        ]
                    }
                ]
            }
        ]
    }

    // MARK: - gc

    /// All steps of a run, each of so many rows.
    func collect(limit: Int) -> [Step] {
        [
            { try await self.forget(after: nil, limit) }, { try await self.free(nil, limit) },
            { try await self.condemn(limit) }, { try await self.sweep(limit) },
            { try await self.drop(below: nil, limit) },
            { for store in self.stores { try await self.findDiscarded(in: store, limit) } },
        ]
    }

    private func forget(after place: Catalog.MarkedPlace?, _ limit: Int) async throws {
        let step = try await fixture.catalog.forgetMarked(after: place, limit: limit, now: fixture.clock.now())
        note("gc forgets \(step.count)")
        if let next = step.next { added = [{ try await self.forget(after: next, limit) }] }
    }

    private func free(_ gap: Catalog.Gap?, _ limit: Int) async throws {
        let step = try await fixture.catalog.freeUnneeded(gap, limit: limit)
        note("gc frees \(step.count)")
        if let next = step.next { added = [{ try await self.free(next, limit) }] }
    }

    private func condemn(_ limit: Int) async throws {
        let step = try await fixture.catalog.condemnUnneeded(limit: limit, now: fixture.clock.now())
        note("gc condemns \(step.count)")
        if step.next != nil { added = [{ try await self.condemn(limit) }] }
    }

    private func sweep(_ limit: Int) async throws {
        let now = fixture.clock.now()
        let step = try await fixture.catalog.sweepCondemned(before: now, limit: limit, now: now)
        note("gc sweeps \(step.count)")
        if step.next != nil { added = [{ try await self.sweep(limit) }] }
    }

    private func drop(below number: Int64?, _ limit: Int) async throws {
        let step = try await fixture.catalog.dropForgotten(below: number, limit: limit, now: fixture.clock.now())
        note("gc drops \(step.count)")
        if let next = step.next { added = [{ try await self.drop(below: next, limit) }] }
    }

    func findDiscarded(in store: Int64, _ limit: Int) async throws {
        let found = try await fixture.catalog.discardedObjects(in: store, limit: limit, now: fixture.clock.now())
        guard !found.isEmpty else { return }
        added += found.map { object in { try await self.delete(object) } }
        added += [
            { try await self.fixture.catalog.removeDiscarded(found) },
            { try await self.findDiscarded(in: store, limit) },
        ]
    }

    func delete(_ object: Catalog.DiscardedObject) async throws {
        objects[object.store]?.remove(object.object)
        note("gc deletes \(object.object.suffix(20))")
        let words = object.object.split(separator: " ").map(String.init)
        if words[0] == "pack", let pack = PackID(words[1]) {
            for taken in snapshots where taken.needs.contains(pack) {
                try await check(taken.commit.snapshot)
            }
        } else if words[0] == "keys" {
            for taken in snapshots { try await check(taken.commit.snapshot) }
        } else if let id = SnapshotID(words[1]), let snapshot = try await fixture.catalog.snapshot(id) {
            let names = snapshot.replicas.flatMap { Self.names(of: id, $0) }
            guard !names.contains(object.object) else {
                throw Wrong(description: "\(object.object) was deleted, and the catalog names it")
            }
            try await check(id)
        }
    }
}
