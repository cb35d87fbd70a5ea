import Foundation
import GRDB
import MusterModel

/// What has to be looked at before a replica may be given up.
extension Catalog {
    /// What a wanted store lacks of a snapshot or a pack, or what has to be looked at again before it counts.
    package struct Doubt: Sendable {
        package enum Part: Sendable {
            case snapshot(Snapshot)
            case pack(PackReplica)
            case keys
            /// There is no copy at all.
            case missingPack(Int64)
        }

        package let store: Int64
        package let part: Part
        /// All of its bytes have to be read.
        package let isHashed: Bool
    }

    /// What keeps a snapshot from being surplus and can be looked at: up to `limit` copies in wanted stores.
    package func doubts(
        on snapshot: Snapshot, _ surplus: Surplus, limit: Int
    ) async throws(CatalogError) -> [Doubt] {
        try await read { database in
            var doubts: [Doubt] = []
            for store in surplus.wanted {
                doubts += try Self.manifestDoubts(on: snapshot, in: store, surplus, database)
                if try database.row(
                    Self.soundKeysQuery, [surplus.node.blob, store, surplus.hashedSince.microseconds]) == nil
                {
                    doubts.append(Doubt(store: store, part: .keys, isHashed: true))
                }
                guard !snapshot.isForgotten else { continue }
                for pack in try Self.unprovenPacks(of: snapshot, in: store, surplus, limit: limit, database) {
                    doubts.append(try Self.doubt(on: pack, in: store, surplus, database))
                }
            }
            return doubts
        }
    }

    package func doubts(onPack pack: Int64, _ surplus: Surplus) async throws(CatalogError) -> [Doubt] {
        try await read { database in
            try surplus.wanted.filter { try !Self.isProven(pack, in: $0, surplus, database) }
                .map { try Self.doubt(on: pack, in: $0, surplus, database) }
        }
    }

    private static func manifestDoubts(
        on snapshot: Snapshot, in store: Int64, _ surplus: Surplus, _ database: GRDB.Database
    ) throws -> [Doubt] {
        try database.rows(chainQuery, [snapshot.id.blob]).compactMap { row -> Doubt? in
            let link = try Self.snapshot(row, in: database)
            guard try !isProven(manifestOf: link.number, in: store, surplus, database) else { return nil }
            // Where there is none yet, it is in the queue.
            guard link.replicas.contains(where: { $0.store == store && $0.state == .present }) else { return nil }
            return Doubt(store: store, part: .snapshot(link), isHashed: true)
        }
    }

    private static func doubt(
        on pack: Int64, in store: Int64, _ surplus: Surplus, _ database: GRDB.Database
    ) throws -> Doubt {
        let row = try database.row(
            """
            SELECT p.id, p.size_bytes, p.condemned_at, r.* FROM pack p JOIN pack_replica r ON r.pack = p.number
            WHERE p.number = ? AND r.store = ?
            """, [pack, store])
        guard let row else { return Doubt(store: store, part: .missingPack(pack), isHashed: false) }
        return Doubt(
            store: store, part: .pack(try packReplica(row)),
            isHashed: row.time("hashed_at") < surplus.hashedSince || row["state"] != ReplicaState.present.rawValue)
    }
}
