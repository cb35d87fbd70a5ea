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
        package var isFinished: Bool
        package var passed: Int
        package var total: Int
        package var failed: [Failing]
        package var startedAt: Timestamp
        package var finishedAt: Timestamp?
        package var bytesRead: Int64
        package var waiting: [SnapshotID]
    }

    /// What became of one snapshot in a run.
    package enum ItemOutcome: Sendable {
        /// It was inspected; no findings mean that it passed.
        case inspected([Failing])
        /// It was not: that counts against the run, but says nothing about the snapshot.
        case unfinished(reason: String)
    }

    /// Begins a run over these snapshots; `jobs` hand the work to agents.
    package func begin(
        _ run: RunID, level: VerificationLevel, snapshots: [SnapshotID], jobs: [Job], now: Timestamp
    ) async throws(CatalogError) {
        try await write { database in
            try database.execute(
                sql: "INSERT INTO verification(run, level, state, started_at) VALUES (?, ?, 'running', ?)",
                arguments: [run.blob, level.rawValue, now.microseconds])
            for (position, snapshot) in snapshots.enumerated() {
                try database.execute(
                    sql: """
                        INSERT INTO verification_item(run, position, snapshot, state)
                        SELECT ?, ?, number, 'waiting' FROM snapshot WHERE id = ?
                        """,
                    arguments: [run.blob, position, snapshot.blob])
            }
            for job in jobs { try Self.insert(job, into: database) }
        }
    }

    package func verification(_ run: RunID) async throws(CatalogError) -> Verification? {
        try await read { database in
            let row = try Row.fetchOne(database, sql: Self.verificationQuery, arguments: [run.blob])
            guard let row else { return nil }
            let waiting = try Row.fetchAll(
                database, sql: Self.waitingQuery + " LIMIT 1000", arguments: [run.blob])
            let failed = try Row.fetchAll(
                database,
                sql: """
                    SELECT s.id, f.store, f.object, f.reason FROM finding f JOIN snapshot s ON s.number = f.snapshot
                    WHERE f.run = ? ORDER BY f.number
                    """, arguments: [run.blob])
            return Verification(
                run: run, level: try row.word("level"), isFinished: row["state"] == "finished", passed: row["passed"],
                total: row["total"],
                failed: try failed.map { row in
                    let id: SnapshotID = try row.identifier("id")
                    return Failing(
                        snapshot: "\(id)", store: row["store"], object: row["object"], reason: row["reason"])
                },
                startedAt: row.time("started_at"), finishedAt: row.optionalTime("finished_at"),
                bytesRead: row["bytes_read"], waiting: try waiting.map { try $0.identifier("id") })
        }
    }

    /// Runs that the coordinator itself has to go on with.
    package func unfinishedRuns() async throws(CatalogError) -> [(run: RunID, level: VerificationLevel)] {
        try await read { database in
            try Row.fetchAll(
                database, sql: "SELECT run, level FROM verification WHERE state = 'running' ORDER BY started_at"
            ).map { (try $0.identifier("run"), try $0.word("level")) }
        }
    }

    package func nextWaiting(in run: RunID) async throws(CatalogError) -> SnapshotID? {
        try await read { database in
            try Row.fetchOne(database, sql: Self.waitingQuery + " LIMIT 1", arguments: [run.blob])
                .map { try $0.identifier("id") }
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

    /// Closes one snapshot of a run with its verdict, and the run with its last snapshot.
    ///
    /// A snapshot that is closed already keeps its verdict.
    package func conclude(
        _ snapshot: SnapshotID, in run: RunID, _ outcome: ItemOutcome, bytesRead: Int64, now: Timestamp
    ) async throws(CatalogError) {
        try await write { database in
            try Self.conclude(snapshot, in: run, outcome, bytesRead: bytesRead, now: now, in: database)
        }
    }

    static func conclude(
        _ snapshot: SnapshotID, in run: RunID, _ outcome: ItemOutcome, bytesRead: Int64, now: Timestamp,
        in database: GRDB.Database
    ) throws {
        let row = try Row.fetchOne(
            database,
            sql: """
                SELECT s.number, s.database, v.level FROM verification_item i
                JOIN snapshot s ON s.number = i.snapshot JOIN verification v ON v.run = i.run
                WHERE s.id = ? AND i.run = ? AND i.state = 'waiting'
                """, arguments: [snapshot.blob, run.blob])
        guard let row else { return }
        let number: Int64 = row["number"]
        switch outcome {
        case .inspected(let findings):
            let level: VerificationLevel = try row.word("level")
            try insert(findings, of: number, in: run, into: database)
            try insertVerdict(of: number, level, run, passed: findings.isEmpty, now: now, into: database)
            if findings.isEmpty, level >= .verify {
                try setVerified(number, of: try row.identifier("database"), now: now, in: database)
            }
            try close(run, after: number, as: findings.isEmpty ? "passed" : "failed", bytesRead, now: now, in: database)
        case .unfinished(let reason):
            let finding = Failing(
                snapshot: snapshot.description, store: "", object: "", reason: "not verified: \(reason)")
            try insert([finding], of: number, in: run, into: database)
            try close(run, after: number, as: "unfinished", bytesRead, now: now, in: database)
        }
    }

    private static func setVerified(
        _ snapshot: Int64, of id: DatabaseID, now: Timestamp, in database: GRDB.Database
    ) throws {
        try database.execute(
            sql: "UPDATE snapshot SET verified_at = ? WHERE number = ?", arguments: [now.microseconds, snapshot])
        try database.execute(
            sql: "UPDATE database SET verified_at = ? WHERE id = ?", arguments: [now.microseconds, id.blob])
    }

    /// Databases with a snapshot of which a failure stands, and one such snapshot.
    package func damagedDatabases() async throws(CatalogError) -> [(database: DatabaseID, snapshot: SnapshotID)] {
        try await read { database in
            try Row.fetchAll(database, sql: Self.damagedQuery).map {
                (try $0.identifier("database"), try $0.identifier("id"))
            }
        }
    }

    static let damagedQuery = """
        SELECT s.database, s.id, max(s.number) FROM snapshot s WHERE s.verdict LIKE 'failed%' AND s.forgotten_at IS NULL GROUP BY s.database
        """
    private static let verificationQuery = """
        SELECT v.*, (SELECT count(*) FROM verification_item i WHERE i.run = v.run) AS total,
            (SELECT count(*) FROM verification_item i WHERE i.run = v.run AND i.state = 'passed') AS passed
        FROM verification v WHERE v.run = ?
        """
    static let waitingQuery = """
        SELECT s.id FROM verification_item i JOIN snapshot s ON s.number = i.snapshot
        WHERE i.run = ? AND i.state = 'waiting' ORDER BY i.position
        """

    private static func insert(
        _ findings: [Failing], of snapshot: Int64, in run: RunID, into database: GRDB.Database
    ) throws {
        for finding in findings {
            try database.execute(
                sql: "INSERT INTO finding(run, snapshot, store, object, reason) VALUES (?, ?, ?, ?, ?)",
                arguments: [run.blob, snapshot, finding.store, finding.object, finding.reason])
        }
    }

    /// The level of the newest failure that no inspection since has lifted.
    ///
    /// Only one of the same depth or a deeper one lifts it, and only one that began after it was
    /// found. What was found in the stores is lifted by what the coordinator read itself, not by a node's word.
    private static func standingFailure(of snapshot: Int64, in database: GRDB.Database) throws -> String? {
        try String.fetchOne(
            database,
            sql: """
                SELECT f.level FROM verdict f WHERE f.snapshot = ? AND NOT f.passed AND NOT EXISTS
                    (SELECT 1 FROM verdict p JOIN verification v ON v.run = p.run
                    WHERE p.snapshot = f.snapshot AND p.passed AND v.started_at >= f.at
                        AND (f.level, p.level) IN (VALUES ('check', 'check'), ('check', 'scrub'), ('scrub', 'scrub'),
                            ('verify', 'verify'), ('verify', 'drill'), ('drill', 'drill')))
                ORDER BY f.number DESC LIMIT 1
                """, arguments: [snapshot])
    }

    private static func insertVerdict(
        of snapshot: Int64, _ level: VerificationLevel, _ run: RunID, passed: Bool, now: Timestamp,
        into database: GRDB.Database
    ) throws {
        try database.execute(
            sql: "INSERT INTO verdict(snapshot, run, level, passed, at) VALUES (?, ?, ?, ?, ?)",
            arguments: [snapshot, run.blob, level.rawValue, passed, now.microseconds])
        let standing = try standingFailure(of: snapshot, in: database)
        try database.execute(
            sql: "UPDATE snapshot SET verdict = ? WHERE number = ?",
            arguments: [standing.map { "failed \($0)" } ?? "passed \(level.rawValue)", snapshot])
    }

    private static func close(
        _ run: RunID, after snapshot: Int64, as state: String, _ bytesRead: Int64, now: Timestamp,
        in database: GRDB.Database
    ) throws {
        try database.execute(
            sql: "UPDATE verification_item SET state = ? WHERE run = ? AND snapshot = ?",
            arguments: [state, run.blob, snapshot])
        try database.execute(
            sql: "UPDATE verification SET bytes_read = bytes_read + ? WHERE run = ?", arguments: [bytesRead, run.blob])
        try database.execute(
            sql: """
                UPDATE verification SET state = 'finished', finished_at = ?1 WHERE run = ?2 AND NOT EXISTS
                    (SELECT 1 FROM verification_item WHERE run = ?2 AND state = 'waiting')
                """, arguments: [now.microseconds, run.blob])
    }
}
