import Foundation
import GRDB
package import MusterModel

/// How much of the fleet was inspected how long ago, and what is due.
extension Catalog {
    package struct LevelCoverage: Hashable, Sendable {
        package var level: VerificationLevel
        package var within: Int
        package var never: Int
        package var oldestAt: Timestamp?
    }

    package struct Coverage: Hashable, Sendable {
        /// Databases that active nodes protect.
        package var databases: Int
        package var levels: [LevelCoverage]
    }

    /// Counts over the databases' own columns, which change when verdicts land.
    ///
    /// - Parameter since: by level: what is older is not within the policy; where it is absent, any is.
    package func coverage(since: [VerificationLevel: Timestamp]) async throws(CatalogError) -> Coverage {
        let columns = VerificationLevel.allCases.map { level in
            let column = Self.column(of: level)
            let limit = since[level]?.microseconds ?? Int64.min
            return "count(*) FILTER (WHERE d.\(column) >= \(limit)), count(d.\(column)), min(d.\(column))"
        }
        let sql = """
            SELECT count(*), \(columns.joined(separator: ", ")) FROM database d
            JOIN node n ON n.id = d.node AND n.state = 'active' WHERE d.state <> '\(Self.removedState)'
            """
        return try await read { database in
            guard let row = try Row.fetchOne(database, sql: sql) else { throw CatalogError.damaged(column: "count") }
            let total: Int = row[0]
            let levels = VerificationLevel.allCases.enumerated().map { index, level in
                let oldest: Int64? = row[index * 3 + 3]
                return LevelCoverage(
                    level: level, within: row[index * 3 + 1], never: total - (row[index * 3 + 2] as Int),
                    oldestAt: oldest.map(Timestamp.init(microseconds:)))
            }
            return Coverage(databases: total, levels: levels)
        }
    }

    static func column(of level: VerificationLevel) -> String {
        switch level {
        case .check: "checked_at"
        case .scrub: "scrubbed_at"
        case .verify: "verified_at"
        case .drill: "drilled_at"
        }
    }

    /// Which databases are due for an inspection by their agents.
    package struct DueQuery: Sendable {
        package var level: VerificationLevel
        /// The newest passed one is older, or there is none.
        package var passedBefore: Timestamp
        /// The last try is older, or there was none.
        package var triedBefore: Timestamp
        /// Only of nodes that were heard of since.
        package var heardSince: Timestamp
        /// A node that has just joined takes its first snapshots first.
        package var joinedBefore: Timestamp
        package var limit: Int

        package init(
            level: VerificationLevel, passedBefore: Timestamp, triedBefore: Timestamp, heardSince: Timestamp,
            joinedBefore: Timestamp, limit: Int
        ) {
            (self.level, self.passedBefore, self.triedBefore) = (level, passedBefore, triedBefore)
            (self.heardSince, self.joinedBefore, self.limit) = (heardSince, joinedBefore, limit)
        }
    }

    /// One database for each node that has no inspection to do, the longest uninspected first.
    package func due(_ query: DueQuery) async throws(CatalogError) -> [Candidate] {
        try await read { database in
            try Row.fetchAll(
                database, sql: Self.dueInspections(query.level),
                arguments: [
                    query.passedBefore.microseconds, query.triedBefore.microseconds, Self.removedState,
                    query.heardSince.microseconds, query.joinedBefore.microseconds, query.limit,
                ]
            ).map { row in
                Candidate(
                    database: try row.identifier("id"), node: try row.identifier("node"),
                    snapshot: try row.optionalIdentifier("newest_snapshot"))
            }
        }
    }

    /// Bare columns are those of the row with the least value (sqlite.org/lang_select.html, 2.5).
    static func dueInspections(_ level: VerificationLevel) -> String {
        let column = column(of: level)
        return """
            SELECT d.id, d.node, d.newest_snapshot, min(coalesce(d.\(column), 0)) AS oldest FROM database d
            JOIN node n ON n.id = d.node
            WHERE (d.\(column) IS NULL OR d.\(column) < ?)
                AND (d.inspection_tried_at IS NULL OR d.inspection_tried_at < ?)
                AND d.newest_snapshot IS NOT NULL AND d.state <> ? AND n.state = 'active' AND n.last_contact_at >= ?
                AND n.joined_at <= ?
                AND NOT EXISTS (SELECT 1 FROM job j WHERE j.node = d.node AND j.kind = 'verify'
                    AND j.state IN ('queued', 'running'))
            GROUP BY d.node ORDER BY oldest LIMIT ?
            """
    }

    /// The scheduled run of that level that takes snapshots up, and since when.
    package func openSchedule(
        of level: VerificationLevel
    ) async throws(CatalogError) -> (run: RunID, startedAt: Timestamp)? {
        try await read { database in
            try Row.fetchOne(
                database,
                sql: """
                    SELECT run, started_at FROM verification
                    WHERE state = 'running' AND is_filling AND scope = ? AND level = ?
                    """, arguments: [VerificationScope.schedule, level.rawValue]
            ).map { (try $0.identifier("run"), $0.time("started_at")) }
        }
    }

    /// Jobs of inspections that wait or are under way.
    package func openInspections() async throws(CatalogError) -> Int {
        try await read { database in
            try Int.fetchOne(
                database,
                sql: """
                    SELECT (SELECT count(*) FROM job WHERE kind = 'verify' AND state = 'queued')
                        + (SELECT count(*) FROM job WHERE kind = 'verify' AND state = 'running')
                    """) ?? 0
        }
    }
}
