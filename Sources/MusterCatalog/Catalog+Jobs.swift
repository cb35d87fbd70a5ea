import Foundation
import GRDB
package import MusterModel

/// Work that agents are asked to do.
extension Catalog {
    package struct Job: Hashable, Sendable {
        package enum Kind: String, Sendable { case snapshot, verify }
        package enum State: String, Sendable {
            case queued, running, done, failed
            package var isFinal: Bool { self == .done || self == .failed }
        }

        package var id: JobID
        package var kind: Kind
        package var node: NodeID
        package var nodeName = ""
        package var database: DatabaseID
        package var databaseName = ""
        package var labels: [String: String] = [:]
        /// With `.verify`.
        package var snapshot: SnapshotID?
        package var level = ""
        package var run: RunID?
        package var state = State.queued
        package var createdAt: Timestamp
        package var finishedAt: Timestamp?
        package var outcomeSnapshot: SnapshotID?
        package var errorSummary = ""
        package var errorHint = ""
        /// How often it was handed out.
        package var handOuts = 0

        package init(id: JobID, kind: Kind, node: NodeID, database: DatabaseID, createdAt: Timestamp) {
            (self.id, self.kind, self.node) = (id, kind, node)
            (self.database, self.createdAt) = (database, createdAt)
        }
    }

    package func add(_ jobs: [Job], audit row: AuditRow? = nil) async throws(CatalogError) {
        try await write(auditing: row) { database in
            for job in jobs { try Self.insert(job, into: database) }
        }
    }

    package func job(_ id: JobID) async throws(CatalogError) -> Job? {
        try await read { database in
            try Row.fetchOne(database, sql: Self.jobQuery + " WHERE j.id = ?", arguments: [id.blob]).map(Self.job)
        }
    }

    /// Closes a job, and with it its part of a run; one that is closed already is left as it is.
    ///
    /// - Parameters:
    ///   - findings: of a verify job; a job that failed without one says nothing about the snapshot.
    ///   - drill: what a drill measured.
    ///   - refused: replicas that were refused while another one served.
    /// - Returns: the job as it now stands, or nil where the node has no such job.
    package func finish(
        _ id: JobID, of node: NodeID, state: Job.State, snapshot: SnapshotID?, findings: [Failing] = [],
        effort: Effort = Effort(), drill: DrillMeasure? = nil, refused: [Failing] = [], errorSummary: String,
        errorHint: String, now: Timestamp
    ) async throws(CatalogError) -> Job? {
        try await write { database in
            try database.execute(
                sql: """
                    UPDATE job SET state = ?, outcome_snapshot = ?, error_summary = ?, error_hint = ?, finished_at = ?
                    WHERE id = ? AND node = ? AND state IN ('queued', 'running')
                    """,
                arguments: [
                    state.rawValue, snapshot?.blob, errorSummary, errorHint, now.microseconds, id.blob, node.blob,
                ])
            let job = try Row.fetchOne(
                database, sql: Self.jobQuery + " WHERE j.id = ? AND j.node = ?", arguments: [id.blob, node.blob]
            ).map(Self.job)
            if let job { try Self.conclude(job, findings, effort, drill, refused, now: now, in: database) }
            return job
        }
    }

    /// Fails open jobs of which nothing was heard since `limit`, and what waits for them in a run is unfinished.
    ///
    /// A node that is in touch may work for longer; but an outcome that was lost on its way never
    /// comes, so a day is the most. An inspection that waits for its turn may wait for longer, and of a run that
    /// goes on the run's own patience counts: see `giveUp`.
    package func expireJobs(untouchedSince limit: Timestamp, now: Timestamp) async throws(CatalogError) -> [Job] {
        let arguments: StatementArguments = [
            limit.microseconds, limit.microseconds, limit.microseconds, (limit - Self.longestJob).microseconds,
        ]
        let due = try await read { database in
            try Row.fetchOne(database, sql: Self.oldJobs + " LIMIT 1", arguments: arguments) != nil
        }
        guard due else { return [] }
        return try await write { database in
            let jobs = try Row.fetchAll(database, sql: Self.oldJobs + " LIMIT 1000", arguments: arguments)
                .map(Self.job)
            for job in jobs {
                try Self.fail(
                    job, "node '\(job.nodeName)' did not finish the job in time", hint: Self.checkTheAgent, now: now,
                    in: database)
            }
            return jobs
        }
    }

