import Foundation
import GRDB
package import MusterModel

/// Runs in detail: pages of their nodes and of their snapshots.
extension Catalog {
    package struct VerificationNode: Hashable, Sendable {
        package var node: NodeID
        package var name: String
        package var total: Int
        package var passed: Int
        package var failed: Int
        package var unfinished: Int
        package var bytesRead: Int64
        package var seconds: Double
        package var lastContactAt: Timestamp?
    }

    package struct VerificationItem: Hashable, Sendable {
        package var position: Int64
        package var snapshot: SnapshotID
        package var nodeName: String
        package var database: DatabaseID
        package var databaseName: String
        package var state: String
        package var at: Timestamp?
        package var seconds: Double
        package var bytesRead: Int64
    }

    /// Runs that go on, and what became of the snapshots in all runs since then.
    package struct VerificationCounts: Hashable, Sendable {
        package var open = 0
        package var waiting = 0
        package var passed = 0
        package var failed = 0
        package var unfinished = 0
    }

    package func verificationCounts(since time: Timestamp) async throws(CatalogError) -> VerificationCounts {
        try await read { database in
            var counts = VerificationCounts()
            for row in try database.rows(Self.recentRuns, [time.microseconds]) {
                let total: Int = row["total"]
                counts.passed += row["passed"]
                counts.failed += row["failed"]
                counts.unfinished += row["unfinished"]
                guard row["state"] == "running" else { continue }
                counts.open += 1
                counts.waiting += max(0, total - row["passed"] - row["failed"] - row["unfinished"])
            }
            return counts
        }
    }

    static let recentRuns = """
        SELECT state, total, passed, failed, unfinished FROM verification WHERE started_at >= ?1
        UNION ALL
        SELECT state, total, passed, failed, unfinished FROM verification WHERE state = 'running' AND started_at < ?1
        """

    /// Nodes of a run by name.
    ///
    /// - Parameter after: the name of the last one of the page before.
    package func nodes(
        in run: RunID, after: String = "", limit: Int
    ) async throws(CatalogError) -> [VerificationNode] {
        try await read { database in
            try Row.fetchAll(database, sql: Self.nodesInRun, arguments: [run.blob, after, limit]).map { row in
                VerificationNode(
                    node: try row.identifier("node"), name: row["name"], total: row["total"], passed: row["passed"],
                    failed: row["failed"], unfinished: row["unfinished"], bytesRead: row["bytes_read"],
                    seconds: row["seconds"], lastContactAt: row.optionalTime("last_contact_at"))
            }
        }
    }

    /// Snapshots of a run in its order.
    ///
    /// - Parameter after: the position of the last one of the page before.
    package func items(
        in run: RunID, node: NodeID? = nil, state: String? = nil, after: Int64 = -1, limit: Int
    ) async throws(CatalogError) -> [VerificationItem] {
        try await read { database in
            var sql = Self.itemsInRun
            var arguments: StatementArguments = [run.blob, after]
            if let state {
                sql += " AND i.state = ?"
                arguments += [state]
            }
            if let node {
                sql += " AND s.node = ?"
                arguments += [node.blob]
            }
            arguments += [limit]
            return try Row.fetchAll(database, sql: sql + " ORDER BY i.position LIMIT ?", arguments: arguments)
                .map { row in
                    VerificationItem(
                        position: row["position"], snapshot: try row.identifier("id"), nodeName: row["node_name"],
                        database: try row.identifier("database"), databaseName: row["database_name"],
                        state: row["state"], at: row.optionalTime("at"), seconds: row["seconds"],
                        bytesRead: row["bytes_read"])
                }
        }
    }

    static let nodesInRun = """
        SELECT v.*, n.name, n.last_contact_at FROM node n CROSS JOIN verification_node v ON v.run = ? AND v.node = n.id
        WHERE n.name > ? ORDER BY n.name LIMIT ?
        """
    static let itemsInRun = """
        SELECT i.*, s.id, s.database, d.name AS database_name, n.name AS node_name FROM verification_item i
        CROSS JOIN snapshot s ON s.number = i.snapshot JOIN database d ON d.id = s.database JOIN node n ON n.id = s.node
        WHERE i.run = ? AND i.position > ?
        """
}
