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
                guard !snapshot.replicas.contains(where: { $0.store == store }) else { return }
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
            guard let source = snapshot.replicas.first,
                Self.names(of: snapshot.id, source).allSatisfy({ self.objects[source.store]?.contains($0) == true })
            else { return }
            let (manifest, receipt) = (self.generation(), self.generation())
            let names = ["manifest \(snapshot.id) \(manifest)", "receipt \(snapshot.id) \(receipt)"]
            for name in names { self.put(name, in: store) }
            self.added = [
                {
                    let isRecorded = try await self.fixture.catalog.recordCopy(
                        of: snapshot.number,
                        Catalog.SnapshotCopy(store: store, generation: manifest, receiptGeneration: receipt),
                        quarantine: .zero, now: self.fixture.clock.now())
                    self.note("copy of \(snapshot.sequence) to \(store): \(isRecorded)")
                    if isRecorded {
                        self.orphans.subtract(names)
                        try await self.check(snapshot.id)
                        return
                    }
                    for name in names {
                        try await self.fixture.catalog.discard(
                            name, in: store, byteCount: 1, now: self.fixture.clock.now(), reason: "not needed")
                    }
                    self.orphans.subtract(names)
                }
            ]
        }
    }

    /// One pack, from any store that has it.
    func copy(pack number: Int64, to store: Int64) -> Step {
        {
            guard let copies = try await self.fixture.catalog.copies(ofPack: number),
                !copies.replicas.contains(where: { $0.store == store }),
                copies.replicas.contains(where: {
                    self.objects[$0.store]?.contains("pack \(copies.id) \($0.generation)") == true
                })
            else { return }
            let generation = self.generation()
            let name = "pack \(copies.id) \(generation)"
            self.put(name, in: store)
            self.added = [
                {
                    _ = try await self.fixture.catalog.recordCopy(
                        of: copies, in: store, generation: generation, object: name, replacing: nil,
                        quarantine: .zero, now: self.fixture.clock.now())
                    self.orphans.remove(name)
                }
            ]
        }
    }

    func bringKeys(to store: Int64) -> [Step] {
        let name = "keys \(node.id) \(generation())"
        return [
            { self.put(name, in: store) },
            {
                // Another actor may have brought them meanwhile: the newer one counts, the older is nobody's.
                let known = try await self.fixture.catalog.keyReplicas(of: self.node.id)
                guard !known.contains(where: { $0.store == store }) else { return }
                try await self.fixture.catalog.recordKeys(
                    of: self.node.id, in: store, object: name, byteCount: 10, quarantine: .zero,
                    now: self.fixture.clock.now())
                self.orphans.remove(name)
            },
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
                        if count > 0 { self.note("pack number \(pack) given up in \(store)") }
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
