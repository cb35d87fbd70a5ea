/// The tables of a rebuilt database whose rows a drill counts: those that hold somebody's rows.
///
/// Not SQLite's own, and not those in which a full-text or spatial index keeps its trees: merging makes their rows
/// fewer while nothing is lost. The two that have a row for each entry of the index, `_content` and `_rowid`, count.
struct CountedTables {
    private static let ofFullText = ["_data", "_idx", "_docsize", "_config", "_segments", "_segdir", "_stat"]
    private static let ofRTree = ["_node", "_parent"]

    /// The first by the bytes of their names, so that it is the same ones each time.
    private(set) var names: [String] = []
    /// All that could be counted.
    private(set) var presentCount: Int64 = 0

    init(of connection: borrowing SQLiteConnection, atMost most: Int) throws(SQLiteError) {
        var parts: Set<String> = []
        try connection.forEachRow(
            """
            SELECT lower(name), sql LIKE '%using%fts%', sql LIKE '%using%rtree%' OR sql LIKE '%using%geopoly%'
            FROM sqlite_schema WHERE type = 'table' AND coalesce(rootpage, 0) = 0
            """, []
        ) { row in
            guard let name = row.first?.text else { return true }
            if row[1].integer == 1 { parts.formUnion(Self.ofFullText.map { name + $0 }) }
            if row[2].integer == 1 { parts.formUnion(Self.ofRTree.map { name + $0 }) }
            return true
        }
        var (found, count) = ([String](), Int64(0))
        try connection.forEachRow(
            """
            SELECT name, lower(name) FROM sqlite_schema
            WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name
            """, []
        ) { row in
            guard let name = row[0].text, let lowered = row[1].text, !parts.contains(lowered) else { return true }
            count += 1
            if found.count < most { found.append(name) }
            return true
        }
        (names, presentCount) = (found, count)
    }
}
