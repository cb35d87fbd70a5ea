import Foundation
import GRDB
package import MusterEngine
package import MusterModel

/// The ledgers: what the newest snapshot of each database is made of.
extension AgentState {
    static let ledgerSchema = """
        CREATE TABLE ledger (
            number INTEGER PRIMARY KEY,
            database BLOB NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('building', 'current', 'dropped')),
            manifest_hash BLOB,
            cursor BLOB,
            page_size INTEGER NOT NULL,
            pages_per_extent INTEGER NOT NULL,
            page_count INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            last_full INTEGER NOT NULL,
            full_map_bytes INTEGER NOT NULL,
            next_pack INTEGER NOT NULL,
            next_scatter INTEGER NOT NULL,
            group_hashes BLOB NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX ledger_current ON ledger (database) WHERE state = 'current';
        CREATE TABLE ledger_extent (
            ledger INTEGER NOT NULL,
            extent INTEGER NOT NULL,
            changed INTEGER NOT NULL,
            pack INTEGER NOT NULL,
            body BLOB NOT NULL,
            PRIMARY KEY (ledger, extent)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX ledger_extent_changed ON ledger_extent (ledger, changed);
        CREATE INDEX ledger_extent_pack ON ledger_extent (ledger, pack);
        CREATE TABLE ledger_group (
            ledger INTEGER NOT NULL,
            number INTEGER NOT NULL,
            hashes BLOB NOT NULL,
            PRIMARY KEY (ledger, number)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE ledger_pack (
            ledger INTEGER NOT NULL,
            number INTEGER NOT NULL,
            id BLOB NOT NULL,
            bytes INTEGER NOT NULL,
            live_bytes INTEGER NOT NULL,
            map_bytes INTEGER NOT NULL,
            born INTEGER NOT NULL,
            died INTEGER,
            PRIMARY KEY (ledger, number)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE ledger_scatter (
            ledger INTEGER NOT NULL,
            number INTEGER NOT NULL,
            listed INTEGER NOT NULL,
            is_difference INTEGER NOT NULL,
            pack INTEGER NOT NULL,
            "offset" INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            plain_bytes INTEGER NOT NULL,
            chunk BLOB NOT NULL,
            pages BLOB NOT NULL,
            dead BLOB NOT NULL,
            PRIMARY KEY (ledger, number)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE ledger_base (
            ledger INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            snapshot BLOB NOT NULL,
            manifest_hash BLOB NOT NULL,
            map_bytes INTEGER NOT NULL,
            PRIMARY KEY (ledger, sequence)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE live_pack (
            database BLOB NOT NULL,
            pack BLOB NOT NULL,
            PRIMARY KEY (database, pack)
        ) STRICT, WITHOUT ROWID;
        """

    /// A ledger as it lies in the file.
    package struct StoredLedger: Sendable {
        package let ledger: LedgerStore
        package let state: LedgerState
        /// Of the snapshot that it describes.
        package let manifestHash: ManifestHash
        package let cursor: [UInt8]?
    }

    package func ledger(of database: DatabaseID) throws -> StoredLedger? {
        try queue.read { db in
            guard
                let row = try Row.fetchOne(
                    db, sql: "SELECT * FROM ledger WHERE database = ? AND state = 'current'", arguments: [database.blob]
                )
            else { return nil }
            let number: Int64 = row["number"]
            return StoredLedger(
                ledger: LedgerStore(queue: queue, number: number),
                state: try LedgerState(row: row, number, in: db), manifestHash: try row.digest("manifest_hash"),
                cursor: (row["cursor"] as Data?).map { [UInt8]($0) })
        }
    }

    /// Begins a new one beside the current one.
    package func buildLedger(of database: DatabaseID) throws -> LedgerStore {
        try queue.write { db in
            try db.execute(
                sql: "UPDATE ledger SET state = 'dropped' WHERE database = ? AND state = 'building'",
                arguments: [database.blob])
            try db.execute(
                sql: """
                    INSERT INTO ledger(database, state, page_size, pages_per_extent, page_count, sequence, last_full,
                        full_map_bytes, next_pack, next_scatter, group_hashes)
                    VALUES (?, 'building', 0, 0, 0, 0, 0, 0, 0, 0, x'')
                    """, arguments: [database.blob])
            return LedgerStore(queue: queue, number: db.lastInsertedRowID)
        }
    }

