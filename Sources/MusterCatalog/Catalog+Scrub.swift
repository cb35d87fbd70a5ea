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

    package func lostPacks(limit: Int) async throws(CatalogError) -> [LostPack] {
        try await read { database in
            try database.rows(Self.lostQuery, [limit]).map { row in
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
    static let lostQuery = """
        SELECT p.number, p.id, n.id AS node,
            (SELECT l.database FROM pack_reference f JOIN lineage l ON l.id = f.lineage
                WHERE f.pack = p.number AND f.died IS NULL LIMIT 1) AS database
        FROM pack p INDEXED BY pack_lost JOIN node n ON n.scope = p.scope
        WHERE p.wanting AND p.committed LIMIT ?
        """
}
