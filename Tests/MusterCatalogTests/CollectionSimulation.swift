import Foundation
import MusterModel
import MusterTestSupport

@testable import MusterCatalog

/// gc beside uploads, restores, copies, retention and another gc: each actor does its work in steps, chance says whose
/// step is next, and any of them may be cut off for good between two steps, as by a crash.
///
/// The catalog is the real one; the two stores are sets of names. Grace is 0, so nothing but the checks protects
/// what is needed. What is wrong is thrown by the step that sees it.
final class CollectionSimulation {
    struct Wrong: Error, CustomStringConvertible {
        let description: String
    }

    typealias Step = () async throws -> Void

    private struct Taken {
        let commit: Catalog.Commit
        let needs: Set<PackID>
        var objects: [String]
    }

    private static let packCount = 6

    private let fixture: Fixture
    private let stores: [Int64]
    private var dice: SeededGenerator
    private let node: Catalog.Node
    private let packs: [PackID]
    private let chunks: [PackID: ChunkID]
    private var histories: [LineageHistory]
    private var snapshots: [Taken] = []
    /// What each store holds.
    private var objects: [Int64: Set<String>]
    /// Put, and not recorded yet: where the actor is cut off nobody ever knows of them.
    private var orphans: Set<String> = []
    private var named = 0

    init(_ fixture: Fixture, stores: [Int64], node: Catalog.Node, seed: UInt64) throws {
        (self.fixture, self.stores, self.node) = (fixture, stores, node)
        dice = SeededGenerator(seed: seed)
        packs = try (0..<Self.packCount).map { _ in try fixture.digest() }
        chunks = Dictionary(uniqueKeysWithValues: try packs.map { ($0, try fixture.digest()) })
        histories = [LineageHistory(fixture, node), LineageHistory(fixture, node)]
        objects = Dictionary(uniqueKeysWithValues: stores.map { ($0, []) })
    }

