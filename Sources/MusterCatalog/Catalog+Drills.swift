import Foundation
import GRDB
package import MusterModel

/// What drills measured.
extension Catalog {
    /// So many of each database are kept.
    package static let keptDrills = 100

    /// What a node says of a drill; nothing in it is content of the database.
    package struct DrillMeasure: Hashable, Sendable {
        package struct Assertion: Hashable, Sendable {
            package var name: String
            package var passed: Bool
            package var value: Double?
            package var reason: String

            package init(name: String, passed: Bool, value: Double?, reason: String) {
                (self.name, self.passed, self.value, self.reason) = (name, passed, value, reason)
            }
        }

        package var restoreSeconds = 0.0
        package var restoredBytes: Int64 = 0
        package var checkSeconds = 0.0
        /// Tables whose rows were counted, of those that are there.
        package var tableCount: Int64 = 0
        package var tablesPresent: Int64 = 0
        package var rowCount: Int64 = 0
        package var isCompared = false
        /// The older snapshot of its lineage; nil where an agent does not say.
        package var comparedWith: SnapshotID?
        package var shrunkTables: Int64 = 0
        package var vanishedTables: Int64 = 0
        /// Part of its rows that a table lost at most, from 0 to 1.
        package var largestDrop = 0.0
        package var foreignKeyViolations: Int64 = 0
        /// "ok", "failed", or "" where `integrity_check` came to no end.
        package var integrity = ""
        package var assertions: [Assertion] = []

        package init() {}

        /// Whether a database came back at all.
        package var isOfRestored: Bool { restoreSeconds > 0 }
    }

    package struct Drill: Hashable, Sendable {
        package var run: RunID
        package var snapshot: SnapshotID
        package var at: Timestamp
        package var passed: Bool
        package var measure: DrillMeasure
        /// Why it did not pass; "" where it did.
        package var reason: String
    }

    private static let reasonsShown = 5
    private static let reasonLength = 2000

    /// How long the slowest restore took that the last drill of a database measured; nil where none was drilled.
    package func longestRestoreSeconds() async throws(CatalogError) -> Double? {
        try await read { database in
            try database.value("SELECT max(restore_seconds) FROM database WHERE state <> ?", [Self.removedState])
        }
    }

    /// The newest drills of a database, the newest first.
    package func drills(of id: DatabaseID, limit: Int) async throws(CatalogError) -> [Drill] {
        try await read { database in
            try Row.fetchAll(database, sql: Self.drillQuery, arguments: [id.blob, limit]).map { row in
                let number: Int64 = row["number"]
                let assertions = try Row.fetchAll(
                    database, sql: "SELECT * FROM drill_assertion WHERE drill = ? ORDER BY position",
                    arguments: [number])
                return try Self.drill(row, assertions)
            }
        }
    }

    static let drillQuery = "SELECT * FROM drill WHERE database = ? ORDER BY number DESC LIMIT ?"

    static func insert(
        _ measure: DrillMeasure, of item: ConcludedItem, _ findings: [Failing], into database: GRDB.Database
    ) throws {
        let reason = findings.prefix(reasonsShown).map(\.reason).joined(separator: "; ")
        try database.run(
            """
            INSERT INTO drill(database, snapshot, run, at, passed, restore_seconds, restored_bytes, check_seconds,
                table_count, row_count, is_compared, shrunk_tables, vanished_tables, largest_drop,
                foreign_key_violations, tables_present, compared_with, integrity, reason)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                item.database.blob, item.snapshot.blob, item.run.blob, item.now.microseconds, findings.isEmpty,
                measure.restoreSeconds, measure.restoredBytes, measure.checkSeconds, measure.tableCount,
                measure.rowCount, measure.isCompared, measure.shrunkTables, measure.vanishedTables,
                measure.largestDrop, measure.foreignKeyViolations, measure.tablesPresent, measure.comparedWith?.blob,
                measure.integrity, String(reason.prefix(reasonLength)),
            ])
        let drill = database.lastInsertedRowID
        for (position, assertion) in measure.assertions.enumerated() {
            try database.run(
                "INSERT INTO drill_assertion VALUES (?, ?, ?, ?, ?, ?)",
                [drill, position, assertion.name, assertion.passed, assertion.value, assertion.reason])
        }
        try database.run(
            """
            DELETE FROM drill WHERE database = ?1 AND number <=
                (SELECT number FROM drill WHERE database = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)
            """, [item.database.blob, keptDrills])
    }

    private static func drill(_ row: Row, _ assertions: [Row]) throws -> Drill {
        var measure = DrillMeasure()
        measure.restoreSeconds = row["restore_seconds"]
        measure.restoredBytes = row["restored_bytes"]
        measure.checkSeconds = row["check_seconds"]
        measure.tableCount = row["table_count"]
        measure.rowCount = row["row_count"]
        measure.tablesPresent = row["tables_present"]
        measure.isCompared = row["is_compared"]
        measure.comparedWith = try row.optionalIdentifier("compared_with")
        measure.integrity = row["integrity"]
        measure.shrunkTables = row["shrunk_tables"]
        measure.vanishedTables = row["vanished_tables"]
        measure.largestDrop = row["largest_drop"]
        measure.foreignKeyViolations = row["foreign_key_violations"]
        measure.assertions = assertions.map { row in
            .init(name: row["name"], passed: row["passed"], value: row["value"], reason: row["reason"])
        }
        return Drill(
            run: try row.identifier("run"), snapshot: try row.identifier("snapshot"), at: row.time("at"),
            passed: row["passed"], measure: measure, reason: row["reason"])
    }
}