    /// The next snapshot reads and sends everything.
    package func dropLedger(of database: DatabaseID) throws {
        try queue.write { db in try Self.dropLedgers(of: database, in: db) }
        try sweepLedgers()
    }

    static func dropLedgers(of database: DatabaseID, in db: GRDB.Database) throws {
        try db.execute(
            sql: "UPDATE ledger SET state = 'dropped', cursor = NULL WHERE database = ?", arguments: [database.blob])
    }

    /// Keeps where a parked follower stood, for the attach that resumes it.
    package func keepCursor(_ cursor: [UInt8], of database: DatabaseID) throws {
        try queue.write { db in
            try db.execute(
                sql: "UPDATE ledger SET cursor = ? WHERE database = ? AND state = 'current'",
                arguments: [Data(cursor), database.blob])
        }
    }

    /// Deletes the rows of dropped ledgers, a bounded number in each transaction so that nobody waits long.
    package func sweepLedgers() throws {
        // Each step removes rows, and nothing drops ledgers as fast.
        while try sweepSomeOfLedgers() {}
    }

    /// One step of it, between two of which others may write.
    ///
    /// - Returns: whether there may be more.
    func sweepSomeOfLedgers() throws -> Bool {
        let rowsAtOnce = 5000
        return try queue.write { db in
            guard let number = try Int64.fetchOne(db, sql: "SELECT number FROM ledger WHERE state = 'dropped' LIMIT 1")
            else { return false }
            try db.execute(
                sql: """
                    DELETE FROM ledger_extent WHERE ledger = ? AND extent IN
                        (SELECT extent FROM ledger_extent WHERE ledger = ? LIMIT ?)
                    """, arguments: [number, number, rowsAtOnce])
            if db.changesCount == rowsAtOnce { return true }
            for table in ["ledger_group", "ledger_pack", "ledger_scatter", "ledger_base"] {
                try db.execute(sql: "DELETE FROM \(table) WHERE ledger = ?", arguments: [number])
            }
            try db.execute(sql: "DELETE FROM ledger WHERE number = ?", arguments: [number])
            return true
        }
    }

    /// What a life that ended while it built one left behind.
    func dropUnfinishedLedgers() throws {
        try queue.write { db in try db.execute(sql: "UPDATE ledger SET state = 'dropped' WHERE state = 'building'") }
        try sweepLedgers()
    }

    /// The database was read and is as its newest snapshot has it.
    package func foundUnchanged(
        _ database: DatabaseID, fingerprint: String, readAt: Timestamp, cursor: [UInt8]?
    ) throws {
        try queue.write { db in
            try db.execute(
                sql: "UPDATE head SET fingerprint = ?, captured_at = ? WHERE database = ?",
                arguments: [fingerprint, readAt.microseconds, database.blob])
            try db.execute(
                sql: "UPDATE ledger SET cursor = ? WHERE database = ? AND state = 'current'",
                arguments: [cursor.map { Data($0) }, database.blob])
        }
    }

    // MARK: - Packs of the head

    /// Packs that the head needs.
    package func livePacks(of database: DatabaseID) throws -> Set<PackID> {
        try queue.read { db in
            let blobs = try Data.fetchAll(
                db, sql: "SELECT pack FROM live_pack WHERE database = ?", arguments: [database.blob])
            return try Set(blobs.flatMap { try Hashes.decode($0, "pack") as [PackID] })
        }
    }

    package func replaceLivePacks(_ packs: Set<PackID>, of database: DatabaseID) throws {
        try queue.write { db in
            try db.execute(sql: "DELETE FROM live_pack WHERE database = ?", arguments: [database.blob])
            for pack in packs {
                try db.execute(sql: "INSERT INTO live_pack VALUES (?, ?)", arguments: [database.blob, pack.blob])
            }
            try db.execute(sql: "UPDATE head SET packs_known = 1 WHERE database = ?", arguments: [database.blob])
        }
    }
}
