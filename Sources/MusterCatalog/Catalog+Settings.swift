import Foundation
import GRDB
package import MusterModel

/// Values that the coordinator keeps for itself, and the stores it knows.
extension Catalog {
    package struct StoreEntry: Hashable, Sendable {
        package let number: Int64
        package let name: String
        package let url: String
    }

    package func setting(_ key: String) async throws(CatalogError) -> [UInt8]? {
        try await read { database in
            try Data.fetchOne(database, sql: "SELECT value FROM setting WHERE key = ?", arguments: [key]).map(
                [UInt8].init)
        }
    }

    package func set(_ key: String, to value: [UInt8]) async throws(CatalogError) {
        try await write { database in
            try database.execute(
                sql: "INSERT INTO setting VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                arguments: [key, Data(value)])
        }
    }

    package func add(store name: String, url: String, at now: Timestamp) async throws(CatalogError) -> StoreEntry {
        try await write { database in
            try database.execute(
                sql: "INSERT INTO store(name, url, added_at) VALUES (?, ?, ?)",
                arguments: [name, url, now.microseconds])
            return StoreEntry(number: database.lastInsertedRowID, name: name, url: url)
        }
    }

    package func stores() async throws(CatalogError) -> [StoreEntry] {
        try await read { database in
            try Row.fetchAll(database, sql: "SELECT number, name, url FROM store ORDER BY number").map {
                StoreEntry(number: $0["number"], name: $0["name"], url: $0["url"])
            }
        }
    }
}
