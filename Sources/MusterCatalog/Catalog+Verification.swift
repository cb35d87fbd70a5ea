import Foundation
import GRDB
package import MusterModel

/// Verification runs: which snapshots, how far, what was found.
///
/// All of a run's state is here, so a restart goes on where the last life stopped.
extension Catalog {
    package struct Verification: Hashable, Sendable {
        package var run: RunID
        package var level: VerificationLevel
        /// What it is over, in words for people.
        package var scope: String
        package var actor: String
        package var patience: Duration
        package var isFinished: Bool
        /// Snapshots are still added.
        package var isFilling: Bool
        package var passed: Int
        package var failedCount: Int
        package var unfinished: Int
        package var total: Int
        package var failed: [Finding]
        /// Where to go on with `failed`; 0 at the end.
        package var nextFinding: Int64
        package var startedAt: Timestamp
        package var finishedAt: Timestamp?
        package var bytesRead: Int64
        package var waiting: [SnapshotID]
        /// Replicas that were refused while another one served: nothing failed by them. The first `findingsAtOnce`.
        package var refused: [Finding] = []

        package var waitingCount: Int { max(0, total - passed - failedCount - unfinished) }
    }

    /// What did not pass, and whose it is.
    package struct Finding: Hashable, Sendable {
        package var failing: Failing
        package var nodeName: String
        package var databaseName: String
    }

    /// So many findings are read at once.
    package static let findingsAtOnce = 1000
    private static let shownWaiting = 1000

    package func verification(
        _ run: RunID, findingsAfter: Int64 = 0
    ) async throws(CatalogError) -> Verification? {
        try await read { database in
            let row = try Row.fetchOne(
                database, sql: "SELECT * FROM verification WHERE run = ?", arguments: [run.blob])
            guard let row else { return nil }
            var verification = try Self.verification(row)
            let waiting = try Row.fetchAll(
                database, sql: Self.waitingQuery + " LIMIT \(Self.shownWaiting)", arguments: [run.blob])
            verification.waiting = try waiting.map { try $0.identifier("id") }
            let findings = try Row.fetchAll(
                database, sql: Self.findingQuery, arguments: [run.blob, findingsAfter, Self.findingsAtOnce])
            verification.failed = try findings.map(Self.finding)
            verification.refused = try database.rows(Self.refusedQuery, [run.blob, Self.findingsAtOnce])
                .map(Self.finding)
            if findings.count == Self.findingsAtOnce { verification.nextFinding = findings.last?["number"] ?? 0 }
            return verification
        }
    }

    /// Runs of the fleet, the newest first, without what was found in them.
    ///
    /// - Parameter after: the last one of the page before.
    package func verifications(after: RunID? = nil, limit: Int) async throws(CatalogError) -> [Verification] {
        try await read { database in
            let last = try after.flatMap { run in
                try Row.fetchOne(
                    database, sql: "SELECT started_at, run FROM verification WHERE run = ?", arguments: [run.blob])
            }
            let (time, run): (Int64, Data) = last.map { ($0[0], $0[1]) } ?? (Int64.max, Data())
            return try Row.fetchAll(database, sql: Self.verificationList, arguments: [time, run, limit])
                .map(Self.verification)
        }
    }

    /// Runs that the coordinator itself has to go on with.
    package func unfinishedRuns() async throws(CatalogError) -> [UnfinishedRun] {
        try await read { database in
            try Row.fetchAll(
                database, sql: "SELECT run, level, scope FROM verification WHERE state = 'running' ORDER BY started_at"
            ).map {
                UnfinishedRun(
                    run: try $0.identifier("run"), level: try $0.word("level"),
                    isOfSnapshots: $0["scope"] == VerificationScope.snapshots)
            }
        }
    }

    package struct UnfinishedRun: Hashable, Sendable {
        package let run: RunID
        package let level: VerificationLevel
        /// Over a list of snapshots, and not over a node or the fleet.
        package let isOfSnapshots: Bool
    }

    /// The first snapshot of a run that waits for its inspection.
    ///
    /// - Parameter position: of the one before, where that is passed over.
    package func nextWaiting(
        in run: RunID, after position: Int64? = nil
    ) async throws(CatalogError) -> (snapshot: SnapshotID, position: Int64)? {
        try await read { database in
            try database.row(Self.nextWaitingQuery, [run.blob, position ?? -1])
                .map { (try $0.identifier("id"), $0["position"]) }
        }
    }

