import Foundation
import MusterModel
import MusterTestSupport

@testable import MusterCatalog

/// gc beside uploads, restores, copies, repairs, retention, re-balancing and another gc: each actor does its work in
/// steps, chance says whose step is next, and any of them may be cut off for good between two steps, as by a crash.
///
/// The catalog is the real one; the stores are sets of names. Grace is 0, so nothing but the checks protects
/// what is needed. What is wrong is thrown by the step that sees it: at each deletion every snapshot that needs the
/// object must be whole in every store that the catalog names for it.
///
/// One simulation is a life of many interleavings: each goes on with the snapshots that the ones before left, so there
/// is something to lose from the first step on. A life's seed tells all of it.
final class CollectionSimulation {
    struct Wrong: Error, CustomStringConvertible {
        let description: String
    }

    typealias Step = () async throws -> Void

    enum Subject {
        case pack(PackID), snapshot(SnapshotID), keys
    }

    static let names = ObjectNames(
        pack: { "pack \($1)" }, manifest: { "manifest \($1)" }, receipt: { "receipt \($1)" })

    struct Taken {
        let commit: Catalog.Commit
        let needs: Set<PackID>
        /// Whose manifests its reader needs too: as its node knows, whatever the catalog says.
        let bases: [SnapshotID]
    }

    private static let packCount = 8

    let fixture: Fixture
    let stores: [Int64]
    var dice: SeededGenerator
    let node: Catalog.Node
    let packs: [PackID]
    let chunks: [PackID: ChunkID]
    var histories: [LineageHistory]
    var snapshots: [Taken] = []
    /// What each store holds, by names that say no more than they must: a generation is given once.
    var objects: [Int64: Set<String>]
    /// What the bytes under a name are of.
    private var subjects: [String: Subject] = [:]
    /// Put, and not recorded yet: where the actor is cut off nobody ever knows of them.
    var orphans: Set<String> = []
    private var named = 0
    /// Stores that the placement draws from, as the coordinator believes, and of how many of them.
    var active: [Int64]
    let replicas: Int
    /// Until when a node was told that it need not send a pack.
    var promises: [PackID: Timestamp] = [:]
    /// What the catalog says, until something is written.
    var image: CatalogImage?

    /// - Parameter isTold: what happens is written down, for whoever looks into a failure.
    init(_ fixture: Fixture, stores: [Int64], node: Catalog.Node, seed: UInt64, isTold: Bool = false) throws {
        (self.fixture, self.stores, self.node, self.isTold) = (fixture, stores, node, isTold)
        dice = SeededGenerator(seed: seed)
        packs = try (0..<Self.packCount).map { _ in try fixture.digest() }
        chunks = Dictionary(uniqueKeysWithValues: try packs.map { ($0, try fixture.digest()) })
        histories = [LineageHistory(fixture, node), LineageHistory(fixture, node)]
        objects = Dictionary(uniqueKeysWithValues: stores.map { ($0, []) })
        active = stores
        replicas = Int.random(in: 1...2, using: &dice)
    }

    /// Who acts how often: there are two of those that send and two of gc, and they do most.
    private static let turns = [
        0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 5, 5, 6, 7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 9, 10, 10, 11, 11, 12, 13, 13,
    ]

    /// One interleaving: so many steps, then all actors are cut off, and one gc runs to its end.
    func run(steps: Int) async throws {
        var scripts = [[Step]](repeating: [], count: 14)
        for _ in 0..<steps {
            let actor = Self.turns.randomElement(using: &dice) ?? 0
            if scripts[actor].isEmpty {
                scripts[actor] = plan(actor)
            } else if Int.random(in: 0..<40, using: &dice) == 0 {
                note("actor \(actor) is cut off")
                scripts[actor] = []
                continue
            }
            guard !scripts[actor].isEmpty else { continue }
            let step = scripts[actor].removeFirst()
            scripts[actor] = try await take(step) + scripts[actor]
        }
        try await end()
    }

    /// - Returns: what the step puts before the rest of its script.
    func take(_ step: Step) async throws -> [Step] {
        if !isQuiet { image = nil }
        (added, isQuiet) = ([], false)
        try await step()
        return added
    }

    /// The step under way writes nothing: what the catalog says stays so.
    var isQuiet = false

    private let isTold: Bool
    private(set) var trace: [String] = []

    func note(_ text: @autoclosure () -> String) { if isTold { trace.append(text()) } }

