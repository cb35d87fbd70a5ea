/// What is in a database at the moment of its capture, as far as it is cheap to know.
package struct SQLiteInventory: Hashable, Sendable {
    package enum AutoVacuum: String, Hashable, Sendable { case none, full, incremental }
    package struct Table: Hashable, Sendable {
        package let name: String
        /// From `sqlite_stat1` if the application ran ANALYZE, otherwise the largest rowid; nil if neither is cheap.
        package let estimatedRows: Int64?
    }

    package static let maximumTables = 1000

    package let userVersion: Int32
    package let applicationID: Int32
    /// "wal" or "delete": the header does not tell the rollback modes apart.
    package let journalMode: String
    package let autoVacuum: AutoVacuum
    /// "UTF-8", "UTF-16le", "UTF-16be", or "" while the database is empty.
    package let encoding: String
    /// For example 3040001; nil where a version before 3.7.0 wrote last.
    package let lastWriterVersion: UInt32?
    package let pageSize: Int
    package let pageCount: UInt64
    package let freePageCount: UInt64
    /// At most `maximumTables`, by name.
    package let tables: [Table]
    package let tableCount: Int
    /// Every schema entry ordered by type and name, each of its four texts ended by a zero byte; hash it to compare.
    package let canonicalSchema: [UInt8]
}

extension SQLiteInventory {
    /// - Parameter header: the image's first 100 bytes, or fewer where the database is empty.
    /// - Parameter connection: sees the same commit.
    static func take(
        header: DatabaseHeader?, pageSize: Int, pageCount: UInt64, connection: borrowing SQLiteConnection
    ) throws(SQLiteError) -> SQLiteInventory {
        let schema = try canonicalSchema(connection)
        let names = try tableNames(connection)
        let statistics = try statistics(connection)
        var tables: [Table] = []
        for name in names.prefix(maximumTables) {
            let known = statistics[name]
            let rows = known == nil ? try largestRowID(of: name, connection) : known
            tables.append(Table(name: name, estimatedRows: rows))
        }
        func word(_ offset: Int) -> UInt32 { header?.word(at: offset) ?? 0 }
        return SQLiteInventory(
            userVersion: Int32(bitPattern: word(60)), applicationID: Int32(bitPattern: word(68)),
            journalMode: header?.isWAL == true ? "wal" : "delete",
            autoVacuum: word(52) == 0 ? .none : word(64) == 0 ? .full : .incremental,
            encoding: ["", "UTF-8", "UTF-16le", "UTF-16be"][word(56) <= 3 ? Int(word(56)) : 0],
            lastWriterVersion: word(24) == word(92) && header != nil ? word(96) : nil,
            pageSize: pageSize, pageCount: pageCount, freePageCount: UInt64(word(36)),
            tables: tables, tableCount: names.count, canonicalSchema: schema)
    }

    private static func canonicalSchema(_ connection: borrowing SQLiteConnection) throws(SQLiteError) -> [UInt8] {
        var bytes: [UInt8] = []
        let sql = "SELECT type, name, tbl_name, ifnull(sql, '') FROM sqlite_schema ORDER BY type, name"
        try connection.forEachRow(sql, []) { row in
            for column in row {
                bytes += Array((column.text ?? "").utf8)
                bytes.append(0)
            }
            return true
        }
        return bytes
    }

    /// Tables with pages of their own: no views, no virtual tables.
    private static func tableNames(_ connection: borrowing SQLiteConnection) throws(SQLiteError) -> [String] {
        let sql = """
            SELECT name FROM sqlite_schema
            WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name
            """
        return try connection.rows(sql).compactMap { $0.first?.text }
    }

    private static func statistics(_ connection: borrowing SQLiteConnection) throws(SQLiteError) -> [String: Int64] {
        let exists = "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1' AND type = 'table'"
        guard try connection.integer(exists) == 1 else { return [:] }
        var rows: [String: Int64] = [:]
        // An index on part of a table counts only that part, so the largest number is the table's.
        for row in try connection.rows("SELECT tbl, stat FROM sqlite_stat1 LIMIT 20000") where row.count == 2 {
            guard let name = row[0].text, let first = row[1].text?.split(separator: " ").first,
                let count = Int64(first)
            else { continue }
            rows[name] = max(rows[name] ?? 0, count)
        }
        return rows
    }

    /// One look at the right edge of the table's tree; nil for a table WITHOUT ROWID.
    private static func largestRowID(
        of table: String, _ connection: borrowing SQLiteConnection
    ) throws(SQLiteError) -> Int64? {
        let parts = table.split(separator: "\"", omittingEmptySubsequences: false)
        let quoted = "\"" + parts.joined(separator: "\"\"") + "\""
        let columns = try connection.rows("SELECT lower(name) FROM pragma_table_xinfo(?)", [.text(table)])
        // A column of the application's hides a name of the row id; asking for it would scan the table.
        let names = ["rowid", "_rowid_", "oid"]
        let hidden = Set(columns.compactMap { $0.first?.text })
        guard let free = names.first(where: { !hidden.contains($0) }) else { return nil }
        do {
            return try connection.interruptible(every: 1000, when: { true }) { () throws(SQLiteError) in
                try connection.integer("SELECT ifnull(max(\(free)), 0) FROM \(quoted)")
            }
        } catch {
            // No such column.
            if error.isInterrupted || error.isPlainError { return nil }
            throw error
        }
    }
}
