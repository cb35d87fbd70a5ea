/// What is in a database at the moment of its capture, as far as it is cheap to know.
package struct SQLiteInventory: Hashable, Sendable {
    package enum AutoVacuum: String, Hashable, Sendable { case none, full, incremental }
    package struct Table: Hashable, Sendable {
        package let name: String
        /// From `sqlite_stat1` if the application ran ANALYZE, otherwise the largest rowid; nil if neither is cheap.
        package let estimatedRows: Int64?
    }

    package static let maximumTables = 1000
    /// Of a schema's texts, and of one text or blob: more is not taken into memory.
    package static let maximumSchemaBytes = 16 << 20
    static let longest = Duration.seconds(30)

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
    /// At most `maximumTables`, by name; none where the schema was left out.
    package let tables: [Table]
    package let tableCount: Int
    /// Every schema entry ordered by type and name, each of its four texts ended by a zero byte; hash it to compare. nil
    /// where it has more than `maximumSchemaBytes`, or reading it takes too long: a file that somebody made up must not
    /// take the node's memory.
    package let canonicalSchema: [UInt8]?
}

extension SQLiteInventory {
    /// - Parameters:
    ///   - header: the image's first 100 bytes, or fewer where the database is empty.
    ///   - connection: sees the same commit.
    ///   - elapsed: a monotonic clock's reading; after `longest` what is not known yet is left out.
    static func take(
        header: DatabaseHeader?, pageSize: Int, pageCount: UInt64, connection: borrowing SQLiteConnection,
        elapsed: () -> Duration
    ) throws(SQLiteError) -> SQLiteInventory {
        let began = elapsed()
        func isLate() -> Bool { elapsed() - began > longest }
        connection.limitLength(to: maximumSchemaBytes)
        var (schema, tables, tableCount): ([UInt8]?, [Table], Int) = (nil, [], 0)
        do {
            if try isSmall(connection, isLate) {
                let texts = try canonicalSchema(connection, isLate)
                let names = try tableNames(connection, isLate)
                let statistics = try statistics(connection, isLate)
                for name in names.prefix(maximumTables) {
                    let known = statistics[name]
                    let rows = known == nil && !isLate() ? try largestRowID(of: name, connection) : known
                    tables.append(Table(name: name, estimatedRows: rows))
                }
                (schema, tableCount) = (texts, names.count)
            }
        } catch {
            guard error.isInterrupted || error.isTooBig else { throw error }
            tables = []
        }
        func word(_ offset: Int) -> UInt32 { header?.word(at: offset) ?? 0 }
        return SQLiteInventory(
            userVersion: Int32(bitPattern: word(60)), applicationID: Int32(bitPattern: word(68)),
            journalMode: header?.isWAL == true ? "wal" : "delete",
            autoVacuum: word(52) == 0 ? .none : word(64) == 0 ? .full : .incremental,
            encoding: ["", "UTF-8", "UTF-16le", "UTF-16be"][word(56) <= 3 ? Int(word(56)) : 0],
            lastWriterVersion: word(24) == word(92) && header != nil ? word(96) : nil,
            pageSize: pageSize, pageCount: pageCount, freePageCount: UInt64(word(36)),
            tables: tables, tableCount: tableCount, canonicalSchema: schema)
    }

    /// Looked at row by row: sorting takes all of it into memory.
    private static func isSmall(
        _ connection: borrowing SQLiteConnection, _ isLate: () -> Bool
    ) throws(SQLiteError) -> Bool {
        var rest = maximumSchemaBytes
        try connection.forEachRow("SELECT type, name, tbl_name, sql FROM sqlite_schema", until: isLate) { row in
            // An entry costs something even where it says nothing.
            rest -= row.reduce(64) { $0 + ($1.text?.utf8.count ?? 0) }
            return rest >= 0
        }
        return rest >= 0
    }

    private static func canonicalSchema(
        _ connection: borrowing SQLiteConnection, _ isLate: () -> Bool
    ) throws(SQLiteError) -> [UInt8] {
        var bytes: [UInt8] = []
        let sql = "SELECT type, name, tbl_name, ifnull(sql, '') FROM sqlite_schema ORDER BY type, name"
        try connection.forEachRow(sql, until: isLate) { row in
            for column in row {
                bytes += Array((column.text ?? "").utf8)
                bytes.append(0)
            }
            return true
        }
        return bytes
    }

    /// Tables with pages of their own: no views, no virtual tables.
    private static func tableNames(
        _ connection: borrowing SQLiteConnection, _ isLate: () -> Bool
    ) throws(SQLiteError) -> [String] {
        let sql = """
            SELECT name FROM sqlite_schema
            WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name
            """
        var names: [String] = []
        try connection.forEachRow(sql, until: isLate) { row in
            if let name = row.first?.text { names.append(name) }
            return true
        }
        return names
    }

    private static func statistics(
        _ connection: borrowing SQLiteConnection, _ isLate: () -> Bool
    ) throws(SQLiteError) -> [String: Int64] {
        let exists = "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1' AND type = 'table'"
        guard try connection.integer(exists) == 1 else { return [:] }
        var rows: [String: Int64] = [:]
        var rest = maximumSchemaBytes
        // An index on part of a table counts only that part, so the largest number is the table's.
        try connection.forEachRow("SELECT tbl, stat FROM sqlite_stat1 LIMIT 20000", until: isLate) { row in
            guard row.count == 2, let name = row[0].text, let stat = row[1].text else { return true }
            rest -= name.utf8.count + stat.utf8.count
            if let first = stat.prefix(32).split(separator: " ").first, let count = Int64(first) {
                rows[name] = max(rows[name] ?? 0, count)
            }
            return rest >= 0
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