    func short(_ pack: PackID) -> String { "pack \(packs.firstIndex(of: pack) ?? -1)" }

    /// Steps that the step under way puts before the rest of its script.
    var added: [Step] = []

    private func plan(_ actor: Int) -> [Step] {
        switch actor {
        case 0, 1: upload(actor)
        case 2: [{ try await self.expire() }]
        case 3: restore()
        case 4: copyAnyPack()
        case 5: [{ self.wait() }]
        case 6: [{ try await self.bringBack() }]
        case 9: place()
        case 10: copySnapshot()
        case 11: giveUpSurplus()
        case 12: [{ try await self.findDamage() }]
        case 13: [{ try self.repair() }]
        default: collect(limit: Int.random(in: 1...3, using: &dice))
        }
    }

    func wait() {
        let spans: [Int64] = [0, 1, 60, 1000, 4000, 7200, 90_000]
        let span = spans.randomElement(using: &dice) ?? 0
        fixture.clock.advance(by: .seconds(span))
        note("\(span) s pass")
    }

    func generation() -> String {
        named += 1
        return String(format: "%016x", named)
    }

    func put(_ name: String, of subject: Subject, in store: Int64) {
        objects[store]?.insert(name)
        subjects[name] = subject
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
        guard let taken = snapshots.randomElement(using: &dice) else { return }
        guard try await fixture.catalog.undo(taken.commit.snapshot, now: fixture.clock.now()) else { return }
        note("\(taken.commit.sequence) is brought back")
        image = nil
        try check(taken)
    }

    /// Pins, reads what it needs, pack by pack, and lets go.
    private func restore() -> [Step] {
        guard let victim = snapshots.randomElement(using: &dice) else { return [] }
        let id = victim.commit.snapshot
        let patience = Duration.seconds(50_000)
        return [
            {
                let began = self.fixture.clock.now()
                guard try await self.fixture.catalog.pin(id, .restore, for: patience, now: began) else { return }
                // Each pack is read in several pieces.
                self.added = (0..<4).flatMap { _ in victim.needs.sorted() }.map { pack in
                    {
                        guard self.fixture.clock.now() < began + patience else { return }
                        self.isQuiet = true
                        try self.check(pack, isThereFor: "a reader with a pin")
                    }
                }
                self.added += [{ try await self.fixture.catalog.unpin(id, .restore) }]
            }
        ]
    }

    /// Copies a pack into any store.
    private func copyAnyPack() -> [Step] {
        guard let pack = packs.randomElement(using: &dice), let store = stores.randomElement(using: &dice) else {
            return []
        }
        return [
            {
                let replicas = try await self.fixture.catalog.replicas(of: pack, in: self.node.scope)
                if let number = replicas.first?.pack { self.added = [self.copy(pack: number, to: store)] }
            }
        ]
    }

    // MARK: - gc

    /// All steps of a run, each of so many rows.
    func collect(limit: Int) -> [Step] {
        [
            { try await self.giveUpGrants(limit) }, { try await self.forget(after: nil, limit) },
            { try await self.free(nil, limit) },
            { try await self.condemn(limit) }, { try await self.sweep(limit) },
            { try await self.drop(below: nil, limit) },
            { for store in self.stores { try await self.findDiscarded(in: store, limit) } },
        ]
    }

    private func giveUpGrants(_ limit: Int) async throws {
        let count = try await fixture.catalog.giveUpGrants(limit: limit, now: fixture.clock.now())
        note("gc gives up \(count) grants")
        if count >= limit { added = [{ try await self.giveUpGrants(limit) }] }
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
        added += found.map { object in { try self.delete(object) } }
        added += [
            { try await self.fixture.catalog.removeDiscarded(found) },
            { try await self.findDiscarded(in: store, limit) },
        ]
    }

    func delete(_ object: Catalog.DiscardedObject) throws {
        let wasThere = objects[object.store]?.remove(object.object) != nil
        note("gc deletes \(object.object) in \(object.store)")
        isQuiet = true
        guard wasThere else { return }
        let isHit: (Taken) -> Bool =
            switch subjects[object.object] {
            case .pack(let pack): { $0.needs.contains(pack) }
            case .snapshot(let id): { $0.commit.snapshot == id || $0.bases.contains(id) }
            case .keys, nil: { _ in true }
            }
        for taken in snapshots where isHit(taken) { try check(taken) }
    }
}
