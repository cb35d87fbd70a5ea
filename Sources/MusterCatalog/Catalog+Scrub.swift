import Foundation
import GRDB
package import MusterModel

/// What is to be read again, and what no store has any more.
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

    /// What lost packs mean: each with a database whose snapshots need it, how many do, and the newest of them.
    package struct Loss: Hashable, Sendable {
        package let pack: PackID
        package let database: DatabaseID
        package let snapshotCount: Int
        package let newest: SnapshotID
    }

    /// - Parameter limit: of the packs that are looked at.
    package func losses(limit: Int) async throws(CatalogError) -> [Loss] {
        try await read { database in
            try database.rows(Self.lossQuery, [limit]).map { row in
                Loss(
                    pack: try row.digest("id"), database: try row.identifier("database"),
                    snapshotCount: row["snapshots"], newest: try row.identifier("newest"))
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
    /// The one row with the greatest number gives its id too (sqlite.org/lang_select.html, bare columns).
    static let lossQuery = """
        SELECT p.id, s.database, count(*) AS snapshots, max(s.number), s.id AS newest
        FROM (SELECT number, id FROM pack INDEXED BY pack_lost WHERE wanting AND committed ORDER BY number LIMIT ?) p
        CROSS JOIN pack_reference f ON f.pack = p.number
        CROSS JOIN snapshot s ON s.lineage = f.lineage AND s.sequence >= f.born
            AND (f.died IS NULL OR s.sequence < f.died)
        GROUP BY p.number, s.database
        """
}
