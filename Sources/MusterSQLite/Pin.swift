import CSQLite

/// An open read transaction, and which commit it sees.
struct Pin {
    struct WAL {
        let index: WALIndex
        let header: WALIndexHeader
        let backfilled: UInt32
    }
    /// nil in a rollback journal mode.
    let wal: WAL?

    /// Begins a transaction on `connection`; in WAL mode as often as it takes to know which commit it sees.
    init(
        _ connection: borrowing SQLiteConnection, _ database: SQLiteFile, _ files: SourceFiles,
        _ surroundings: CaptureSurroundings, _ startedAt: Duration
    ) throws(CaptureError) {
        guard let index = try Self.firstRead(connection, database, files) else {
            wal = nil
            return
        }
        while true {
            if let pinned = try Self.attempt(connection, index) {
                guard pinned.header.version == WALIndex.knownVersion else {
                    throw .unsupportedWAL(path: files.path, version: pinned.header.version)
                }
                wal = pinned
                return
            }
            if surroundings.shouldStop() { throw .stopped(path: files.path) }
            let waited = surroundings.elapsed() - startedAt
            guard waited < surroundings.options.busyBudget else { throw .locked(path: files.path, waited: waited) }
        }
    }

    /// Opens WAL and wal-index if the database has them.
    ///
    /// - Returns: nil with the transaction open in a rollback mode; otherwise the index, and no transaction. A WAL
    ///   connection keeps SHARED on the file between transactions, so the mode stays what it is.
    private static func firstRead(
        _ connection: borrowing SQLiteConnection, _ database: SQLiteFile, _ files: SourceFiles
    ) throws(CaptureError) -> WALIndex? {
        let mode = try orFailed { () throws(SQLiteError) in
            try connection.executeDespiteSchema("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1")
            return try connection.text("PRAGMA journal_mode")
        }
        guard mode == "wal" else { return nil }
        try orFailed { () throws(SQLiteError) in try connection.execute("COMMIT") }
        // No block: SQLite made do without shared memory (wal.c, walBeginShmUnreliable), and nobody's commits show.
        guard let index = database.mapIndex() else { throw .sharedMemoryUnavailable(path: files.path) }
        return index
    }

    /// - Parameter afterFirstHeader: for tests, which commit something there.
    /// - Returns: nil, and no transaction, if somebody committed in between.
    static func attempt(
        _ connection: borrowing SQLiteConnection, _ index: WALIndex, afterFirstHeader: () -> Void = {}
    ) throws(CaptureError) -> WAL? {
        let before = index.settledHeader()
        afterFirstHeader()
        try orFailed { () throws(SQLiteError) in
            try connection.executeDespiteSchema("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1")
        }
        let backfilled = index.backfilledFrames()
        if let after = index.settledHeader(), after == before {
            return WAL(index: index, header: after, backfilled: backfilled)
        }
        try orFailed { () throws(SQLiteError) in try connection.execute("COMMIT") }
        return nil
    }

    func overlay(
        _ files: SourceFiles, _ file: SQLiteFile?, pageSize: Int, pageCount: UInt64,
        checkBudget: () throws(CaptureError) -> Void
    ) throws(CaptureError) -> WALOverlay {
        guard let wal, let file, wal.backfilled != wal.header.lastFrame else { return .none }
        guard wal.backfilled < wal.header.lastFrame, wal.header.pageSize == pageSize else {
            throw .brokenWAL(path: files.path, reason: "its index contradicts itself")
        }
        return try WALOverlay(
            wal: file, path: files.path, header: wal.header, backfilled: wal.backfilled, pageSize: pageSize,
            pageCount: pageCount, checkBudget: checkBudget)
    }
}
