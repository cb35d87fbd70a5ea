import Foundation
import GRDB
import MusterModel

/// Values that the coordinator keeps for itself.
extension Catalog {
    package func setting(_ key: String) async throws(CatalogError) -> [UInt8]? {
        try await read { database in
            try Data.fetchOne(database, sql: "SELECT value FROM setting WHERE key = ?", arguments: [key]).map(
                [UInt8].init)
        }
    }

    package func set(
        _ key: String, to value: [UInt8], audit row: AuditRow? = nil
    ) async throws(CatalogError) {
        try await write(auditing: row) { database in
            try database.execute(
                sql: "INSERT INTO setting VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                arguments: [key, Data(value)])
        }
    }

    /// Sets a value where it is still what the caller read.
    ///
    /// - Returns: false where it is another one by now; that stands.
    package func set(
        _ key: String, to value: [UInt8], ifStill read: [UInt8]
    ) async throws(CatalogError) -> Bool {
        try await write { database in
            try database.execute(
                sql: "UPDATE setting SET value = ? WHERE key = ? AND value = ?",
                arguments: [Data(value), key, Data(read)])
            return database.changesCount == 1
        }
    }
}
