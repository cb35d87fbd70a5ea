import Foundation
import MusterModel
import MusterTestSupport

@testable import MusterCatalog

/// How snapshots come.
extension CollectionSimulation {
    /// Stores in the order in which a commit may be acknowledged.
    var acknowledgers: [Int64] { wanted + stores.filter { !wanted.contains($0) } }

    /// Asks what is there, puts the rest, commits, and puts again what the commit misses.
    func upload(_ lineage: Int) -> [Step] {
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
                self.promise(known)
                self.added = fresh.filter { !known.contains($0) }.flatMap { self.put(pack: $0) }
                self.added += [self.choose(needs, lineage, triesLeft: 4)]
            }
        ]
    }

    /// Through the coordinator, or into the store by itself.
    private func put(pack: PackID) -> [Step] {
        Bool.random(using: &dice) ? putUnderGrant(pack) : putThroughCoordinator(pack)
    }

    private func putThroughCoordinator(_ pack: PackID) -> [Step] {
        let generation = generation()
        let name = "pack \(generation)"
        let store = acknowledgers[0]
        return [
            {
                self.put(name, of: .pack(pack), in: store)
                self.note("put \(self.short(pack)) \(generation) in \(store)")
            },
            {
                self.note("add \(self.short(pack)) \(generation)")
                try await self.fixture.catalog.add(
                    try self.newPack(pack, generation, in: store), now: self.fixture.clock.now())
                self.promise([pack])
                self.orphans.remove(name)
            },
        ]
    }

    func newPack(_ pack: PackID, _ generation: String, in store: Int64) throws -> Catalog.NewPack {
        let chunk = Catalog.ChunkPlace(id: try fixture.required(chunks[pack]), offset: 8, length: 9)
        return Catalog.NewPack(
            id: pack, scope: node.scope, sizeBytes: 1000, replicas: [(store, generation)], chunks: [chunk])
    }

    /// What is told to be there counts for 12 hours at least: so long a lease is left as it is.
    func promise(_ told: Set<PackID>) {
        for pack in told { promises[pack] = fixture.clock.now() + Catalog.leaseDuration / 2 }
    }

    private func next(_ needs: Set<PackID>, _ lineage: Int) throws -> Catalog.Commit {
        let sequence = histories[lineage].commits.count
        return try histories[lineage].next(needing: needs, base: sequence == 0 ? nil : sequence & (sequence - 1))
    }

    private func bases(of commit: Catalog.Commit, _ lineage: Int) -> [SnapshotID] {
        var (bases, sequence): ([SnapshotID], Int) = ([], Int(commit.sequence))
        while sequence > 0 {
            sequence &= sequence - 1
            bases.append(histories[lineage].commits[sequence].snapshot)
        }
        return bases
    }

    /// Finds a store that can acknowledge the commit, and brings it what it lacks.
    private func choose(_ needs: Set<PackID>, _ lineage: Int, triesLeft: Int) -> Step {
        {
            let commit = try self.next(needs, lineage)
            for store in self.acknowledgers {
                let standing = try await self.fixture.catalog.standing(of: commit, incoming: [], in: store)
                guard standing.hasParent, standing.hasBase else { continue }
                if !standing.hasKeys { self.added += self.bringKeys(to: store) }
                self.added += standing.lacking.map { self.copy(pack: $0, to: store) }
                self.added += [self.commit(needs, lineage, in: store, triesLeft: triesLeft)]
                return
            }
        }
    }

    /// What was put and the catalog did not take up.
    func giveUp(_ names: [String], of snapshot: SnapshotID, in store: Int64) async throws {
        let objects = names.map { name in
            Catalog.PutObject(
                .snapshot(snapshot), store: store, object: name, generation: String(name.split(separator: " ")[1]),
                byteCount: 1, isThere: true)
        }
        try await fixture.catalog.discardUnreferenced(objects, now: fixture.clock.now())
        orphans.subtract(names)
    }

    private func commit(_ needs: Set<PackID>, _ lineage: Int, in store: Int64, triesLeft: Int) -> Step {
        {
            var commit = try self.next(needs, lineage)
            let (manifest, receipt) = (self.generation(), self.generation())
            commit.places = [(store, manifest, receipt)]
            let names = ["manifest \(manifest)", "receipt \(receipt)"]
            for name in names { self.put(name, of: .snapshot(commit.snapshot), in: store) }
            let outcome = try await self.fixture.catalog.commit(commit)
            self.note(
                "commit \(lineage)/\(commit.sequence) \(needs.map(self.short).sorted()) in \(store): "
                    + "\("\(outcome)".prefix(20))")
            if outcome != .committed { try await self.giveUp(names, of: commit.snapshot, in: store) }
            switch outcome {
            case .committed:
                let taken = Taken(commit: commit, needs: needs, bases: self.bases(of: commit, lineage))
                self.histories[lineage].take(commit, needing: needs)
                self.snapshots.append(taken)
                self.orphans.subtract(names)
                self.fixture.catalog.receiptIsStored(commit.snapshot)
                self.image = nil
                // In this store a receipt was given for it: whatever was found bad before must be good again.
                try self.check(taken, wholeIn: [store])
            case .packsMissing(let missing):
                let now = self.fixture.clock.now()
                if let pack = missing.first(where: { self.promises[$0, default: now] > now }) {
                    throw Wrong(description: "\(self.short(pack)) was told to be there, and a commit misses it")
                }
                guard triesLeft > 0 else { break }
                self.added = missing.flatMap { self.put(pack: $0) }
                self.added += [self.choose(needs, lineage, triesLeft: triesLeft - 1)]
            case .storeLacks where triesLeft > 0:
                self.added = [self.choose(needs, lineage, triesLeft: triesLeft - 1)]
            case .storeLacks: break
            case let outcome: throw Wrong(description: "a commit was answered with \(outcome)")
            }
        }
    }
}
