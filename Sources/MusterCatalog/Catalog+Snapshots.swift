import Foundation
import GRDB
package import MusterModel

/// Snapshots that have a receipt.
extension Catalog {
    package struct Snapshot: Hashable, Sendable {
        package var number: Int64
        package var id: SnapshotID
        package var node: NodeID
        package var nodeName: String
        package var database: DatabaseID
        package var databaseName: String
        package var lineage: LineageID
        package var sequence: UInt64
        package var parent: SnapshotID?
        /// The snapshot whose map a delta manifest changes; nil where the manifest is full.
        package var base: SnapshotID?
        package var manifestHash: ManifestHash
        package var manifestBytes: Int64
        package var createdAt: Timestamp
        package var receivedAt: Timestamp
        package var sizeBytes: Int64
        package var storedBytes: Int64
        package var contentRoot: ContentRoot
        package var pageSize: Int64
        package var pageCount: Int64
        package var packCount: Int64
        package var method: String
        package var labels: [String: String]
        package var forkedFrom: String
        package var verifiedAt: Timestamp?
        /// "failed scrub" while a failure stands, else the newest, as "passed verify"; "" if never inspected.
        package var verdict: String
        /// gc gave it up: it is there only for those that are based on it.
        package var isForgotten: Bool
        package var replicas: [ManifestReplica]
        /// nil where nothing gave it up.
        package var mark: ExpiryMark?
        package var holds: [Hold]
    }

    package struct ManifestReplica: Hashable, Sendable {
        package let store: Int64
        package let storeName: String
        package let generation: String
        package let receiptGeneration: String
        /// Of the manifest alone, and of its receipt.
        package let manifestState: ReplicaState
        package let receiptState: ReplicaState
        /// Of the packs that the snapshot needs: present where none is known to be bad.
        package let packState: ReplicaState
        package let checkedAt: Timestamp?

        /// Of both together.
        package var state: ReplicaState { manifestState == .present ? receiptState : manifestState }
        /// Of all that the store has to hold of the snapshot.
        package var wholeState: ReplicaState { state == .present ? packState : state }
    }

    /// Which snapshots a list shows, newest receipt first.
    package struct SnapshotQuery: Sendable {
        package var node: NodeID?
        /// Any of these; nil for all.
        package var databases: [DatabaseID]?
        package var label: (key: String, value: String)?
        /// Only members of this one.
        package var fleetSnapshot: String?
        /// By receipt time, inclusive.
        package var since: Timestamp?
        package var until: Timestamp?
        /// Only snapshots that need this pack.
        package var pack: PackID?
        /// Those that are marked, and no others.
        package var isExpired = false
        package var after: SnapshotID?
        package var limit: Int

        package init(limit: Int) { self.limit = limit }
    }

    package enum SnapshotPart: Sendable { case manifest, receipt }

    package struct UnstoredReceipt: Sendable {
        package let snapshot: Snapshot
        package let bytes: [UInt8]
    }

    package func snapshots(_ query: SnapshotQuery) async throws(CatalogError) -> [Snapshot] {
        try await read { database in
            let (sql, arguments) = try Self.listStatement(query, in: database)
            return try Row.fetchAll(database, sql: sql, arguments: arguments).map {
                try Self.snapshot($0, in: database)
            }
        }
    }

    package func snapshot(_ id: SnapshotID) async throws(CatalogError) -> Snapshot? {
        try await read { database in
            try database.row(Self.snapshotQuery + " WHERE s.id = ?", [id.blob])
                .map { try Self.snapshot($0, in: database) }
        }
    }

