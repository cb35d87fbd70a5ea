import Foundation
import GRDB
package import MusterModel

/// Where the nodes' key records are: what lets an admin with a recovery key open what a node sealed.
extension Catalog {
    package struct KeyReplica: Hashable, Sendable {
        package let store: Int64
        /// Full store name.
        package let object: String
        package let state: ReplicaState
    }

    package func keyReplicas(of node: NodeID) async throws(CatalogError) -> [KeyReplica] {
        try await read { database in
            try database.rows(
                "SELECT store, object, state FROM key_replica WHERE node = ? ORDER BY store", [node.blob]
            ).map { KeyReplica(store: $0["store"], object: $0["object"], state: try $0.word("state")) }
        }
    }

    /// Records a copy that is durable and whose signature was checked. A bad one that it replaces is discarded.
    ///
    /// - Parameter old: the name that was recorded there when the copy began.
    /// - Returns: false where the store has another one since then, or was given up: then the copy itself is discarded.
    @discardableResult
    package func recordKeys(
        of node: NodeID, in store: Int64, object: String, byteCount: Int, replacing old: String? = nil,
        quarantine: Duration, now: Timestamp
    ) async throws(CatalogError) -> Bool {
        try await write { database in
            let row = try database.row(
                "SELECT object, state FROM key_replica WHERE node = ? AND store = ?", [node.blob, store])
            guard try Self.isTaking(store, database), row?["object"] == old || row?["object"] == object else {
                try Self.discard(
                    object, in: store, byteCount: Int64(byteCount), notBefore: now, reason: "not needed", database)
                return false
            }
            if let row, row["object"] != object {
                let isDamaged = row["state"] == ReplicaState.damaged.rawValue
                try Self.discard(
                    row["object"], in: store, byteCount: Int64(byteCount),
                    notBefore: now + (isDamaged ? quarantine : Self.replacedObjectStays),
                    reason: isDamaged ? "damaged" : "replaced", database)
            }
            try database.run(
                """
                INSERT INTO key_replica(node, store, object, state, hashed_at) VALUES (?, ?, ?, 'present', ?)
                ON CONFLICT(node, store) DO UPDATE SET object = excluded.object, state = excluded.state,
                    hashed_at = excluded.hashed_at, read_at = NULL
                """, [node.blob, store, object, now.microseconds])
            try database.run(
                """
                DELETE FROM replication WHERE store = ? AND kind = 'keys'
                    AND subject = (SELECT number FROM node WHERE id = ?)
                """, [store, node.blob])
            return true
        }
    }

    /// Records what an inspection of a key record found.
    package func markKeys(
        of node: NodeID, in store: Int64, object: String, as state: ReplicaState, now: Timestamp
    ) async throws(CatalogError) {
        try await write { database in
            try database.run(
                """
                UPDATE key_replica SET state = ?1, hashed_at = ?2, read_at = ?2
                WHERE node = ?3 AND store = ?4 AND object = ?5
                """,
                [state.rawValue, now.microseconds, node.blob, store, object])
            guard database.changesCount > 0, state != .present else { return }
            let number: Int64? = try database.value("SELECT number FROM node WHERE id = ?", [node.blob])
            if let number { try Self.want(.keys, number, in: store, now: now, database) }
        }
    }

    package func node(numbered number: Int64) async throws(CatalogError) -> NodeID? {
        try await read { database in
            try database.row("SELECT id FROM node WHERE number = ?", [number]).map { try $0.identifier("id") }
        }
    }
}
