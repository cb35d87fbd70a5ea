import Foundation
import GRDB
package import MusterModel

/// The databases that nodes protect, as they report them.
extension Catalog {
    package struct Database: Hashable, Sendable {
        package var id: DatabaseID
        package var node: NodeID
        package var nodeName: String
        package var name: String
        package var path = ""
        package var schedule = ""
        package var state = ""
        package var errorSummary = ""
        package var errorHint = ""
        package var attemptedAt: Timestamp?
        package var hasChanged = false
        /// Of the source, and of the state that the newest receipt covers; 0 where it is not known.
        package var changeCounter: UInt64 = 0
        package var receiptChangeCounter: UInt64 = 0
        /// By the node's clock.
        package var unprotectedSince: Timestamp?
        package var capture = ""
        package var intervalMilliseconds: Int64 = 0
        /// Its own objective; 0 where it has none.
        package var freshnessMilliseconds: Int64 = 0
        /// The release of SQLite that wrote the source last; 0 where it is not known.
        package var writerVersion: UInt32 = 0
        /// As its header had it at the newest capture; "" where it is not known.
        package var journalMode = ""
        /// Another one after each change of the schema, and says nothing else; empty where it is not known.
        package var schemaMark: [UInt8] = []
        package var reportedAt: Timestamp?
        /// Of those that are not marked.
        package var snapshotCount = 0
        package var expiredCount = 0
        package var lineageCount = 0
        package var storedBytes: Int64 = 0
        package var sizeBytes: Int64 = 0
        package var newestSnapshot: SnapshotID?
        package var newestReceivedAt: Timestamp?
        /// End of its capture by the node's clock.
        package var newestCreatedAt: Timestamp?
        /// Of the newest passed inspection of any of its snapshots, by depth.
        package var checkedAt: Timestamp?
        package var scrubbedAt: Timestamp?
        package var verifiedAt: Timestamp?
        package var drilledAt: Timestamp?
        /// What the newest passed drill took to restore it.
        package var restoreSeconds: Double?
        package var restoredBytes: Int64 = 0
        package var isForked = false
        /// A failure of one of its snapshots stands, or what they need is good in no store.
        package var isDamaged = false

        package init(id: DatabaseID, node: NodeID, nodeName: String, name: String) {
            (self.id, self.node, self.nodeName, self.name) = (id, node, nodeName, name)
        }
    }

    /// The most databases that one node may ever name.
    package static let maximumDatabases = 20_000
    /// The state of a database that its node no longer protects.
    package static let removedState = "removed"

    package func databases(of node: NodeID? = nil) async throws(CatalogError) -> [Database] {
        try await read { database in
            if let node {
                try database.list(
                    Self.databaseQuery + " WHERE d.node = ? ORDER BY d.name, d.id", [node.blob], Self.database)
            } else {
                try database.list(Self.databaseQuery + " ORDER BY n.name, d.name, d.id", [], Self.database)
            }
        }
    }

    package func database(_ id: DatabaseID) async throws(CatalogError) -> Database? {
        try await read { database in
            try database.list(Self.databaseQuery + " WHERE d.id = ?", [id.blob], Self.database).first
        }
    }

    /// Databases with that name, of one node or of all.
    package func databases(named name: String, of node: NodeID? = nil) async throws(CatalogError) -> [Database] {
        try await read { database in
            if let node {
                try database.list(
                    Self.databaseQuery + " WHERE d.node = ? AND d.name = ? ORDER BY d.id", [node.blob, name],
                    Self.database)
            } else {
                try database.list(Self.databaseQuery + " WHERE d.name = ? ORDER BY d.id", [name], Self.database)
            }
        }
    }

    /// Makes the row of a database that commits before it reports.
    ///
    /// - Returns: false where the database belongs to another node.
    static func claim(
        _ id: DatabaseID, named name: String, by node: NodeID, in database: GRDB.Database
    ) throws -> Bool {
        try database.run(
            """
            INSERT INTO database(id, node, name, path, schedule, state, error_summary, error_hint, changed)
            VALUES (?, ?, ?, '', '', '', '', '', 0) ON CONFLICT(id) DO NOTHING
            """, [id.blob, node.blob, name])
        let owner: Data? = try database.value("SELECT node FROM database WHERE id = ?", [id.blob])
        return owner == node.blob
    }

    /// Undoes the transaction where a node has come by too many databases.
    static func checkCount(of node: NodeID, in database: GRDB.Database) throws {
        let count = try Int.fetchOne(
            database, sql: "SELECT count(*) FROM database WHERE node = ?", arguments: [node.blob])
        guard count ?? 0 <= maximumDatabases else { throw CatalogError.tooManyDatabases(limit: maximumDatabases) }
    }

    static let databaseQuery = databaseColumns + " " + databaseTables

    static let databaseColumns = """
        SELECT d.*, n.name AS node_name,
            EXISTS (SELECT 1 FROM alarm a WHERE a.database = d.id AND a.kind = 'fork' AND a.cleared_at IS NULL)
                AS is_forked, d.id IN (\(damagedIDs)) AS is_damaged
        """
    static let databaseTables = "FROM database d JOIN node n ON n.id = d.node"

    static func database(_ row: ListedRow) throws -> Database {
        var database = Database(
            id: try row.identifier("id"), node: try row.identifier("node"), nodeName: row["node_name"],
            name: row["name"])
        database.path = row["path"]
        database.schedule = row["schedule"]
        database.state = row["state"]
        database.errorSummary = row["error_summary"]
        database.errorHint = row["error_hint"]
        database.attemptedAt = row.optionalTime("attempted_at")
        database.hasChanged = row["changed"]
        database.changeCounter = UInt64(bitPattern: row["change_counter"])
        database.receiptChangeCounter = UInt64(bitPattern: row["receipt_change_counter"])
        database.unprotectedSince = row.optionalTime("unprotected_since")
        database.capture = row["capture"]
        database.intervalMilliseconds = row["interval_milliseconds"]
        database.freshnessMilliseconds = row["freshness_milliseconds"]
        database.writerVersion = UInt32(truncatingIfNeeded: row["writer_version"] as Int64)
        database.journalMode = row["journal_mode"]
        database.reportedAt = row.optionalTime("reported_at")
        database.snapshotCount = row["snapshot_count"]
        database.expiredCount = row["expired_count"]
        database.lineageCount = row["lineage_count"]
        database.storedBytes = row["stored_bytes"]
        database.sizeBytes = row["size_bytes"]
        database.newestSnapshot = try row.optionalIdentifier("newest_snapshot")
        database.newestReceivedAt = row.optionalTime("newest_received_at")
        database.newestCreatedAt = row.optionalTime("newest_created_at")
        database.checkedAt = row.optionalTime("checked_at")
        database.scrubbedAt = row.optionalTime("scrubbed_at")
        database.verifiedAt = row.optionalTime("verified_at")
        database.drilledAt = row.optionalTime("drilled_at")
        database.restoreSeconds = row["restore_seconds"]
        let restored: Int64? = row["restored_bytes"]
        database.restoredBytes = restored ?? 0
        (database.isForked, database.isDamaged) = (row["is_forked"], row["is_damaged"])
        return database
    }
}
