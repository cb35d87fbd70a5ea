import Foundation
import GRDB
import MusterModel
import MusterTestSupport

@testable import MusterCatalog

/// What `ANALYZE` would say of the catalog of a large fleet: 10,000 nodes, 1,000,000 snapshots, 10,000,000 packs.
///
/// Without statistics SQLite takes every table for a large one. With them it may think that an index of few values is not
/// worth a search, or that a small table is best gone over first; somebody may have run `ANALYZE` on a catalog.
enum FleetStatistics {
    private static let rows = [
        "store": 3, "node": 10_000, "database": 10_000, "lineage": 12_000, "certificate": 40_000, "token": 10_000,
        "snapshot": 1_000_000, "label": 1_200_000, "receipt": 1_000_000, "manifest_replica": 2_000_000,
        "pack": 10_000_000, "pack_replica": 20_000_000, "chunk": 10_000_000, "pack_reference": 10_000_000,
        "key_replica": 20_000, "holding": 20_000, "job": 1_000_000, "verdict": 3_000_000, "audit": 1_000_000,
        "verification": 1000, "verification_item": 1_000_000, "verification_node": 100_000, "finding": 1000,
        "drill": 100_000, "inspected_object": 1_000_000, "discarded_object": 100_000, "replication": 1000,
        "upload_grant": 1000, "hold": 1000, "pin": 10, "alarm": 100, "fleet_snapshot": 100,
        "fleet_snapshot_item": 1_000_000, "retention_policy": 10, "retention_run": 1000,
    ]
    /// Of columns that have fewer values than their table has rows.
    private static let values = [
        "store": 3, "node": 10_000, "database": 10_000, "lineage": 12_000, "scope": 10_000, "state": 3, "kind": 3,
        "level": 4, "key": 10, "value": 100, "expired_at": 1000, "expired_by": 1000, "is_given_up": 2, "run": 1000,
        "snapshot": 1_000_000, "pack": 10_000_000, "sequence": 100, "born": 100, "died": 100, "stored": 2,
        "fleet_snapshot": 100, "moment": 1_000_000, "received_at": 1_000_000,
    ]
    /// How much of a table an index of a part of it holds.
    private static let part = 100

    static func write(to database: Database) throws {
        try database.execute(sql: "ANALYZE; DELETE FROM sqlite_stat1")
        let tables = try String.fetchAll(
            database, sql: "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        for table in tables {
            let count = rows[table] ?? 1000
            for index in try Row.fetchAll(
                database, sql: "SELECT name, partial FROM pragma_index_list(?)", arguments: [table])
            {
                let held: Int = index["partial"] ? max(1, count / part) : count
                let columns = try String?.fetchAll(
                    database, sql: "SELECT name FROM pragma_index_info(?)", arguments: [index["name"] as String])
                var (distinct, words) = (1, ["\(held)"])
                for column in columns {
                    distinct = min(held, distinct * min(held, column.flatMap { values[$0] } ?? held))
                    words.append("\(max(1, held / distinct))")
                }
                try database.execute(
                    sql: "INSERT INTO sqlite_stat1(tbl, idx, stat) VALUES (?, ?, ?)",
                    arguments: [table, index["name"] as String, words.joined(separator: " ")])
            }
        }
    }
}

extension Fixture {
    /// The plans of a statement: without statistics, and with those of a large fleet.
    func plans(
        of make: @escaping @Sendable (Database) throws -> (sql: String, arguments: StatementArguments?)
    ) async throws -> [[String]] {
        let bare = try await catalog.pool.read { try Self.plan(of: make($0), in: $0) }
        try await catalog.pool.write { try FleetStatistics.write(to: $0) }
        // Only a connection that opens the file now reads them.
        let queue = try DatabaseQueue(path: directory.file("catalog.db"))
        let informed = try await queue.read { try Self.plan(of: make($0), in: $0) }
        try queue.close()
        try await catalog.pool.write { try $0.execute(sql: "DELETE FROM sqlite_stat1") }
        return [bare, informed]
    }

    func plans(of sql: String) async throws -> [[String]] { try await plans { _ in (sql, nil) } }

    private static func plan(
        of statement: (sql: String, arguments: StatementArguments?), in database: Database
    ) throws -> [String] {
        let explained = try database.makeStatement(sql: "EXPLAIN QUERY PLAN " + statement.sql)
        // The plan does not depend on what is asked for.
        explained.setUncheckedArguments(statement.arguments ?? [])
        return try Row.fetchAll(explained).map { String($0["detail"]) }
    }
}
