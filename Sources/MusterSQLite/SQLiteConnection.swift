import CSQLite

/// One open SQLite database file, closed exactly once on every path out.
///
/// It cannot be copied, so it has one owner, and it is not `Sendable`, so it
/// stays with whoever opened it. Open one connection for each worker.
@safe
package struct SQLiteConnection: ~Copyable {
    package enum Access {
        /// For the application's own files: never creates, checkpoints or changes one.
        case readOnly
        /// For closing an application's file as its last connection would; never creates one.
        case lastToLeave
        /// For files that belong to Muster.
        case readWrite
    }

    let pointer: OpaquePointer
    package let path: String

    /// Opens the file at `path`; `.readWrite` creates it if need be.
    ///
    /// - Parameter busyTimeoutMilliseconds: how long a call waits for a lock.
    /// - Throws: `SQLiteError` if the file cannot be opened.
    package init(path: String, access: Access, busyTimeoutMilliseconds: Int32 = 5000) throws(SQLiteError) {
        // Libraries built with SQLITE_USE_URI (Debian's is) read names that start with "file:" as URIs, and
        // ":memory:" is no file: with a leading slash or dot every name is a plain one.
        let plainPath = path.hasPrefix("/") ? path : "./" + path
        switch access {
        case .readOnly:
            unsafe pointer = try Self.open(plainPath, flags: SQLITE_OPEN_READONLY, fileSystem: nil) {
                (opened) throws(SQLiteError) in
                // Closing a source must not checkpoint it.
                try unsafe Self.check(csqlite_config(opened, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1), opened, path)
                try unsafe Self.distrustContent(opened, path)
                try unsafe Self.check(sqlite3_busy_timeout(opened, busyTimeoutMilliseconds), opened, path)
                _ = unsafe sqlite3_limit(opened, SQLITE_LIMIT_LENGTH, Int32(SQLiteInventory.maximumSchemaBytes))
            }
        case .lastToLeave:
            unsafe pointer = try Self.open(plainPath, flags: SQLITE_OPEN_READWRITE, fileSystem: nil) {
                (opened) throws(SQLiteError) in
                try unsafe Self.distrustContent(opened, path)
                _ = unsafe sqlite3_limit(opened, SQLITE_LIMIT_LENGTH, Int32(SQLiteInventory.maximumSchemaBytes))
            }
        case .readWrite:
            let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
            unsafe pointer = try Self.open(plainPath, flags: flags, fileSystem: nil) { (opened) throws(SQLiteError) in
                try unsafe Self.check(sqlite3_busy_timeout(opened, busyTimeoutMilliseconds), opened, path)
            }
        }
        self.path = path
    }

    /// Opens a name of another SQLite file system (VFS) for reading.
    init(name: String, fileSystem: String) throws(SQLiteError) {
        unsafe pointer = try Self.open(name, flags: SQLITE_OPEN_READONLY, fileSystem: fileSystem) {
            (opened) throws(SQLiteError) in
            try unsafe Self.distrustContent(opened, name)
        }
        path = name
    }

    /// - Parameter setUp: if it throws, the connection is closed again.
    private static func open(
        _ path: String, flags: Int32, fileSystem: String?, setUp: (OpaquePointer) throws(SQLiteError) -> Void
    ) throws(SQLiteError) -> OpaquePointer {
        var opened: OpaquePointer?
        let code = unsafe sqlite3_open_v2(path, &opened, flags | SQLITE_OPEN_NOMUTEX, fileSystem)
        guard let opened = unsafe opened else {
            throw SQLiteError(code: code, path: path, reason: unsafe String(cString: sqlite3_errstr(code)))
        }
        do {
            // SQLite gives a connection back even when opening fails: it holds the reason.
            try unsafe check(code, opened, path)
            try unsafe check(sqlite3_extended_result_codes(opened, 1), opened, path)
            try unsafe setUp(opened)
            return unsafe opened
        } catch {
            unsafe sqlite3_close_v2(opened)
            throw error
        }
    }

    /// The settings for a file whose content may be hostile (sqlite.org/security.html); and no memory mapping:
    /// when a mapped file shrinks, reading it is a SIGBUS.
    private static func distrustContent(_ opened: OpaquePointer, _ path: String) throws(SQLiteError) {
        try unsafe check(csqlite_config(opened, SQLITE_DBCONFIG_DEFENSIVE, 1), opened, path)
        try unsafe check(csqlite_config(opened, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0), opened, path)
        let pragmas = "PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY; PRAGMA cell_size_check=1; PRAGMA query_only=1"
        try unsafe check(sqlite3_exec(opened, pragmas, nil, nil, nil), opened, path)
    }

    /// From now on a longer text or blob is an error.
    borrowing func limitLength(to bytes: Int) {
        _ = unsafe sqlite3_limit(pointer, SQLITE_LIMIT_LENGTH, Int32(clamping: bytes))
    }

    /// Runs statements for whose sake no schema is needed, also where it has a text that is longer than the limit:
    /// SQLite reads the schema before anything else.
    borrowing func executeDespiteSchema(_ sql: String) throws(SQLiteError) {
        do throws(SQLiteError) {
            try execute(sql)
        } catch {
            guard error.isTooBig else { throw error }
            // It also sets SQLITE_NoSchemaError: a schema counts as loaded as far as it could be (prepare.c,
            // sqlite3InitOne). The connection writes nothing, so no schema either.
            try check(unsafe csqlite_config(pointer, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1))
            if unsafe sqlite3_get_autocommit(pointer) == 0 { try execute("ROLLBACK") }
            try execute(sql)
        }
    }

    deinit { unsafe sqlite3_close_v2(pointer) }

    /// Runs statements and drops their rows.
    package borrowing func execute(_ sql: String) throws(SQLiteError) {
        try check(unsafe sqlite3_exec(pointer, sql, nil, nil, nil))
    }

    /// The whole database as the open transaction sees it, or one of its own.
    package borrowing func serialized() throws(SQLiteError) -> [UInt8] {
        var size: sqlite3_int64 = 0
        guard let image = unsafe sqlite3_serialize(pointer, "main", &size, 0) else {
            if size == 0 { return [] }
            throw lastError(SQLITE_NOMEM)
        }
        defer { unsafe sqlite3_free(image) }
        return unsafe Array(UnsafeBufferPointer(start: image, count: Int(size)))
    }

    borrowing func check(_ code: Int32) throws(SQLiteError) {
        try unsafe Self.check(code, pointer, path)
    }

    borrowing func lastError(_ code: Int32) -> SQLiteError { unsafe Self.error(code, pointer, path) }

    private static func check(_ code: Int32, _ opened: OpaquePointer, _ path: String) throws(SQLiteError) {
        guard code == SQLITE_OK else { throw unsafe error(code, opened, path) }
    }

    /// - Parameter code: what the failed call returned; the connection's own extended code is used where it agrees.
    private static func error(_ code: Int32, _ opened: OpaquePointer, _ path: String) -> SQLiteError {
        let extended = unsafe sqlite3_extended_errcode(opened)
        let isSame = extended & 0xff == code & 0xff
        let reason = unsafe String(cString: isSame ? sqlite3_errmsg(opened) : sqlite3_errstr(code))
        return SQLiteError(code: isSame ? extended : code, path: path, reason: reason)
    }
}
