import Foundation
import GRDB
package import MusterModel

/// Work that is long over is forgotten: jobs, and runs with all that is in them.
///
/// What they found stays where it counts: a snapshot's newest verdicts, a database's drills, the audit.
extension Catalog {
    /// How long work is kept after its end.
    package static let keptWork = Duration.seconds(90 * 86_400)
    private static let jobsAtOnce = 500
    private static let rowsAtOnce = 2000

    /// Forgets some of what ended before that time, in one short transaction.
    ///
    /// - Returns: whether there may be more.
    package func forgetWork(endedBefore limit: Timestamp) async throws(CatalogError) -> Bool {
        let isDue = try await read { database in
            try database.row(Self.oldClosedJobs, [limit.microseconds, 1]) != nil
                || database.row(Self.oldRuns, [limit.microseconds]) != nil
        }
        guard isDue else { return false }
        return try await write { database in
            let jobs = try database.rows(Self.oldClosedJobs, [limit.microseconds, Self.jobsAtOnce])
            for job in jobs { try database.run("DELETE FROM job WHERE number = ?", [job["number"] as Int64]) }
            guard let run = try database.row(Self.oldRuns, [limit.microseconds]) else { return true }
            try Self.forget(run["run"], in: database)
            return true
        }
    }

    /// Takes some rows of a run away, and with the last of them the run.
    private static func forget(_ run: Data, in database: GRDB.Database) throws {
        var left = rowsAtOnce
        for statement in partsOfRuns {
            try database.run(statement, [run, left])
            left -= database.changesCount
            // The rest comes with the next step.
            guard left > 0 else { return }
        }
        try database.run("DELETE FROM verification WHERE run = ?", [run])
    }

    private static let partsOfRuns = [
        """
        DELETE FROM verification_item WHERE run = ?1 AND position IN
            (SELECT position FROM verification_item WHERE run = ?1 LIMIT ?2)
        """,
        "DELETE FROM finding WHERE number IN (SELECT number FROM finding WHERE run = ?1 LIMIT ?2)",
        "DELETE FROM refused_replica WHERE number IN (SELECT number FROM refused_replica WHERE run = ?1 LIMIT ?2)",
        """
        DELETE FROM inspected_object WHERE run = ?1 AND (object, store) IN
            (SELECT object, store FROM inspected_object WHERE run = ?1 LIMIT ?2)
        """,
        """
        DELETE FROM verification_node WHERE run = ?1 AND node IN
            (SELECT node FROM verification_node WHERE run = ?1 LIMIT ?2)
        """,
    ]

    static let oldClosedJobs = """
        SELECT number FROM job INDEXED BY job_closed_by_end
        WHERE state IN ('done', 'failed') AND finished_at < ? ORDER BY finished_at LIMIT ?
        """
    /// Not while a failure stands that it found: what heals goes by the run and its findings.
    static let oldRuns = """
        SELECT v.run FROM verification v WHERE v.started_at < ?1 AND v.state = 'finished' AND v.finished_at < ?1
            AND NOT EXISTS (SELECT 1 FROM finding f JOIN snapshot s ON s.number = f.snapshot
                WHERE f.run = v.run AND s.verdict LIKE 'failed%' AND s.forgotten_at IS NULL)
        ORDER BY v.started_at LIMIT 1
        """

    /// Forgets what a snapshot's newer verdict of the same kind says again. Each newest one stays, passed and failed.
    static func forgetVerdicts(
        before number: Int64, of snapshot: Int64, _ level: VerificationLevel, passed: Bool, now: Timestamp,
        in database: GRDB.Database
    ) throws {
        try database.run(
            "DELETE FROM verdict WHERE snapshot = ? AND at < ? AND level = ? AND passed = ? AND number < ?",
            [snapshot, (now - keptWork).microseconds, level.rawValue, passed, number])
    }
}