    static let checkTheAgent = "Check that the agent runs and reaches the coordinator, then ask again."

    /// Closes a job that no agent will, and ends what waits for it.
    static func fail(
        _ job: Job, _ summary: String, hint: String, now: Timestamp, in database: GRDB.Database
    ) throws {
        try database.run(
            "UPDATE job SET state = 'failed', finished_at = ?, error_summary = ?, error_hint = ? WHERE id = ?",
            [now.microseconds, summary, hint, job.id.blob])
        var failed = job
        (failed.state, failed.finishedAt, failed.errorSummary, failed.errorHint) = (.failed, now, summary, hint)
        try conclude(failed, now: now, in: database)
    }

    /// Ends what still waits in a run for a job that is closed: what the job found was not kept.
    package func concludeClosedJobs(now: Timestamp) async throws(CatalogError) {
        try await write { database in
            for row in try Row.fetchAll(database, sql: Self.closedJobs) {
                var job = try Self.job(row)
                if job.state == .done { job.errorSummary = "the outcome of job \(job.id) was not kept" }
                job.state = .failed
                try Self.conclude(job, now: now, in: database)
            }
        }
    }

    /// Brings a closed verify job's outcome into its run.
    static func conclude(
        _ job: Job, _ findings: [Failing] = [], _ effort: Effort = Effort(), _ drill: DrillMeasure? = nil,
        _ refused: [Failing] = [], now: Timestamp, in database: GRDB.Database
    ) throws {
        if job.kind == .snapshot { return try concludeMember(job, now: now, in: database) }
        guard job.kind == .verify, let run = job.run, let snapshot = job.snapshot else { return }
        let outcome: ItemOutcome =
            findings.isEmpty && job.state == .failed
            ? .unfinished(reason: job.errorSummary) : .inspected(findings)
        try conclude(snapshot, in: run, outcome, effort, drill: drill, refused: refused, now: now, in: database)
    }

    static func insert(_ job: Job, into database: GRDB.Database) throws {
        try database.execute(
            sql: """
                INSERT INTO job(id, node, kind, database, snapshot, level, run, labels, state, boot, created_at,
                    error_summary, error_hint) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'queued', '', ?, '', '')
                """,
            arguments: [
                job.id.blob, job.node.blob, job.kind.rawValue, job.database.blob, job.snapshot?.blob, job.level,
                job.run?.blob, try LabelText.encode(job.labels), job.createdAt.microseconds,
            ])
    }

    static let jobQuery = """
        SELECT j.*, n.name AS node_name, d.name AS database_name FROM job j
        JOIN node n ON n.id = j.node JOIN database d ON d.id = j.database
        """
    private static let longestJob = Duration.seconds(24 * 3600)
    static let oldJobs =
        jobQuery + """
             WHERE j.state IN ('queued', 'running') AND j.created_at < ?
                AND coalesce(j.handed_out_at, j.created_at) < ?
                AND (coalesce(n.last_contact_at, n.joined_at) < ?
                        AND NOT EXISTS (SELECT 1 FROM verification v WHERE v.run = j.run AND v.state = 'running')
                    OR coalesce(j.handed_out_at, j.created_at) < ? AND (j.kind <> 'verify' OR j.state = 'running'))
            """
    private static let closedJobs =
        jobQuery + """
             JOIN verification_item i ON i.run = j.run AND i.state = 'waiting'
            JOIN snapshot s ON s.number = i.snapshot AND s.id = j.snapshot
            JOIN verification v ON v.run = j.run AND v.state = 'running'
            WHERE j.state IN ('done', 'failed')
            """

    static func job(_ row: Row) throws -> Job {
        var job = Job(
            id: try row.identifier("id"), kind: try row.word("kind"), node: try row.identifier("node"),
            database: try row.identifier("database"), createdAt: row.time("created_at"))
        job.nodeName = row["node_name"]
        job.databaseName = row["database_name"]
        job.labels = try LabelText.decode(row["labels"])
        job.snapshot = try row.optionalIdentifier("snapshot")
        job.level = row["level"]
        job.run = try row.optionalIdentifier("run")
        job.state = try row.word("state")
        job.finishedAt = row.optionalTime("finished_at")
        job.outcomeSnapshot = try row.optionalIdentifier("outcome_snapshot")
        job.errorSummary = row["error_summary"]
        job.errorHint = row["error_hint"]
        job.handOuts = row["hand_outs"]
        return job
    }
}
