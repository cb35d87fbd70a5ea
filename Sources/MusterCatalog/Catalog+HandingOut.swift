import Foundation
import GRDB
package import MusterModel

/// Which jobs an agent is given when it asks.
extension Catalog {
    /// What an agent says when it asks for work.
    package struct Asking: Hashable, Sendable {
        /// Drawn at each of its starts.
        package var boot: String
        /// What this life was given and has not ended; nil where the agent does not tell.
        package var atWork: Set<JobID>?

        package init(boot: String, atWork: Set<JobID>? = nil) { (self.boot, self.atWork) = (boot, atWork) }

        /// Whether the agent works on what was handed out to `life`.
        func has(_ job: JobID, ofLife life: String) -> Bool { life == boot && (atWork?.contains(job) ?? true) }
    }

    /// What was handed out so often and never ended ends its agent, or is lost each time.
    package static let mostHandOuts = 5

    /// Hands out what is queued for a node, and again what its agent does not work on: what an earlier life of it was
    /// given, or an answer that never came. That is any number of snapshots, but one inspection at a time.
    ///
    /// - Parameters:
    ///   - inspectionsAtOnce: so many nodes of the fleet inspect at the same time.
    ///   - isNewest: asked in the transaction; false where the agent has asked again since, and that gets the jobs.
    package func takeJobs(
        of node: NodeID, _ asking: Asking, limit: Int, inspectionsAtOnce: Int = .max, now: Timestamp,
        isNewest: @escaping @Sendable () -> Bool = { true }
    ) async throws(CatalogError) -> [Job] {
        @Sendable func open(_ database: GRDB.Database) throws -> [Job] {
            try Self.snapshotJobs(of: node, asking, limit, in: database)
                + Self.nextInspection(of: node, asking, atOnce: inspectionsAtOnce, now: now, in: database)
        }
        let waiting = try await read { try !open($0).isEmpty }
        // Most polls find nothing: they must not cost a durable write.
        guard waiting else { return [] }
        return try await write { database in
            guard isNewest() else { return [] }
            var jobs = try open(database)
            let spent = jobs.filter { $0.handOuts >= Self.mostHandOuts }
            for job in spent { try Self.giveUp(job, now: now, in: database) }
            if !spent.isEmpty { jobs = try open(database).filter { $0.handOuts < Self.mostHandOuts } }
            for index in jobs.indices {
                jobs[index].state = .running
                jobs[index].handOuts += 1
                try database.run(
                    "UPDATE job SET state = 'running', boot = ?, handed_out_at = ?, hand_outs = ? WHERE id = ?",
                    [asking.boot, now.microseconds, jobs[index].handOuts, jobs[index].id.blob])
            }
            return jobs
        }
    }

    private static func snapshotJobs(
        of node: NodeID, _ asking: Asking, _ limit: Int, in database: GRDB.Database
    ) throws -> [Job] {
        let atWork = try asking.atWork.map { ids in
            String(decoding: try JSONEncoder().encode(ids.map(\.description)), as: UTF8.self)
        }
        return try database.rows(openSnapshotJobs, [node.blob, asking.boot, atWork, limit]).map(job)
    }

    static let openSnapshotJobs =
        jobQuery + """
             WHERE j.node = ?1 AND j.kind = 'snapshot' AND j.state IN ('queued', 'running')
            AND (j.state = 'queued' OR j.boot <> ?2
                OR ?3 IS NOT NULL AND lower(hex(j.id)) NOT IN (SELECT value FROM json_each(?3)))
            ORDER BY j.number LIMIT ?4
            """

    private static func giveUp(_ job: Job, now: Timestamp, in database: GRDB.Database) throws {
        try fail(
            job, "node '\(job.nodeName)' was given the job \(job.handOuts) times and never said how it ended",
            hint: "Look in the agent's log for what ends it, such as memory that runs out, then ask again.", now: now,
            in: database)
    }
}
