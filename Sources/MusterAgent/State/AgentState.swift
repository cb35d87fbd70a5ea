import Foundation
import GRDB
package import MusterEngine
import MusterFormat
package import MusterModel
import Synchronization

/// The agent's memory between starts: `state.db` in its directory.
///
/// It is a cache of what the coordinator also knows, with one exception: a
/// manifest that was signed but not yet acknowledged stands here, byte for byte,
/// before it is sent. After a crash the same bytes are sent again first, so a
/// commit whose answer was lost is never made twice.
package final class AgentState: Sendable {
    let queue: DatabaseQueue
    /// The command line reads the file, and the agent may be making it at that moment.
    static let busyMode = GRDB.Database.BusyMode.timeout(10)
    /// The newest of each database.
    let attempts = Mutex<[DatabaseID: Attempt]>([:])

    /// Opens or makes the file; every change is durable when the call returns.
    package init(path: String) throws {
        var configuration = Configuration()
        configuration.busyMode = Self.busyMode
        configuration.prepareDatabase { db in
            try db.execute(sql: "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")
        }
        queue = try DatabaseQueue(path: path, configuration: configuration)
        var migrator = DatabaseMigrator()
        migrator.registerMigration("v1") { db in try db.execute(sql: Self.schema) }
        migrator.registerMigration("ledger") { db in try db.execute(sql: Self.ledgerSchema) }
        migrator.registerMigration("discovered") { db in try db.execute(sql: Self.discoveredSchema) }
        migrator.registerMigration("drills") { db in try db.execute(sql: Self.drillSchema) }
        migrator.registerMigration("drills of lineages") { db in try db.execute(sql: Self.drillOfLineageSchema) }
        try migrator.migrate(queue)
        try dropUnfinishedLedgers()
        let attempts = try queue.read(Self.attempts)
        self.attempts.withLock { $0 = attempts }
    }

    private static let schema = """
        CREATE TABLE head (
            database BLOB PRIMARY KEY,
            lineage BLOB NOT NULL,
            sequence INTEGER NOT NULL,
            snapshot BLOB NOT NULL,
            manifest_hash BLOB NOT NULL,
            identity TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            captured_at INTEGER NOT NULL,
            received_at INTEGER NOT NULL,
            receipt BLOB NOT NULL,
            packs_known INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE pending (
            database BLOB PRIMARY KEY,
            lineage BLOB NOT NULL,
            sequence INTEGER NOT NULL,
            snapshot BLOB NOT NULL,
            manifest BLOB NOT NULL,
            manifest_hash BLOB NOT NULL,
            identity TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            captured_at INTEGER NOT NULL,
            packs_added BLOB NOT NULL,
            packs_dropped BLOB NOT NULL
        ) STRICT;
        CREATE TABLE pending_pack (
            database BLOB NOT NULL REFERENCES pending ON DELETE CASCADE,
            position INTEGER NOT NULL,
            bytes BLOB NOT NULL,
            PRIMARY KEY (database, position)
        ) STRICT;
        CREATE TABLE own_manifest (
            manifest_hash BLOB PRIMARY KEY,
            database BLOB NOT NULL,
            lineage BLOB NOT NULL,
            sequence INTEGER NOT NULL,
            snapshot BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX own_manifest_by_database ON own_manifest (database, sequence);
        CREATE TABLE fork_origin (
            database BLOB PRIMARY KEY,
            lineage BLOB NOT NULL,
            snapshot BLOB NOT NULL,
            manifest_hash BLOB NOT NULL
        ) STRICT;
        CREATE TABLE attempt (
            database BLOB PRIMARY KEY,
            at INTEGER NOT NULL,
            failures INTEGER NOT NULL,
            error_summary TEXT NOT NULL,
            error_hint TEXT NOT NULL
        ) STRICT;
        """

    // MARK: - Heads

    /// The newest acknowledged snapshot of a database, or nil before the first.
    package func head(of database: DatabaseID) throws -> LineageHead? {
        try queue.read { db in
            try Row.fetchOne(db, sql: "SELECT * FROM head WHERE database = ?", arguments: [database.blob])
                .map(LineageHead.init(row:))
        }
    }

    /// The receipt has come: the head moves, the ledger follows and the pending commit goes, in one transaction.
    ///
    /// - Parameter change: nil where an earlier life of the agent made the snapshot; the ledger then stays behind.
    package func settle(
        _ pending: PendingCommit, receipt: [UInt8], receivedAt: Timestamp,
        change: (ledger: LedgerStore, change: LedgerChange)? = nil
    ) throws {
        try queue.write { db in
            let known = try Bool.fetchOne(
                db, sql: "SELECT packs_known FROM head WHERE database = ?", arguments: [pending.database.blob])
            try db.execute(
                sql: """
                    INSERT OR REPLACE INTO head VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    pending.database.blob, pending.lineage.blob, Int64(pending.sequence), pending.snapshot.blob,
                    pending.manifestHash.blob, pending.identity, pending.fingerprint,
                    pending.capturedAt.microseconds, receivedAt.microseconds, Data(receipt), known ?? true,
                ])
            for pack in pending.packs.dropped {
                try db.execute(
                    sql: "DELETE FROM live_pack WHERE database = ? AND pack = ?",
                    arguments: [pending.database.blob, pack.blob])
            }
            for pack in pending.packs.added {
                try db.execute(
                    sql: "INSERT OR IGNORE INTO live_pack VALUES (?, ?)",
                    arguments: [pending.database.blob, pack.blob])
            }
            if let change {
                try change.change.write(
                    to: change.ledger, of: pending.database, manifest: pending.manifestHash, in: db)
            }
            try db.execute(sql: "DELETE FROM pending WHERE database = ?", arguments: [pending.database.blob])
            try db.execute(sql: "DELETE FROM fork_origin WHERE database = ?", arguments: [pending.database.blob])
        }
    }

    /// The lineage is over for this agent: the next snapshot opens a new one.
    ///
    /// - Parameter origin: the head that somebody else put on it; kept until the new lineage is acknowledged,
    ///   so that a crash in between does not hide the fork.
    package func forgetHead(of database: DatabaseID, forkedFrom origin: ForkOrigin? = nil) throws {
        try queue.write { db in
            try Self.forgetHead(of: database, in: db)
            guard let origin else { return }
            try db.execute(
                sql: "INSERT OR REPLACE INTO fork_origin VALUES (?, ?, ?, ?)",
                arguments: [
                    database.blob, origin.lineage.blob, origin.head.snapshot.blob, origin.head.manifestHash.blob,
                ])
        }
    }

    /// The same in a state that an agent may be working with; it lets go of the database before.
    static func forgetHeads(of databases: [DatabaseID], inFile path: String) throws {
        guard !databases.isEmpty, FileManager.default.fileExists(atPath: path) else { return }
        var configuration = Configuration()
        configuration.busyMode = busyMode
        configuration.prepareDatabase { db in try db.execute(sql: "PRAGMA synchronous = FULL") }
        try DatabaseQueue(path: path, configuration: configuration).write { db in
            // An agent that never came so far as to make its tables knows no head.
            guard try db.tableExists("live_pack") else { return }
            for database in databases { try forgetHead(of: database, in: db) }
        }
    }

    private static func forgetHead(of database: DatabaseID, in db: GRDB.Database) throws {
        try db.execute(sql: "DELETE FROM head WHERE database = ?", arguments: [database.blob])
        try db.execute(sql: "DELETE FROM pending WHERE database = ?", arguments: [database.blob])
        try db.execute(sql: "DELETE FROM live_pack WHERE database = ?", arguments: [database.blob])
        try dropLedgers(of: database, in: db)
    }

    /// The head that the next lineage of the database comes from, if it left one.
    package func forkOrigin(of database: DatabaseID) throws -> ForkOrigin? {
        try queue.read { db in
            try Row.fetchOne(db, sql: "SELECT * FROM fork_origin WHERE database = ?", arguments: [database.blob])
                .map(ForkOrigin.init(row:))
        }
    }

    // MARK: - Pending commits

    /// Bytes of all commits that are not answered: their manifests, and the packs that travel within.
    package func pendingBytes() throws -> UInt64 {
        try queue.read { db in
            let bytes = try Int64.fetchOne(
                db,
                sql: """
                    SELECT (SELECT coalesce(sum(length(manifest)), 0) FROM pending)
                        + (SELECT coalesce(sum(length(bytes)), 0) FROM pending_pack)
                    """)
            return UInt64(clamping: bytes ?? 0)
        }
    }

    package func pending(for database: DatabaseID) throws -> PendingCommit? {
        try queue.read { db in
            guard
                let row = try Row.fetchOne(
                    db, sql: "SELECT * FROM pending WHERE database = ?", arguments: [database.blob])
            else { return nil }
            let inline = try Data.fetchAll(
                db, sql: "SELECT bytes FROM pending_pack WHERE database = ? ORDER BY position",
                arguments: [database.blob])
            return try PendingCommit(row: row, inlinePacks: inline.map { [UInt8]($0) })
        }
    }

    /// Keeps the exact bytes before they are sent; replaces an older commit of the database.
    package func keep(_ pending: PendingCommit) throws {
        try queue.write { db in
            try db.execute(sql: "DELETE FROM pending WHERE database = ?", arguments: [pending.database.blob])
            try db.execute(
                sql: "INSERT INTO pending VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                arguments: [
                    pending.database.blob, pending.lineage.blob, Int64(pending.sequence), pending.snapshot.blob,
                    Data(pending.manifest), pending.manifestHash.blob, pending.identity, pending.fingerprint,
                    pending.capturedAt.microseconds, pending.packs.added.blob, pending.packs.dropped.blob,
                ])
            for (position, pack) in pending.inlinePacks.enumerated() {
                try db.execute(
                    sql: "INSERT INTO pending_pack VALUES (?, ?, ?)",
                    arguments: [pending.database.blob, position, Data(pack)])
            }
            try db.execute(
                sql: "INSERT OR IGNORE INTO own_manifest VALUES (?, ?, ?, ?, ?)",
                arguments: [
                    pending.manifestHash.blob, pending.database.blob, pending.lineage.blob, Int64(pending.sequence),
                    pending.snapshot.blob,
                ])
            // A head is only ever compared with recent manifests; the table stays small.
            try db.execute(
                sql: "DELETE FROM own_manifest WHERE database = ? AND sequence < ?",
                arguments: [pending.database.blob, Int64(pending.sequence) - 1000])
        }
    }

    package func dropPending(for database: DatabaseID) throws {
        try queue.write { db in
            try db.execute(sql: "DELETE FROM pending WHERE database = ?", arguments: [database.blob])
        }
    }

    /// Makes a manifest that this agent signed the head again; the file it was of is not known any more.
    ///
    /// - Returns: false if this agent did not sign it.
    package func adoptOwnManifest(_ hash: ManifestHash, of database: DatabaseID) throws -> Bool {
        try queue.write { db in
            try db.execute(
                sql: """
                    INSERT OR REPLACE INTO head
                    SELECT database, lineage, sequence, snapshot, manifest_hash, '', '', 0, 0, x'', 0
                    FROM own_manifest WHERE manifest_hash = ? AND database = ?
                    """, arguments: [hash.blob, database.blob])
            return db.changesCount == 1
        }
    }
}
