import Foundation
import GRDB
import MusterModel
import MusterTestSupport

@testable import MusterCatalog

/// What must be so.
extension CollectionSimulation {
    /// As it stood after the last write of the step before, or of this one where it was not asked yet.
    func catalogImage() throws -> CatalogImage {
        if let image { return image }
        let node = node
        let read = try fixture.catalog.pool.read { try CatalogImage(of: node, in: $0) }
        image = read
        return read
    }

    /// An unforgotten snapshot is whole in every store that the catalog names for it, but for what was found bad there
    /// and is good in another.
    ///
    /// - Parameter sound: stores in which nothing may be bad.
    func check(_ taken: Taken, wholeIn sound: [Int64] = []) throws {
        let image = try catalogImage()
        let id = taken.commit.snapshot
        guard let link = image.snapshots[id], !link.isForgotten else { return }
        let who = "snapshot \(taken.commit.sequence)"
        guard !link.places.isEmpty else { throw Wrong(description: "\(who) is nowhere") }
        for pack in taken.needs { try check(pack, isThereFor: who) }
        for store in link.places.keys.sorted() {
            let isSound = sound.contains(store)
            for pack in taken.needs.sorted() {
                try check(pack, of: who, in: store, isSound: isSound, image)
            }
            for owner in [id] + taken.bases {
                try check(manifestOf: owner, of: who, in: store, isSound: isSound, image)
            }
            guard let keys = image.keys[store], objects[store]?.contains(keys) == true else {
                throw Wrong(description: "the key record is gone in \(store)")
            }
        }
    }

    func check(_ pack: PackID, isThereFor who: String) throws {
        guard try goodCopies(of: pack, catalogImage()).isEmpty else { return }
        throw Wrong(description: "\(short(pack)), which \(who) needs, is nowhere")
    }

    private func check(
        _ pack: PackID, of who: String, in store: Int64, isSound: Bool, _ image: CatalogImage
    ) throws {
        let held = image.packs[pack, default: []].first { $0.store == store }
        if let held, !held.isPresent, !isSound { return }
        guard let held, held.isPresent, !held.isCondemned,
            objects[store]?.contains(held.name) == true
        else { throw Wrong(description: "\(short(pack)), which \(who) needs, is not in \(store)") }
    }

    private func check(
        manifestOf owner: SnapshotID, of who: String, in store: Int64, isSound: Bool, _ image: CatalogImage
    ) throws {
        guard let held = image.snapshots[owner]?.places[store] else {
            throw Wrong(description: "store \(store) has not the manifests that \(who) is based on")
        }
        guard held.isSound else {
            guard isSound else { return }
            throw Wrong(description: "a manifest that \(who) is based on is bad in \(store)")
        }
        for name in held.names where objects[store]?.contains(name) != true {
            throw Wrong(description: "\(name) of \(who) is gone in \(store)")
        }
    }

    func finish(_ steps: [Step]) async throws {
        var script = steps
        while !script.isEmpty {
            let step = script.removeFirst()
            script = try await take(step) + script
        }
    }

    /// gc alone, once no lease and no pin is left: what is needed is there, and nothing else is. Sometimes everything
    /// is brought to where the placement wants it after that, and the other stores are emptied.
    func end() async throws {
        note("the end")
        fixture.clock.advance(by: .seconds(8 * 86_400))
        try await finish(collect(limit: 50))
        try await checkGarbage()
        if Int.random(in: 0..<4, using: &dice) == 0 { try await settle() }
        let image = try catalogImage()
        snapshots.removeAll { image.snapshots[$0.commit.snapshot] == nil }
    }

    private func settle() async throws {
        for store in stores {
            try await fixture.catalog.set(active.contains(store) ? .active : .draining, ofStore: store)
        }
        note("all is brought to \(wanted)")
        for store in wanted { try await finish(bringKeys(to: store)) }
        try await finish([{ try self.repair() }])
        for taken in snapshots {
            for store in wanted { try await finish(copy(taken.commit.snapshot, to: store)) }
        }
        for store in stores where !wanted.contains(store) { try await finish(giveUpSurplus(in: store)) }
        fixture.clock.advance(by: .seconds(8 * 86_400))
        try await finish(collect(limit: 50))
        try await checkGarbage()
        for taken in snapshots { try check(taken, wholeIn: stores) }
        try await checkPlaces()
        try await checkBytes()
    }

    private func checkGarbage() async throws {
        image = nil
        let image = try catalogImage()
        var known: Set<String> = []
        var bases: Set<SnapshotID> = []
        for taken in snapshots.reversed() {
            let id = taken.commit.snapshot
            guard let link = image.snapshots[id] else { continue }
            guard !link.isForgotten || bases.contains(id) else {
                throw Wrong(description: "snapshot \(taken.commit.sequence) is forgotten and was not dropped")
            }
            if let base = taken.commit.base?.snapshot { bases.insert(base) }
            for held in link.places.values { known.formUnion(held.names) }
            guard !link.isForgotten else { continue }
            try check(taken)
            for pack in taken.needs {
                known.formUnion(image.packs[pack, default: []].map(\.name))
            }
        }
        known.formUnion(image.keys.values)
        let held = objects.values.reduce(into: Set<String>()) { $0.formUnion($1) }
        let garbage = held.subtracting(known).subtracting(orphans)
        guard garbage.isEmpty else { throw Wrong(description: "garbage stays: \(garbage.sorted())") }
        guard try await fixture.catalog.discardedCount() == 0 else {
            throw Wrong(description: "objects that were given up were not deleted")
        }
    }

    /// Every snapshot is in each wanted store and in no other, and the counters say so too.
    private func checkPlaces() async throws {
        let image = try catalogImage()
        for taken in snapshots {
            guard let link = image.snapshots[taken.commit.snapshot] else { continue }
            guard Set(link.places.keys) == Set(wanted) else {
                throw Wrong(
                    description: "snapshot \(taken.commit.sequence) is in \(link.places.keys.sorted()), "
                        + "and wanted in \(wanted)")
            }
        }
        for store in stores {
            let left = (objects[store] ?? []).subtracting(orphans)
            let isWanted = wanted.contains(store)
            guard isWanted || left.isEmpty || active.contains(store) && left.allSatisfy({ $0.hasPrefix("keys") }) else {
                throw Wrong(description: "store \(store) is not empty: \(left.sorted())")
            }
            let counts = try await fixture.catalog.pool.read { database in
                try database.rows(
                    """
                    SELECT coalesce(sum(snapshots), 0) AS snapshots, coalesce(sum(packs), 0) AS packs
                    FROM holding WHERE store = ?1
                    UNION ALL SELECT (SELECT count(*) FROM manifest_replica WHERE store = ?1),
                        (SELECT count(*) FROM pack_replica WHERE store = ?1)
                    """, [store]
                ).map { [$0[0] as Int, $0[1] as Int] }
            }
            guard counts[0] == counts[1] else {
                throw Wrong(description: "store \(store) holds \(counts[1]), and counted are \(counts[0])")
            }
        }
    }

    /// What the node's quota goes by is what is there.
    private func checkBytes() async throws {
        let scope = node.scope.blob
        let (counted, held) = try await fixture.catalog.pool.read { database in
            (
                try database.value("SELECT pack_bytes FROM node WHERE scope = ?", [scope]) as Int64?,
                try database.value(
                    "SELECT coalesce(sum(size_bytes), 0) FROM pack WHERE scope = ? AND NOT is_swept", [scope]) as Int64?
            )
        }
        guard counted == held else {
            throw Wrong(description: "the node has \(held ?? -1) bytes of packs, and counted are \(counted ?? -1)")
        }
    }
}