    /// The reason a run found an object wanting, "" if it was sound, nil if it was not read yet.
    ///
    /// - Parameter object: its physical name, which is never used again.
    package func inspection(of object: String, store: Int64, in run: RunID) async throws(CatalogError) -> String? {
        try await read { database in
            try String.fetchOne(
                database, sql: "SELECT reason FROM inspected_object WHERE run = ? AND object = ? AND store = ?",
                arguments: [run.blob, object, store])
        }
    }

    package func record(
        _ reason: String, of object: String, store: Int64, bytesRead: Int64, in run: RunID
    ) async throws(CatalogError) {
        try await write { database in
            try database.execute(
                sql: "INSERT INTO inspected_object VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                arguments: [run.blob, object, store, reason])
            try database.execute(
                sql: "UPDATE verification SET bytes_read = bytes_read + ? WHERE run = ?",
                arguments: [bytesRead, run.blob])
        }
    }

    /// A database with snapshots of which a failure stands: the newest of them, and what it failed.
    package struct DamagedDatabase: Hashable, Sendable {
        package let database: DatabaseID
        package let snapshot: SnapshotID
        package let level: VerificationLevel
    }

    package func damagedDatabases() async throws(CatalogError) -> [DamagedDatabase] {
        try await read { database in
            try Row.fetchAll(database, sql: Self.damagedQuery).map {
                DamagedDatabase(
                    database: try $0.identifier("database"), snapshot: try $0.identifier("id"),
                    level: try $0.word("level"))
            }
        }
    }

    static let damagedQuery = """
        SELECT s.database, s.id, substr(s.verdict, 8) AS level, max(s.number)
        FROM snapshot s INDEXED BY snapshot_damaged
        WHERE s.verdict LIKE 'failed%' AND s.forgotten_at IS NULL GROUP BY s.database
        """
    static let waitingQuery = """
        SELECT s.id FROM verification_item i JOIN snapshot s ON s.number = i.snapshot
        WHERE i.run = ? AND i.state = 'waiting' ORDER BY i.position
        """
    static let nextWaitingQuery = """
        SELECT s.id, i.position FROM verification_item i JOIN snapshot s ON s.number = i.snapshot
        WHERE i.run = ? AND i.state = 'waiting' AND i.position > ? ORDER BY i.position LIMIT 1
        """
    static let verificationList = """
        SELECT * FROM verification WHERE (started_at, run) < (?, ?) ORDER BY started_at DESC, run DESC LIMIT ?
        """
    static let findingQuery = """
        SELECT f.number, s.id, f.store, f.object, f.reason, d.name AS database_name, n.name AS node_name FROM finding f
        JOIN database d ON d.id = f.database JOIN node n ON n.id = d.node
        LEFT JOIN snapshot s ON s.number = f.snapshot
        WHERE f.run = ? AND f.number > ? ORDER BY f.number LIMIT ?
        """

    static let refusedQuery = """
        SELECT f.number, s.id, f.store, f.object, f.reason, d.name AS database_name, n.name AS node_name
        FROM refused_replica f
        JOIN database d ON d.id = f.database JOIN node n ON n.id = d.node LEFT JOIN snapshot s ON s.number = f.snapshot
        WHERE f.run = ? ORDER BY f.number LIMIT ?
        """

    private static func verification(_ row: Row) throws -> Verification {
        Verification(
            run: try row.identifier("run"), level: try row.word("level"), scope: row["scope"], actor: row["actor"],
            patience: .microseconds(row["patience"] as Int64), isFinished: row["state"] == "finished",
            isFilling: row["is_filling"], passed: row["passed"], failedCount: row["failed"],
            unfinished: row["unfinished"], total: row["total"], failed: [], nextFinding: 0,
            startedAt: row.time("started_at"), finishedAt: row.optionalTime("finished_at"),
            bytesRead: row["bytes_read"], waiting: [])
    }

    private static func finding(_ row: Row) throws -> Finding {
        let snapshot: SnapshotID? = try row.optionalIdentifier("id")
        return Finding(
            failing: Failing(
                snapshot: snapshot?.description ?? "", store: row["store"], object: row["object"],
                reason: row["reason"]),
            nodeName: row["node_name"], databaseName: row["database_name"])
    }
}
