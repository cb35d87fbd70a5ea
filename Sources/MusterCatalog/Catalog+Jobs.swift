import Foundation
import GRDB
package import MusterModel

/// Work that agents are asked to do.
extension Catalog {
    package struct Job: Hashable, Sendable {
        package enum Kind: String, Sendable { case snapshot, verify }
        package enum State: String, Sendable { case queued, running, done, failed }

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

        package init(id: JobID, kind: Kind, node: NodeID, database: DatabaseID, createdAt: Timestamp) {
            (self.id, self.kind, self.node) = (id, kind, node)
            (self.database, self.createdAt) = (database, createdAt)
        }
    }

    package func add(_ jobs: [Job]) async throws(CatalogError) {
        try await write { database in
            for job in jobs { try Self.insert(job, into: database) }
        }
    }

    package func job(_ id: JobID) async throws(CatalogError) -> Job? {
        try await read { database in
            try Row.fetchOne(database, sql: Self.jobQuery + " WHERE j.id = ?", arguments: [id.blob]).map(Self.job)
        }
    }

    /// Hands out what is queued for a node, and what an earlier life of its agent was given.
    ///
    /// - Parameter isNewest: asked in the transaction; false where a later life has asked, which gets the jobs.
    package func takeJobs(
        of node: NodeID, boot: String, limit: Int, isNewest: @escaping @Sendable () -> Bool = { true }
    ) async throws(CatalogError) -> [Job] {
        let waiting = try await read { database in
            try Row.fetchOne(database, sql: Self.openJobs + " LIMIT 1", arguments: [node.blob, boot]) != nil
        }
        // Most polls find nothing: they must not cost a durable write.
        guard waiting else { return [] }
        return try await write { database in
            guard isNewest() else { return [] }
            let rows = try Row.fetchAll(
                database, sql: Self.openJobs + " ORDER BY j.number LIMIT ?", arguments: [node.blob, boot, limit])
            var jobs = try rows.map(Self.job)
            for index in jobs.indices {
                jobs[index].state = .running
                try database.execute(
                    sql: "UPDATE job SET state = 'running', boot = ? WHERE id = ?",
                    arguments: [boot, jobs[index].id.blob])
            }
            return jobs
        }
    }

    /// Closes a job; one that is closed already is left as it is.
    ///
    /// - Returns: the job as it now stands, or nil where the node has no such job.
    package func finish(
        _ id: JobID, of node: NodeID, state: Job.State, snapshot: SnapshotID?, errorSummary: String, errorHint: String,
        now: Timestamp
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
            return try Row.fetchOne(
                database, sql: Self.jobQuery + " WHERE j.id = ? AND j.node = ?", arguments: [id.blob, node.blob]
            ).map(Self.job)
        }
    }

    /// Fails open jobs made before `limit`; they are named so that their runs can go on.
    package func expireJobs(madeBefore limit: Timestamp, now: Timestamp) async throws(CatalogError) -> [Job] {
        let due = try await read { database in
            try Row.fetchOne(database, sql: Self.oldJobs + " LIMIT 1", arguments: [limit.microseconds]) != nil
        }
        guard due else { return [] }
        return try await write { database in
            let jobs = try Row.fetchAll(database, sql: Self.oldJobs + " LIMIT 1000", arguments: [limit.microseconds])
                .map(Self.job)
            for job in jobs {
                try database.execute(
                    sql: """
                        UPDATE job SET state = 'failed', finished_at = ?, error_summary = ?, error_hint = ? WHERE id = ?
                        """,
                    arguments: [
                        now.microseconds, "node '\(job.nodeName)' did not finish the job in time",
                        "Check that the agent runs and reaches the coordinator, then ask again.", job.id.blob,
                    ])
            }
            return jobs
        }
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
    static let openJobs =
        jobQuery + " WHERE j.node = ? AND j.state IN ('queued', 'running') AND (j.state = 'queued' OR j.boot <> ?)"
    static let oldJobs = jobQuery + " WHERE j.state IN ('queued', 'running') AND j.created_at < ?"

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
        return job
    }
}
