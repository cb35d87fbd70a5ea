import Foundation
import GRDB
package import MusterModel

/// A database that a pattern found: what makes it the same one when it is found again.
package struct DiscoveredDatabase: Equatable, Sendable {
    package let id: DatabaseID
    package let path: String
    /// Its name in the fleet, drawn up once.
    package var name: String
    package let foundAt: Timestamp
    /// Since when its file has been missing; nil while it is there.
    package var vanishedAt: Timestamp?
}

extension AgentState {
    /// Rows outlive their files: the same path that comes back is the same database.
    static let discoveredSchema = """
        CREATE TABLE discovered (
            path BLOB PRIMARY KEY,
            database BLOB NOT NULL UNIQUE,
            name TEXT NOT NULL UNIQUE,
            found_at INTEGER NOT NULL,
            vanished_at INTEGER
        ) STRICT, WITHOUT ROWID;
        """

    package func discovered() throws -> [DiscoveredDatabase] {
        try queue.read { db in try Self.discovered(db) }
    }

    /// Reads them from a state that an agent may be working with; none where there is no file yet.
    package static func discovered(inFile path: String) throws -> [DiscoveredDatabase] {
        guard FileManager.default.fileExists(atPath: path) else { return [] }
        var configuration = Configuration()
        configuration.readonly = true
        configuration.busyMode = AgentState.busyMode
        return try DatabaseQueue(path: path, configuration: configuration).read { db in
            try db.tableExists("discovered") ? try discovered(db) : []
        }
    }

    private static func discovered(_ db: GRDB.Database) throws -> [DiscoveredDatabase] {
        let rows = try Row.fetchCursor(db, sql: "SELECT * FROM discovered ORDER BY path")
        var databases: [DiscoveredDatabase] = []
        while let row = try rows.next() {
            databases.append(
                DiscoveredDatabase(
                    id: try row.identifier("database"), path: String(decoding: row["path"] as Data, as: UTF8.self),
                    name: row["name"], foundAt: Timestamp(microseconds: row["found_at"]),
                    vanishedAt: (row["vanished_at"] as Int64?).map { Timestamp(microseconds: $0) }))
        }
        return databases
    }

    /// Keeps these rows, in place of those with the same path, and drops the others, in one transaction.
    func keep(_ databases: [DiscoveredDatabase], droppingDiscovered dropped: [DatabaseID] = []) throws {
        guard !databases.isEmpty || !dropped.isEmpty else { return }
        try queue.write { db in
            for id in dropped {
                try db.execute(sql: "DELETE FROM discovered WHERE database = ?", arguments: [id.blob])
            }
            let statement = try db.makeStatement(sql: "INSERT OR REPLACE INTO discovered VALUES (?, ?, ?, ?, ?)")
            for database in databases {
                try statement.execute(arguments: [
                    Data(database.path.utf8), database.id.blob, database.name, database.foundAt.microseconds,
                    database.vanishedAt?.microseconds,
                ])
            }
        }
    }
}
