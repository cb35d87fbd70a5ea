import Foundation
import MusterModel
import MusterTestSupport

@testable import MusterCatalog

/// Stores that come and go, copies to where the placement wants them, and the end of those that it wants no more.
extension CollectionSimulation {
    /// The placement: the first stores that are in use.
    var wanted: [Int64] { Array(active.prefix(replicas)) }

    /// The catalog knows of a change before the coordinator acts on it.
    func place() -> [Step] {
        let chosen = stores.filter { _ in Bool.random(using: &dice) }
        let next = chosen.isEmpty ? stores : chosen
        return [
            {
                for store in self.stores {
                    try await self.fixture.catalog.set(next.contains(store) ? .active : .draining, ofStore: store)
                }
                self.note("the catalog has \(next) in use")
            },
            {
                self.active = next
                self.note("placed in \(self.wanted)")
            },
        ]
    }

    // MARK: - Copies

    /// Brings a snapshot to a store that is to have it: keys, packs, and at last its manifest.
    func copySnapshot() -> [Step] {
        guard let taken = snapshots.randomElement(using: &dice), let store = wanted.randomElement(using: &dice) else {
            return []
        }
        return copy(taken.commit.snapshot, to: store)
    }

    func copy(_ id: SnapshotID, to store: Int64) -> [Step] {
        [
            {
                guard let snapshot = try await self.fixture.catalog.snapshot(id) else { return }
                if snapshot.isForgotten {
                    guard try await !self.fixture.catalog.snapshots(basedOn: id, limit: 1).isEmpty else { return }
                }
                guard !snapshot.replicas.contains(where: { $0.store == store && $0.state == .present }) else { return }
                let standing = try await self.fixture.catalog.standing(of: snapshot, in: store, limit: 100)
                guard standing.hasBase else { return }
                if !standing.hasKeys { self.added += self.bringKeys(to: store) }
                self.added += standing.lacking.map { self.copy(pack: $0, to: store) }
                self.added += [self.copyRecords(of: snapshot, to: store)]
            }
        ]
    }

    private func copyRecords(of snapshot: Catalog.Snapshot, to store: Int64) -> Step {
        {
            let source = snapshot.replicas.first { held in
                held.store != store && held.state == .present
                    && ["manifest \(held.generation)", "receipt \(held.receiptGeneration)"].allSatisfy {
                        self.objects[held.store]?.contains($0) == true
                    }
            }
            guard source != nil else { return }
            let old = snapshot.replicas.first { $0.store == store }
            let generations = (
                old?.manifestState == .present ? old?.generation : nil,
                old?.receiptState == .present ? old?.receiptGeneration : nil
            )
            var copy = Catalog.SnapshotCopy(
                store: store, generation: generations.0 ?? self.generation(),
                receiptGeneration: generations.1 ?? self.generation(), replacing: old)
            var names: [String] = []
            if generations.0 == nil { names.append("manifest \(copy.generation)") }
            if generations.1 == nil { names.append("receipt \(copy.receiptGeneration)") }
            for name in names { self.put(name, of: .snapshot(snapshot.id), in: store) }
            if let old, old.manifestState == .damaged { copy.replaced.append(("manifest \(old.generation)", 1)) }
            self.added = [self.record(copy, of: snapshot, names)]
        }
    }

    private func record(_ copy: Catalog.SnapshotCopy, of snapshot: Catalog.Snapshot, _ names: [String]) -> Step {
        {
            let isRecorded = try await self.fixture.catalog.recordCopy(
                of: snapshot.number, copy, quarantine: .zero, now: self.fixture.clock.now())
            self.note("copy of \(snapshot.sequence) to \(copy.store): \(isRecorded)")
            guard !isRecorded else {
                self.orphans.subtract(names)
                self.image = nil
                if let taken = self.snapshots.first(where: { $0.commit.snapshot == snapshot.id }) {
                    try self.check(taken)
                }
                return
            }
            try await self.giveUp(names, of: snapshot.id, in: copy.store)
        }
    }

