import Foundation
import GRDB
import MusterModel
import MusterTestSupport

@testable import MusterCatalog

/// What must be so.
extension CollectionSimulation {
    static func names(of snapshot: SnapshotID, _ replica: Catalog.ManifestReplica) -> [String] {
        ["manifest \(snapshot) \(replica.generation)", "receipt \(snapshot) \(replica.receiptGeneration)"]
    }

    /// An unforgotten snapshot is whole in every store that the catalog names for it, and there is one.
    func check(_ id: SnapshotID) async throws {
        guard let taken = snapshots.first(where: { $0.commit.snapshot == id }),
            let snapshot = try await fixture.catalog.snapshot(id), !snapshot.isForgotten
        else { return }
        guard !snapshot.replicas.isEmpty else { throw Wrong(description: "snapshot \(snapshot.sequence) is nowhere") }
        let chain = [snapshot] + (try await fixture.catalog.baseChain(of: snapshot))
        for replica in snapshot.replicas {
            try await check(taken.needs, "snapshot \(snapshot.sequence)", in: replica.store)
            for link in chain {
                guard let held = link.replicas.first(where: { $0.store == replica.store }) else {
                    throw Wrong(description: "store \(replica.store) has not base \(link.sequence)")
                }
                for name in Self.names(of: link.id, held) where objects[replica.store]?.contains(name) != true {
                    throw Wrong(description: "\(name) of snapshot \(snapshot.sequence) is gone in \(replica.store)")
                }
            }
            let keys = try await fixture.catalog.keyReplicas(of: node.id).first { $0.store == replica.store }
            guard let keys, objects[replica.store]?.contains(keys.object) == true else {
                throw Wrong(description: "the key record is gone in \(replica.store)")
            }
        }
    }

    /// - Parameter store: nil for any of them.
    func check(_ needs: Set<PackID>, _ who: String, in store: Int64? = nil) async throws {
        for pack in needs {
            let replicas = try await fixture.catalog.replicas(of: pack, in: node.scope)
            let isThere = replicas.contains { replica in
                replica.state == .present && !replica.isCondemned && replica.store == store ?? replica.store
                    && objects[replica.store]?.contains("pack \(pack) \(replica.generation)") == true
            }
            guard isThere else {
                throw Wrong(
                    description: "\(short(pack)), which \(who) needs, is gone in \(store.map { "\($0)" } ?? "all")")
            }
        }
    }

    private func finish(_ steps: [Step]) async throws {
        var script = steps
        while !script.isEmpty {
            let step = script.removeFirst()
            added = []
            try await step()
            script = added + script
        }
    }

    /// gc alone, once no lease and no pin is left: what is needed is there, and nothing else is. Then everything goes
    /// where the placement wants it, and the other stores are empty.
    func end() async throws {
        fixture.clock.advance(by: .seconds(8 * 86_400))
        for _ in 0..<2 { try await finish(collect(limit: 50)) }
        try await checkGarbage()
        for store in stores {
            try await fixture.catalog.set(active.contains(store) ? .active : .draining, ofStore: store)
        }
        for store in wanted { try await finish(bringKeys(to: store)) }
        for taken in snapshots {
            for store in wanted { try await finish(copy(taken.commit.snapshot, to: store)) }
        }
        for store in stores where !wanted.contains(store) { try await finish(giveUpSurplus(in: store)) }
        fixture.clock.advance(by: .seconds(8 * 86_400))
        try await finish(collect(limit: 50))
        try await checkGarbage()
        for taken in snapshots { try await check(taken.commit.snapshot) }
        try await checkPlaces()
    }

    private func checkGarbage() async throws {
        var known: Set<String> = []
        var bases: Set<SnapshotID> = []
        for taken in snapshots.reversed() {
            let id = taken.commit.snapshot
            guard let snapshot = try await fixture.catalog.snapshot(id) else { continue }
            guard !snapshot.isForgotten || bases.contains(id) else {
                throw Wrong(description: "snapshot \(taken.commit.sequence) is forgotten and was not dropped")
            }
            if let base = snapshot.base { bases.insert(base) }
            known.formUnion(snapshot.replicas.flatMap { Self.names(of: id, $0) })
            guard !snapshot.isForgotten else { continue }
            try await check(id)
            for pack in taken.needs {
                let replicas = try await fixture.catalog.replicas(of: pack, in: node.scope)
                known.formUnion(replicas.map { "pack \(pack) \($0.generation)" })
            }
        }
        known.formUnion(try await fixture.catalog.keyReplicas(of: node.id).map(\.object))
        let held = objects.values.reduce(into: Set<String>()) { $0.formUnion($1) }
        let garbage = held.subtracting(known).subtracting(orphans)
        guard garbage.isEmpty else { throw Wrong(description: "garbage stays: \(garbage.sorted())") }
        guard try await fixture.catalog.discardedCount() == 0 else {
            throw Wrong(description: "objects that were given up were not deleted")
        }
    }

    /// Every snapshot is in each wanted store and in no other, and the counters say so too.
    private func checkPlaces() async throws {
        for taken in snapshots {
            guard let snapshot = try await fixture.catalog.snapshot(taken.commit.snapshot) else { continue }
            let places = Set(snapshot.replicas.map(\.store))
            guard places == Set(wanted) else {
                throw Wrong(description: "snapshot \(snapshot.sequence) is in \(places), and wanted in \(wanted)")
            }
        }
        for store in stores {
            let left = (objects[store] ?? []).subtracting(orphans)
            let isWanted = wanted.contains(store)
            guard isWanted || left.isEmpty || active.contains(store) && left.allSatisfy({ $0.hasPrefix("keys") }) else {
                throw Wrong(description: "store \(store) is not empty: \(left.sorted())")
            }
            let counts = try await fixture.catalog.pool.read { database in
                try Row.fetchAll(
                    database,
                    sql: """
                        SELECT coalesce(sum(snapshots), 0) AS snapshots, coalesce(sum(packs), 0) AS packs
                        FROM holding WHERE store = ?1
                        UNION ALL SELECT (SELECT count(*) FROM manifest_replica WHERE store = ?1),
                            (SELECT count(*) FROM pack_replica WHERE store = ?1)
                        """, arguments: [store]
                ).map { [$0[0] as Int, $0[1] as Int] }
            }
            guard counts[0] == counts[1] else {
                throw Wrong(description: "store \(store) holds \(counts[1]), and counted are \(counts[0])")
            }
        }
    }
}
