import CSQLite

/// The open file behind a connection, read with SQLite's own file methods.
///
/// So no second descriptor is needed (see `OwnDescriptor` for the reason). It is
/// valid as long as the connection it came from.
@safe
struct SQLiteFile {
    private let pointer: UnsafeMutablePointer<sqlite3_file>

    static func database(of connection: borrowing SQLiteConnection) throws(SQLiteError) -> SQLiteFile {
        try SQLiteFile(connection, isJournal: 0)
    }
    /// The WAL, once the connection has read in WAL mode.
    static func journal(of connection: borrowing SQLiteConnection) throws(SQLiteError) -> SQLiteFile {
        try SQLiteFile(connection, isJournal: 1)
    }

    private init(_ connection: borrowing SQLiteConnection, isJournal: Int32) throws(SQLiteError) {
        var found: UnsafeMutablePointer<sqlite3_file>?
        try connection.check(unsafe csqlite_file_pointer(connection.pointer, isJournal, &found))
        guard let found = unsafe found else { throw connection.lastError(SQLITE_NOTFOUND) }
        unsafe pointer = found
    }

    /// - Returns: `SQLITE_OK`, or `SQLITE_IOERR_SHORT_READ` where the file ends inside the range: the rest is zero.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int32 {
        unsafe csqlite_file_read(pointer, buffer.baseAddress, Int32(buffer.count), Int64(offset))
    }

    func sizeBytes() throws(SQLiteError) -> UInt64 {
        var size: Int64 = 0
        let code = unsafe csqlite_file_size(pointer, &size)
        guard code == SQLITE_OK else { throw SQLiteError(code: code, path: "", reason: "its size cannot be read") }
        return UInt64(max(0, size))
    }

    /// True if the path leads to another file now, or to none.
    func hasMoved() -> Bool {
        var moved: Int32 = 0
        let code = unsafe csqlite_file_has_moved(pointer, &moved)
        return code != SQLITE_OK || moved != 0
    }

    func mapIndex() -> WALIndex? {
        var block: UnsafeRawPointer?
        guard unsafe csqlite_wal_index_map(pointer, &block) == SQLITE_OK, let block = unsafe block else { return nil }
        return unsafe WALIndex(block: block)
    }
}
