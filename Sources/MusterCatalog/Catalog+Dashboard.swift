import Foundation
import GRDB
package import MusterModel

/// What the pages of the dashboard ask: each is a search of an index, and bounded.
extension Catalog {
    /// One snapshot as a point of a chart.
    package struct HistoryPoint: Hashable, Sendable {
        package let id: SnapshotID
        package let receivedAt: Timestamp
        package let createdAt: Timestamp
        package let sizeBytes: Int64
        package let storedBytes: Int64
    }

    /// The newest snapshots of a database that are not marked, oldest first.
    package func history(of database: DatabaseID, limit: Int) async throws(CatalogError) -> [HistoryPoint] {
        try await read { connection in
            try connection.rows(Self.historyQuery, [database.blob, limit]).map { row in
                HistoryPoint(
                    id: try row.identifier("id"), receivedAt: row.time("received_at"),
                    createdAt: row.time("created_at"), sizeBytes: row["size_bytes"], storedBytes: row["stored_bytes"])
            }.reversed()
        }
    }

    static let historyQuery = """
        SELECT id, received_at, created_at, size_bytes, stored_bytes FROM snapshot s
        WHERE s.database = ? AND s.expired_at IS NULL ORDER BY s.received_at DESC LIMIT ?
        """

    /// When a node's newest snapshots were received and what each of them added, oldest first.
    package func receipts(
        of node: NodeID, since: Timestamp, limit: Int
    ) async throws(CatalogError) -> [(receivedAt: Timestamp, storedBytes: Int64)] {
        try await read { connection in
            try connection.rows(Self.receiptsQuery, [node.blob, since.microseconds, limit]).map { row in
                (row.time("received_at"), row["stored_bytes"])
            }.reversed()
        }
    }

    static let receiptsQuery = """
        SELECT received_at, stored_bytes FROM snapshot s
        WHERE s.node = ? AND s.expired_at IS NULL AND s.received_at >= ? ORDER BY s.received_at DESC LIMIT ?
        """

    /// A run in a list; see `Verification`.
    package struct RunSummary: Hashable, Sendable {
        package let run: RunID
        package let level: VerificationLevel
        package let isFinished: Bool
        package let startedAt: Timestamp
        package let finishedAt: Timestamp?
        package let bytesRead: Int64
        package let total: Int
        package let passed: Int
        package let failed: Int
        package let unfinished: Int

        /// Those that still wait.
        package var waiting: Int { total - passed - failed - unfinished }
    }

    /// Runs, those that go on first, then the newest.
    ///
    /// - Parameter before: the start of the last one of the page before.
    package func runs(
        before: Timestamp?, limit: Int, onlyRunning: Bool = false
    ) async throws(CatalogError) -> [RunSummary] {
        try await read { connection in
            let sql = onlyRunning ? Self.runningQuery : Self.runsQuery
            return try connection.rows(sql, [before?.microseconds ?? Int64.max, limit]).map { row in
                RunSummary(
                    run: try row.identifier("run"), level: try row.word("level"),
                    isFinished: row["state"] == "finished", startedAt: row.time("started_at"),
                    finishedAt: row.optionalTime("finished_at"),
                    bytesRead: row["bytes_read"], total: row["total"], passed: row["passed"], failed: row["failed"],
                    unfinished: row["unfinished"])
            }
        }
    }

    static let runsQuery = runColumns + " WHERE v.started_at < ? ORDER BY v.started_at DESC LIMIT ?"
    static let runningQuery =
        runColumns + " WHERE v.state = 'running' AND v.started_at < ? ORDER BY v.started_at DESC LIMIT ?"

    private static let runColumns = "SELECT v.* FROM verification v"

    package struct SnapshotVerdict: Hashable, Sendable {
        package let run: RunID
        package let level: String
        package let passed: Bool
        package let at: Timestamp
    }

    /// What was found about a snapshot, the newest first.
    package func verdicts(of snapshot: Int64, limit: Int) async throws(CatalogError) -> [SnapshotVerdict] {
        try await read { connection in
            try connection.rows(Self.verdictsQuery, [snapshot, limit]).map { row in
                SnapshotVerdict(
                    run: try row.identifier("run"), level: row["level"], passed: row["passed"], at: row.time("at"))
            }
        }
    }

    static let verdictsQuery =
        "SELECT run, level, passed, at FROM verdict WHERE snapshot = ? ORDER BY at DESC, number DESC LIMIT ?"

    /// Jobs, the newest first, each with its place in the list.
    package func jobs(before: Int64?, limit: Int) async throws(CatalogError) -> [(number: Int64, job: Job)] {
        try await read { connection in
            try connection.rows(
                Self.jobQuery + " WHERE j.number < ? ORDER BY j.number DESC LIMIT ?", [before ?? Int64.max, limit]
            ).map { ($0["number"], try Self.job($0)) }
        }
    }
}