    /// One pack, from any store that has it, to one that has no good copy.
    func copy(pack number: Int64, to store: Int64) -> Step {
        {
            guard let copies = try await self.fixture.catalog.copies(ofPack: number) else { return }
            let old = copies.replicas.first { $0.store == store }
            let hasSource = copies.replicas.contains {
                $0.state == .present && $0.store != store
                    && self.objects[$0.store]?.contains("pack \($0.generation)") == true
            }
            guard old?.state != .present, hasSource else { return }
            let generation = self.generation()
            let name = "pack \(generation)"
            self.put(name, of: .pack(copies.id), in: store)
            self.added = [
                {
                    let isRecorded = try await self.fixture.catalog.recordCopy(
                        of: copies, in: store, generation: generation, object: name,
                        replacing: old.map { ("pack \($0.generation)", $0.state == .damaged) },
                        quarantine: .zero, now: self.fixture.clock.now())
                    self.note("copy of \(self.short(copies.id)) \(generation) to \(store): \(isRecorded)")
                    self.orphans.remove(name)
                }
            ]
        }
    }

    func bringKeys(to store: Int64) -> [Step] {
        [
            {
                let known = try await self.fixture.catalog.keyReplicas(of: self.node.id).first { $0.store == store }
                guard known?.state != .present else { return }
                let name = "keys \(self.generation())"
                self.put(name, of: .keys, in: store)
                self.added = [
                    {
                        try await self.fixture.catalog.recordKeys(
                            of: self.node.id, in: store, object: name, byteCount: 10, replacing: known?.object,
                            quarantine: .zero, now: self.fixture.clock.now())
                        self.orphans.remove(name)
                    }
                ]
            }
        ]
    }

    // MARK: - Surplus

    /// A pass over one store: snapshots, then packs, then the key record, each when chance lets it.
    func giveUpSurplus() -> [Step] {
        guard let store = stores.filter({ !wanted.contains($0) }).randomElement(using: &dice) else { return [] }
        return giveUpSurplus(in: store)
    }

    func giveUpSurplus(in store: Int64) -> [Step] {
        let lineages = histories.compactMap { $0.commits.first?.lineage }
        let manifests = lineages.map { lineage -> Step in
            {
                let held = try await self.fixture.catalog.snapshots(of: lineage, in: store, below: nil, limit: 100)
                self.added = held.map { snapshot in { try await self.giveUp(snapshot, in: store) } }
            }
        }
        let packs = lineages.map { lineage -> Step in
            {
                let held = try await self.fixture.catalog.packs(of: lineage, in: store, after: 0, limit: 100)
                self.added = held.map { pack in
                    {
                        let count = try await self.fixture.catalog.giveUp(
                            packs: [pack], self.surplus(store), now: self.fixture.clock.now())
                        self.note("pack number \(pack) given up in \(store): \(count)")
                    }
                }
            }
        }
        return manifests + packs + [
            {
                let isGivenUp = try await self.fixture.catalog.giveUpKeys(
                    self.surplus(store), now: self.fixture.clock.now())
                if isGivenUp { self.note("keys given up in \(store)") }
            }
        ]
    }

    private func giveUp(_ snapshot: Catalog.Snapshot, in store: Int64) async throws {
        let isGivenUp = try await fixture.catalog.giveUp(
            snapshot: snapshot.number, surplus(store), now: fixture.clock.now())
        if isGivenUp { note("snapshot \(snapshot.sequence) given up in \(store)") }
    }

    /// As the coordinator believes it at that moment.
    private func surplus(_ store: Int64) -> Catalog.Surplus {
        Catalog.Surplus(
            store: store, node: node.id, wanted: wanted, active: active, hashedSince: Timestamp(microseconds: 0),
            lookedSince: Timestamp(microseconds: 0))
    }
}