    /// Up to `limit` snapshots whose id starts with these hex digits; of one node where given.
    package func snapshots(
        withPrefix prefix: String, of node: NodeID?, limit: Int, evenIfForgotten: Bool = false
    ) async throws(CatalogError) -> [Snapshot] {
        func bound(_ digit: Character) -> SnapshotID? {
            SnapshotID(prefix + String(repeating: digit, count: max(0, 32 - prefix.count)))
        }
        guard let first = bound("0"), let last = bound("f") else { return [] }
        return try await read { database in
            try Row.fetchAll(
                database,
                sql: Self.snapshotQuery
                    + " WHERE s.id BETWEEN ? AND ? AND (?3 IS NULL OR s.node = ?3) AND (?5 OR s.forgotten_at IS NULL) LIMIT ?4",
                arguments: [first.blob, last.blob, node?.blob, limit, evenIfForgotten]
            ).map { try Self.snapshot($0, in: database) }
        }
    }

    /// Packs that a snapshot needs, with every replica; a pack without one does not appear.
    package func packs(neededBy snapshot: Snapshot) async throws(CatalogError) -> [PackReplica] {
        try await read { database in
            try Row.fetchAll(
                database, sql: Self.neededQuery, arguments: [snapshot.lineage.blob, Int64(snapshot.sequence)]
            ).map(Self.packReplica)
        }
    }

    /// The snapshots whose manifests a reader of this one needs too, its own base first; none where it is full.
    package func baseChain(of snapshot: Snapshot) async throws(CatalogError) -> [Snapshot] {
        guard let base = snapshot.base else { return [] }
        return try await read { database in
            try Row.fetchAll(database, sql: Self.chainQuery, arguments: [base.blob])
                .map { try Self.snapshot($0, in: database) }
        }
    }

    /// Up to `limit` snapshots whose base chain contains this one.
    package func snapshots(basedOn snapshot: SnapshotID, limit: Int) async throws(CatalogError) -> [SnapshotID] {
        try await read { database in
            try Row.fetchAll(database, sql: Self.basedQuery, arguments: [snapshot.blob, limit]).map {
                try $0.identifier("id")
            }
        }
    }

    /// Up to `limit` snapshots that need a pack, oldest first.
    package func snapshots(needing pack: Int64, limit: Int) async throws(CatalogError) -> [SnapshotID] {
        try await read { database in
            try Row.fetchAll(database, sql: Self.needingQuery, arguments: [pack, limit]).map {
                try $0.identifier("id")
            }
        }
    }

