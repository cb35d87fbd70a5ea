import Foundation
import MusterModel
import MusterTestSupport

@testable import MusterCatalog

/// How snapshots come.
extension CollectionSimulation {
    /// Stores in the order in which a commit may be acknowledged.
    private var acknowledgers: [Int64] { wanted + stores.filter { !wanted.contains($0) } }

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
                self.added = fresh.filter { !known.contains($0) }.flatMap { self.put(pack: $0) }
                self.added += [self.choose(needs, lineage, triesLeft: 4)]
            }
        ]
    }

    private func put(pack: PackID) -> [Step] {
        let generation = generation()
        let name = "pack \(pack) \(generation)"
        let store = acknowledgers[0]
        return [
            {
                self.put(name, in: store)
                self.note("put \(self.short(pack)) \(generation) in \(store)")
            },
            {
                self.note("add \(self.short(pack)) \(generation)")
                let chunk = Catalog.ChunkPlace(id: try self.fixture.required(self.chunks[pack]), offset: 8, length: 9)
                try await self.fixture.catalog.add(
                    Catalog.NewPack(
                        id: pack, scope: self.node.scope, sizeBytes: 1000, replicas: [(store, generation)],
                        chunks: [chunk]), now: self.fixture.clock.now())
                self.orphans.remove(name)
            },
        ]
    }

    private func next(_ needs: Set<PackID>, _ lineage: Int) throws -> Catalog.Commit {
        let sequence = histories[lineage].commits.count
        return try histories[lineage].next(needing: needs, base: sequence == 0 ? nil : sequence & (sequence - 1))
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

    private func commit(_ needs: Set<PackID>, _ lineage: Int, in store: Int64, triesLeft: Int) -> Step {
        {
            var commit = try self.next(needs, lineage)
            let (manifest, receipt) = (self.generation(), self.generation())
            commit.places = [(store, manifest, receipt)]
            let names = ["manifest \(commit.snapshot) \(manifest)", "receipt \(commit.snapshot) \(receipt)"]
            for name in names { self.put(name, in: store) }
            let outcome = try await self.fixture.catalog.commit(commit)
            self.note(
                "commit \(lineage)/\(commit.sequence) \(needs.map(self.short).sorted()) in \(store): "
                    + "\("\(outcome)".prefix(20))")
            switch outcome {
            case .committed:
                self.histories[lineage].take(commit, needing: needs)
                self.snapshots.append(Taken(commit: commit, needs: needs))
                self.orphans.subtract(names)
                self.fixture.catalog.receiptIsStored(commit.snapshot)
                try await self.fixture.catalog.settle()
                try await self.check(commit.snapshot)
            case .packsMissing(let missing) where triesLeft > 0:
                self.added = missing.flatMap { self.put(pack: $0) }
                self.added += [self.choose(needs, lineage, triesLeft: triesLeft - 1)]
            case .storeLacks where triesLeft > 0:
                self.added = [self.choose(needs, lineage, triesLeft: triesLeft - 1)]
            case .packsMissing, .storeLacks: break
            case let outcome: throw Wrong(description: "a commit was answered with \(outcome)")
            }
        }
    }
}