    /// One interleaving: so many steps, then all actors are cut off, and one gc runs to its end.
    func run(steps: Int) async throws {
        var scripts = [[Step]](repeating: [], count: 9)
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

    private func note(_ text: String) { trace.append(text) }

    private func short(_ pack: PackID) -> String { "pack \(packs.firstIndex(of: pack) ?? -1)" }

    /// Steps that the step under way puts before the rest of its script.
    private var added: [Step] = []

    private func plan(_ actor: Int) -> [Step] {
        switch actor {
        case 0, 1: upload(actor)
        case 2: [{ try await self.expire() }]
        case 3: restore()
        case 4: copy()
        case 5: [{ self.wait() }]
        case 6: [{ try await self.bringBack() }]
        default: collect(limit: Int.random(in: 1...3, using: &dice))
        }
    }

    private func wait() {
        let spans: [Int64] = [0, 1, 1, 60, 7200, 90_000]
        let span = spans.randomElement(using: &dice) ?? 0
        fixture.clock.advance(by: .seconds(span))
        note("\(span) s pass")
    }

    private func generation() -> String {
        named += 1
        return String(format: "%016x", named)
    }

    private func put(_ name: String, in store: Int64) {
        objects[store]?.insert(name)
        orphans.insert(name)
    }

    // MARK: - Actors

    /// Asks what is there, puts the rest, commits, and puts again what the commit misses.
    private func upload(_ lineage: Int) -> [Step] {
        let count = Int.random(in: 1...3, using: &dice)
        let needs = Set(packs.shuffled(using: &dice).prefix(count))
        return [
            {
                let history = self.histories[lineage]
                let fresh = needs.subtracting(history.needs.last ?? []).sorted()
                let ids = fresh.compactMap { self.chunks[$0] }
                let present = try await self.fixture.catalog.presentChunks(
                    ids, in: self.node.scope, now: self.fixture.clock.now())
                let known = Set(present.map(\.pack))
                self.added = fresh.filter { !known.contains($0) }.flatMap { self.put(pack: $0) }
                self.added += [self.commit(needs, lineage, triesLeft: 3)]
            }
        ]
    }

    private func put(pack: PackID) -> [Step] {
        let generation = generation()
        let name = "pack \(pack) \(generation)"
        return [
            {
                self.put(name, in: self.stores[0])
                self.note("put \(self.short(pack)) \(generation)")
            },
            {
                self.note("add \(self.short(pack)) \(generation)")
                let chunk = Catalog.ChunkPlace(id: try self.fixture.required(self.chunks[pack]), offset: 8, length: 9)
                try await self.fixture.catalog.add(
                    Catalog.NewPack(
                        id: pack, scope: self.node.scope, sizeBytes: 1000, replicas: [(self.stores[0], generation)],
                        chunks: [chunk]), now: self.fixture.clock.now())
                self.orphans.remove(name)
            },
        ]
    }

    private func commit(_ needs: Set<PackID>, _ lineage: Int, triesLeft: Int) -> Step {
        {
            let sequence = self.histories[lineage].commits.count
            let base = sequence == 0 ? nil : sequence & (sequence - 1)
            var commit = try self.histories[lineage].next(needing: needs, base: base)
            let (manifest, receipt) = (self.generation(), self.generation())
            commit.places = [(self.stores[0], manifest, receipt)]
            let names = ["manifest \(commit.snapshot) \(manifest)", "receipt \(commit.snapshot) \(receipt)"]
            for name in names { self.put(name, in: self.stores[0]) }
            let outcome = try await self.fixture.catalog.commit(commit)
            self.note("commit \(lineage)/\(sequence) \(needs.map(self.short).sorted()): \("\(outcome)".prefix(20))")
            switch outcome {
            case .committed:
                self.histories[lineage].take(commit, needing: needs)
                self.snapshots.append(Taken(commit: commit, needs: needs, objects: names))
                self.orphans.subtract(names)
                self.fixture.catalog.receiptIsStored(commit.snapshot)
                try await self.fixture.catalog.settle()
                try await self.check(needs, "a commit")
            case .packsMissing(let missing) where triesLeft > 0:
                self.added = missing.flatMap { self.put(pack: $0) }
                self.added += [self.commit(needs, lineage, triesLeft: triesLeft - 1)]
            case .packsMissing: break
            case let outcome: throw Wrong(description: "a commit was answered with \(outcome)")
            }
        }
    }

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
    private func collect(limit: Int) -> [Step] {
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

    private func findDiscarded(in store: Int64, _ limit: Int) async throws {
        let found = try await fixture.catalog.discardedObjects(in: store, limit: limit, now: fixture.clock.now())
        guard !found.isEmpty else { return }
        added += found.map { object in { try await self.delete(object) } }
        added += [
            { try await self.fixture.catalog.removeDiscarded(found) },
            { try await self.findDiscarded(in: store, limit) },
        ]
    }

    private func delete(_ object: Catalog.DiscardedObject) async throws {
        objects[object.store]?.remove(object.object)
        note("gc deletes \(object.object.suffix(20))")
        let words = object.object.split(separator: " ").map(String.init)
        if words[0] == "pack", let pack = PackID(words[1]) {
            for taken in snapshots where taken.needs.contains(pack) {
                try await check(taken.commit.snapshot)
            }
        } else if let taken = snapshots.first(where: { $0.objects.contains(object.object) }) {
            guard try await fixture.catalog.snapshot(taken.commit.snapshot) == nil else {
                throw Wrong(description: "\(object.object) was deleted, and the catalog has its snapshot")
            }
        }
    }

    // MARK: - What must be so

    /// Every pack that an unforgotten snapshot needs is there.
    private func check(_ snapshot: SnapshotID) async throws {
        guard let taken = snapshots.first(where: { $0.commit.snapshot == snapshot }),
            try await fixture.catalog.snapshot(snapshot)?.isForgotten == false
        else { return }
        try await check(taken.needs, "snapshot \(taken.commit.sequence)")
        guard taken.objects.allSatisfy({ objects[stores[0]]?.contains($0) == true }) else {
            throw Wrong(description: "the manifest or the receipt of snapshot \(taken.commit.sequence) is gone")
        }
    }

    private func check(_ needs: Set<PackID>, _ who: String) async throws {
        for pack in needs {
            let replicas = try await fixture.catalog.replicas(of: pack, in: node.scope)
            let isThere = replicas.contains { replica in
                replica.state == .present && !replica.isCondemned
                    && objects[replica.store]?.contains("pack \(pack) \(replica.generation)") == true
            }
            guard isThere else { throw Wrong(description: "pack \(pack), which \(who) needs, is gone") }
        }
    }

    /// gc alone, once no lease and no pin is left: what is needed is there, and nothing else is.
    private func end() async throws {
        fixture.clock.advance(by: .seconds(8 * 86_400))
        for _ in 0..<2 {
            var script = collect(limit: 50)
            while !script.isEmpty {
                let step = script.removeFirst()
                added = []
                try await step()
                script = added + script
            }
        }
        var wanted: Set<String> = []
        var bases: Set<SnapshotID> = []
        for taken in snapshots.reversed() {
            let id = taken.commit.snapshot
            guard let snapshot = try await fixture.catalog.snapshot(id) else { continue }
            guard !snapshot.isForgotten || bases.contains(id) else {
                throw Wrong(description: "snapshot \(taken.commit.sequence) is forgotten and was not dropped")
            }
            if let base = snapshot.base { bases.insert(base) }
            wanted.formUnion(taken.objects)
            guard !snapshot.isForgotten else { continue }
            try await check(id)
            for pack in taken.needs {
                let replicas = try await fixture.catalog.replicas(of: pack, in: node.scope)
                wanted.formUnion(replicas.map { "pack \(pack) \($0.generation)" })
            }
        }
        let held = objects.values.reduce(into: Set<String>()) { $0.formUnion($1) }
        let garbage = held.subtracting(wanted).subtracting(orphans)
        guard garbage.isEmpty else { throw Wrong(description: "garbage stays: \(garbage.sorted())") }
        guard try await fixture.catalog.discardedCount() == 0 else {
            throw Wrong(description: "objects that were given up were not deleted")
        }
    }
}