    /// Receipts that were signed, but are not yet in the stores.
    ///
    /// - Parameter after: the number of the snapshot of the last one seen.
    package func unstoredReceipts(after: Int64 = 0, limit: Int) async throws(CatalogError) -> [UnstoredReceipt] {
        try await read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT snapshot, bytes FROM receipt WHERE stored = 0 AND snapshot > ? ORDER BY snapshot LIMIT ?
                    """,
                arguments: [after, limit]
            ).compactMap { row in
                let number: Int64 = row["snapshot"]
                guard
                    let found = try Row.fetchOne(
                        database, sql: Self.snapshotQuery + " WHERE s.number = ?", arguments: [number])
                else { return nil }
                return UnstoredReceipt(
                    snapshot: try Self.snapshot(found, in: database), bytes: row.byteArray("bytes"))
            }
        }
    }

    /// Notes that the receipt is in the store: with the next write, as whoever does not know it finds it there.
    package func receiptIsStored(_ snapshot: SnapshotID) {
        note { database in
            try database.run(
                "UPDATE receipt SET stored = 1 WHERE snapshot = (SELECT number FROM snapshot WHERE id = ?)",
                [snapshot.blob])
        }
    }

    /// Writes what was only noted so far.
    package func settle() async throws(CatalogError) { try await write { _ in } }

    package func receipt(of snapshot: SnapshotID) async throws(CatalogError) -> [UInt8]? {
        try await read { database in
            try Data.fetchOne(
                database,
                sql: "SELECT bytes FROM receipt WHERE snapshot = (SELECT number FROM snapshot WHERE id = ?)",
                arguments: [snapshot.blob]
            ).map([UInt8].init)
        }
    }

    /// Records what an inspection of a manifest found, or of its receipt; see `mark(pack:)`.
    package func mark(
        _ part: SnapshotPart, of snapshot: Int64, store: Int64, generation: String, as state: ReplicaState,
        isHashed: Bool, now: Timestamp
    ) async throws(CatalogError) {
        try await write { database in
            let column = part == .manifest ? "state" : "receipt_state"
            let place = part == .manifest ? "generation" : "receipt_generation"
            let age =
                part == .manifest
                ? """
                , hashed_at = CASE WHEN ?6 THEN ?2 ELSE hashed_at END, read_at = CASE WHEN ?6 THEN ?2 ELSE read_at END
                """ : ""
            try database.run(
                """
                UPDATE manifest_replica SET \(column) = ?1, checked_at = ?2\(age)
                WHERE snapshot = ?3 AND store = ?4 AND \(place) = ?5
                    AND (?6 OR \(column) = 'present' OR ?1 <> 'present')
                """,
                [state.rawValue, now.microseconds, snapshot, store, generation, isHashed])
            if database.changesCount > 0, state != .present {
                try Self.want(.snapshot, snapshot, in: store, now: now, database)
            }
        }
    }

    static let neededQuery = """
        SELECT p.id, p.size_bytes, p.condemned_at, r.* FROM
            (SELECT pack FROM pack_reference WHERE lineage = ?1 AND died IS NULL AND born <= ?2
            UNION ALL SELECT pack FROM pack_reference WHERE lineage = ?1 AND died > ?2 AND born <= ?2) f
        JOIN pack p ON p.number = f.pack JOIN pack_replica r ON r.pack = p.number ORDER BY f.pack, r.store
        """

    static let needingQuery = """
        SELECT s.id FROM pack_reference f JOIN snapshot s ON s.lineage = f.lineage AND s.sequence >= f.born
            AND (f.died IS NULL OR s.sequence < f.died) AND s.forgotten_at IS NULL
        WHERE f.pack = ? ORDER BY s.number LIMIT ?
        """

    static let chainQuery =
        """
        WITH RECURSIVE chain(id) AS (
            VALUES (?) UNION ALL
            SELECT b.base FROM chain c JOIN snapshot b ON b.id = c.id WHERE b.base IS NOT NULL)
        """ + " " + snapshotQuery + " WHERE s.id IN (SELECT id FROM chain) ORDER BY s.sequence DESC"

    static let basedQuery = """
        WITH RECURSIVE built(id) AS (
            SELECT id FROM snapshot WHERE base = ?1
            UNION ALL SELECT s.id FROM built b JOIN snapshot s ON s.base = b.id LIMIT ?2)
        SELECT id FROM built
        """

    static let packQuery = """
        SELECT b.number FROM pack p JOIN pack_reference f ON f.pack = p.number
        JOIN snapshot b ON b.lineage = f.lineage AND b.sequence >= f.born AND (f.died IS NULL OR b.sequence < f.died)
        WHERE p.id = ?
        """

    /// The newest snapshot of the databases that holds a state of that time or an earlier one, of those not marked.
    package func newest(of databases: [DatabaseID], at time: Timestamp) async throws(CatalogError) -> Snapshot? {
        try await read { database in
            let found = try databases.compactMap { id in
                try Row.fetchOne(database, sql: Self.momentQuery, arguments: [id.blob, time.microseconds])
            }
            let newest = found.max { ($0["moment"] as Int64, $0["number"] as Int64) < ($1["moment"], $1["number"]) }
            return try newest.map { try Self.snapshot($0, in: database) }
        }
    }

    static let momentQuery =
        snapshotQuery + """
             WHERE s.database = ?1 AND s.expired_at IS NULL AND s.moment <= ?2
            ORDER BY s.moment DESC, s.number DESC LIMIT 1
            """

    static let snapshotQuery = snapshotColumns + " FROM snapshot s " + snapshotJoins

    static let snapshotColumns = "SELECT s.*, n.name AS node_name, d.name AS database_name, f.forked_from"

    static let snapshotJoins = """
        CROSS JOIN node n ON n.id = s.node CROSS JOIN database d ON d.id = s.database
        CROSS JOIN lineage f ON f.id = s.lineage
        """

    static func snapshot(_ row: Row, in database: GRDB.Database) throws -> Snapshot {
        let number: Int64 = row["number"]
        let sequence: Int64 = row["sequence"]
        let lineage: LineageID = try row.identifier("lineage")
        let statement = try database.cachedStatement(sql: manifestReplicaQuery)
        let replicas = try Row.fetchAll(statement, arguments: [number]).map { row in
            let packState: ReplicaState =
                row["has_bad"] ? try badPack(of: lineage, sequence, in: row["store"], database) ?? .present : .present
            return ManifestReplica(
                store: row["store"], storeName: row["name"], generation: row["generation"],
                receiptGeneration: row["receipt_generation"], manifestState: try row.word("state"),
                receiptState: try row.word("receipt_state"), packState: packState,
                checkedAt: row.optionalTime("checked_at"))
        }
        return Snapshot(
            number: number, id: try row.identifier("id"), node: try row.identifier("node"), nodeName: row["node_name"],
            database: try row.identifier("database"), databaseName: row["database_name"],
            lineage: lineage, sequence: UInt64(sequence),
            parent: try row.optionalIdentifier("parent"), base: try row.optionalIdentifier("base"),
            manifestHash: try row.digest("manifest_hash"), manifestBytes: row["manifest_bytes"],
            createdAt: row.time("created_at"), receivedAt: row.time("received_at"), sizeBytes: row["size_bytes"],
            storedBytes: row["stored_bytes"],
            contentRoot: try row.digest("content_root"), pageSize: row["page_size"], pageCount: row["page_count"],
            packCount: row["pack_count"], method: row["method"], labels: try LabelText.decode(row["labels"]),
            forkedFrom: row["forked_from"], verifiedAt: row.optionalTime("verified_at"), verdict: row["verdict"],
            isForgotten: row.optionalTime("forgotten_at") != nil, replicas: replicas, mark: try mark(row),
            holds: try holds(of: number, in: database))
    }

    /// Most stores have no bad pack at all: that is one look into an index.
    static let manifestReplicaQuery = """
        SELECT r.*, t.name, EXISTS (SELECT 1 FROM pack_replica b INDEXED BY pack_replica_bad
            WHERE b.store = r.store AND b.state <> 'present') AS has_bad
        FROM manifest_replica r JOIN store t ON t.number = r.store WHERE r.snapshot = ? ORDER BY r.store
        """

    /// The state of a bad pack that the snapshot needs, in a store that has such packs; nil where it needs none of them.
    ///
    /// Few bad ones are gone through; where they are many, the snapshot's own packs are, until one is found.
    private static func badPack(
        of lineage: LineageID, _ sequence: Int64, in store: Int64, _ database: GRDB.Database
    ) throws -> ReplicaState? {
        let count: Int64? = try database.value(fewBadQuery, [store, mostBad])
        let sql = count ?? 0 < mostBad ? badOfFewQuery : badOfManyQuery
        return try database.row(sql, [lineage.blob, sequence, store]).map { try $0.word("state") }
    }

    private static let mostBad: Int64 = 500
    static let fewBadQuery = """
        SELECT count(*) FROM (SELECT 1 FROM pack_replica INDEXED BY pack_replica_bad
            WHERE store = ? AND state <> 'present' LIMIT ?)
        """
    static let badOfFewQuery = """
        SELECT b.state FROM pack_replica b INDEXED BY pack_replica_bad CROSS JOIN pack_reference f
            ON f.pack = b.pack AND f.lineage = ?1 AND f.born <= ?2 AND (f.died IS NULL OR f.died > ?2)
        WHERE b.store = ?3 AND b.state <> 'present' LIMIT 1
        """
    static let badOfManyQuery = """
        SELECT r.state FROM
            (SELECT pack FROM pack_reference WHERE lineage = ?1 AND died IS NULL AND born <= ?2
            UNION ALL SELECT pack FROM pack_reference WHERE lineage = ?1 AND died > ?2 AND born <= ?2) f
        CROSS JOIN pack_replica r ON r.pack = f.pack AND r.store = ?3 AND r.state <> 'present' LIMIT 1
        """
}
