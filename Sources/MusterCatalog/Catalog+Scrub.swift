import Foundation
import GRDB
package import MusterModel

/// What is to be read again, and which packs no store has any more.
extension Catalog {
    /// Replicas of one store that nobody has hashed for long, the longest first.
    package struct Overdue: Sendable {
        package var packs: [PackReplica] = []
        package var snapshots: [Snapshot] = []
        package var nodes: [NodeID] = []

        package var isEmpty: Bool { packs.isEmpty && snapshots.isEmpty && nodes.isEmpty }
    }

    /// A pack that snapshots need and of which no store has a good copy.
    package struct LostPack: Hashable, Sendable {
        package let number: Int64
        package let id: PackID
        package let node: NodeID
        /// The newest snapshot of this database needs it.
        package let currentDatabase: DatabaseID?
    }

    /// - Parameter time: what was hashed before.
    package func overdue(
        in store: Int64, hashedBefore time: Timestamp, limit: Int
    ) async throws(CatalogError) -> Overdue {
        try await read { database in
            let arguments: StatementArguments = [store, time.microseconds, limit]
            return Overdue(
                packs: try database.rows(Self.overduePacksQuery, arguments).map(Self.packReplica),
                snapshots: try database.rows(Self.overdueManifestsQuery, arguments).compactMap { row in
                    let number: Int64 = row["snapshot"]
                    return try database.row(Self.snapshotQuery + " WHERE s.number = ?", [number])
                        .map { try Self.snapshot($0, in: database) }
                },
                nodes: try database.rows(Self.overdueKeysQuery, arguments).map { try $0.identifier("node") })
        }
    }

    /// When that replica of a store was hashed, or came, that waits for it longest; nil where the store holds none.
    package func oldestHash(inStore store: Int64) async throws(CatalogError) -> Timestamp? {
        try await read { database in
            let oldest: Int64? = try database.value(Self.oldestHashQuery, [store])
            return oldest.map(Timestamp.init(microseconds:))
        }
    }

    /// In the order of their numbers.
    package func lostPacks(after number: Int64 = 0, limit: Int) async throws(CatalogError) -> [LostPack] {
        try await read { database in
            try database.rows(Self.lostQuery, [number, limit]).map { row in
                LostPack(
                    number: row["number"], id: try row.digest("id"), node: try row.identifier("node"),
                    currentDatabase: try row.optionalIdentifier("database"))
            }
        }
    }

    static let overduePacksQuery = """
        SELECT p.id, p.size_bytes, r.* FROM pack_replica r JOIN pack p ON p.number = r.pack
        WHERE r.store = ? AND r.hashed_at < ? ORDER BY r.hashed_at LIMIT ?
        """
    static let overdueManifestsQuery = """
        SELECT snapshot FROM manifest_replica WHERE store = ? AND hashed_at < ? ORDER BY hashed_at LIMIT ?
        """
    static let overdueKeysQuery = """
        SELECT node FROM key_replica WHERE store = ? AND hashed_at < ? ORDER BY hashed_at LIMIT ?
        """
    /// What was never hashed has 0 there: the first of them came first. `checked_at` says nothing here: a look at a
    /// size sets it too, and what is looked at every day would never seem to wait.
    static let oldestHashQuery = """
        SELECT min(at) FROM (
            SELECT min(hashed_at) AS at FROM pack_replica WHERE store = ?1 AND hashed_at > 0
            UNION ALL SELECT min(hashed_at) FROM manifest_replica WHERE store = ?1 AND hashed_at > 0
            UNION ALL SELECT min(hashed_at) FROM key_replica WHERE store = ?1
            UNION ALL SELECT * FROM (SELECT p.received_at
                FROM pack_replica r JOIN pack p ON p.number = r.pack
                WHERE r.store = ?1 AND r.hashed_at = 0 ORDER BY r.pack LIMIT 1)
            UNION ALL SELECT * FROM (SELECT s.received_at
                FROM manifest_replica r JOIN snapshot s ON s.number = r.snapshot
                WHERE r.store = ?1 AND r.hashed_at = 0 ORDER BY r.snapshot LIMIT 1))
        """
    static let lostQuery = """
        SELECT p.number, p.id, n.id AS node,
            (SELECT l.database FROM pack_reference f JOIN lineage l ON l.id = f.lineage
                WHERE f.pack = p.number AND f.died IS NULL LIMIT 1) AS database
        FROM pack p INDEXED BY pack_lost CROSS JOIN node n ON n.scope = p.scope
        WHERE p.wanting AND p.committed AND p.number > ? ORDER BY p.number LIMIT ?
        """
}
