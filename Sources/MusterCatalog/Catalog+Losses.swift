import Foundation
import GRDB
package import MusterModel

/// What is good in no store any more, and whom that hits.
///
/// An index each holds what is lost and nothing else, so that asking costs nothing where all is well.
extension Catalog {
    package enum LostObject: Hashable, Sendable {
        case pack(PackID)
        case manifest(SnapshotID)
    }

    /// What a lost object means: a database whose snapshots need it, how many do, and the newest of them.
    package struct Loss: Hashable, Sendable {
        package let object: LostObject
        package let database: DatabaseID
        package let snapshotCount: Int
        package let newest: SnapshotID
    }

    /// A node that has snapshots, and whose key record is lost: nobody but the node itself can open them.
    package struct LostKeys: Hashable, Sendable {
        package let node: NodeID
        package let snapshotCount: Int
    }

    /// A manifest that the newest snapshot of a database needs, and of which no store has a good copy.
    package struct LostManifest: Hashable, Sendable {
        package let snapshot: SnapshotID
        package let database: DatabaseID
        package let node: NodeID
    }

    /// - Parameter limit: of the packs that are looked at, and of the manifests.
    package func losses(limit: Int) async throws(CatalogError) -> [Loss] {
        try await read { database in
            let packs = try database.rows(Self.lossQuery, [limit]).map { row in
                Loss(
                    object: .pack(try row.digest("id")), database: try row.identifier("database"),
                    snapshotCount: row["snapshots"], newest: try row.identifier("newest"))
            }
            let manifests = try database.rows(Self.manifestLossQuery, [limit]).map { row in
                Loss(
                    object: .manifest(try row.identifier("id")), database: try row.identifier("database"),
                    snapshotCount: row["snapshots"], newest: try row.identifier("newest"))
            }
            return packs + manifests
        }
    }

    package func lostKeys(limit: Int) async throws(CatalogError) -> [LostKeys] {
        try await read { database in
            try database.rows(Self.lostKeysQuery, [limit]).map { row in
                let snapshots: Double = row["snapshots"]
                return LostKeys(node: try row.identifier("id"), snapshotCount: Int(snapshots))
            }
        }
    }

    /// Those without which the newest snapshot of a database that is protected cannot be restored.
    package func lostManifests(limit: Int) async throws(CatalogError) -> [LostManifest] {
        try await read { database in
            try database.rows(Self.lostManifestsQuery, [limit, Self.removedState]).map { row in
                LostManifest(
                    snapshot: try row.identifier("id"), database: try row.identifier("database"),
                    node: try row.identifier("node"))
            }
        }
    }

    /// Active nodes whose key record is good in no store, be there snapshots of them or not.
    package func nodesWithoutKeys(limit: Int) async throws(CatalogError) -> [NodeID] {
        try await read { database in
            try database.rows(Self.nodesWithoutKeysQuery, [limit]).map { try $0.identifier("id") }
        }
    }

    // MARK: - Statements

    /// The one row with the greatest number gives its id too (sqlite.org/lang_select.html, bare columns).
    static let lossQuery = """
        SELECT p.id, s.database, count(*) AS snapshots, max(s.number), s.id AS newest
        FROM (SELECT number, id FROM pack INDEXED BY pack_lost WHERE wanting AND committed ORDER BY number LIMIT ?) p
        CROSS JOIN pack_reference f ON f.pack = p.number
        CROSS JOIN snapshot s ON s.lineage = f.lineage AND s.sequence >= f.born
            AND (f.died IS NULL OR s.sequence < f.died)
        GROUP BY p.number, s.database
        """

    private static func wantingManifests(_ limit: String) -> String {
        """
        (SELECT number, id, database, forgotten_at FROM snapshot INDEXED BY snapshot_manifest_wanting
            WHERE manifest_wanting ORDER BY number LIMIT \(limit))
        """
    }
    /// A snapshot whose manifest is lost, and all that are based on it; so many that a long lineage takes no second.
    static let manifestLossQuery = """
        WITH RECURSIVE hit(lost, number, id, database, forgotten_at) AS (
            SELECT w.id, w.number, w.id, w.database, w.forgotten_at FROM \(wantingManifests("?1")) w
            UNION ALL SELECT h.lost, s.number, s.id, s.database, s.forgotten_at
                FROM hit h CROSS JOIN snapshot s ON s.base = h.id LIMIT 100000)
        SELECT h.lost AS id, h.database, count(*) AS snapshots, max(h.number), h.id AS newest FROM hit h
        WHERE h.forgotten_at IS NULL GROUP BY h.lost
        """
    static let lostManifestsQuery = """
        SELECT w.id, w.database, d.node FROM \(wantingManifests("?1")) w CROSS JOIN database d ON d.id = w.database
        CROSS JOIN node n ON n.id = d.node AND n.state = 'active'
        WHERE d.state <> ?2 AND w.id IN (
            WITH RECURSIVE chain(id) AS (
                VALUES (d.newest_snapshot)
                UNION ALL SELECT s.base FROM chain c CROSS JOIN snapshot s ON s.id = c.id WHERE s.base IS NOT NULL)
            SELECT id FROM chain)
        """
    static let lostKeysQuery = """
        SELECT w.id, (SELECT total(d.snapshot_count + d.expired_count) FROM database d WHERE d.node = w.id) AS snapshots
        FROM node w INDEXED BY node_keys_wanting
        WHERE w.keys_wanting AND EXISTS
            (SELECT 1 FROM database d WHERE d.node = w.id AND d.snapshot_count + d.expired_count > 0)
        ORDER BY w.number LIMIT ?
        """
    static let nodesWithoutKeysQuery = """
        SELECT id FROM node INDEXED BY node_keys_wanting WHERE keys_wanting AND state = 'active'
        ORDER BY number LIMIT ?
        """

    /// Databases of which a failure stands, or of whose snapshots something is good in no store: a pack, a manifest
    /// that they or others are based on, the key record without which only their node can open them.
    static let damagedIDs = """
        SELECT s.database FROM snapshot s INDEXED BY snapshot_damaged
        WHERE s.verdict LIKE 'failed%' AND s.forgotten_at IS NULL
        UNION
        SELECT s.database
        FROM (SELECT number FROM pack INDEXED BY pack_lost WHERE wanting AND committed ORDER BY number LIMIT 10000) p
            CROSS JOIN pack_reference f ON f.pack = p.number
            CROSS JOIN snapshot s ON s.lineage = f.lineage AND s.sequence >= f.born
                AND (f.died IS NULL OR s.sequence < f.died)
        UNION
        SELECT w.database FROM \(wantingManifests("10000")) w
        WHERE w.forgotten_at IS NULL OR EXISTS (SELECT 1 FROM snapshot b WHERE b.base = w.id)
        UNION
        SELECT k.id FROM node w INDEXED BY node_keys_wanting CROSS JOIN database k ON k.node = w.id
        WHERE w.keys_wanting AND k.snapshot_count + k.expired_count > 0
        """
}
