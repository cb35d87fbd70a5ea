import GRDB
import MusterModel

/// What the last drill that passed counted: table names are content, so the comparison is made on the node.
extension AgentState {
    static let drillSchema = """
        CREATE TABLE drill_rows (
            database BLOB NOT NULL,
            name TEXT NOT NULL,
            rows INTEGER NOT NULL,
            PRIMARY KEY (database, name)
        ) STRICT, WITHOUT ROWID;
        """

    /// - Returns: nil where no drill is remembered; a database without tables is not worth remembering.
    func rowsOfLastDrill(of database: DatabaseID) throws -> [String: Int64]? {
        try queue.read { db in
            let rows = try Row.fetchAll(
                db, sql: "SELECT name, rows FROM drill_rows WHERE database = ?", arguments: [database.blob])
            guard !rows.isEmpty else { return nil }
            return Dictionary(rows.map { ($0["name"], $0["rows"]) }, uniquingKeysWith: { first, _ in first })
        }
    }

    func keep(rows: [String: Int64], of database: DatabaseID) throws {
        try queue.write { db in
            try db.execute(sql: "DELETE FROM drill_rows WHERE database = ?", arguments: [database.blob])
            for (name, count) in rows {
                try db.execute(
                    sql: "INSERT INTO drill_rows VALUES (?, ?, ?)", arguments: [database.blob, name, count])
            }
        }
    }
}
