import Foundation
import GRDB
package import MusterModel

/// Failures that stand although what they name was healed: which snapshots are to be inspected again.
extension Catalog {
    package struct HealedFailure: Hashable, Sendable {
        package let candidate: Candidate
        /// Of the inspection that has to pass before the failure is lifted.
        package let level: VerificationLevel
    }

    private static let lookedAtOnce = 500

    /// Snapshots of which a failure stands that names stored objects, all of which are whole again by what the catalog
    /// knows; oldest first, and without those that such an inspection waits for already, or was tried on since.
    ///
    /// What was found in a rebuilt database itself, or by its owner's assertions, no repair changes. Where the run that
    /// found it is not known, as in the catalog of a coordinator that was rebuilt, nobody can say what it was: then it is
    /// inspected once more, and that run is known.
    /// - Parameters:
    ///   - number: of the last snapshot that was looked at, 0 to begin with: they may be many.
    ///   - repairedAt: a run that began later met what was repaired; until then also a lack that names no object counts.
    ///   - rested: what failed in runs that began before may be tried again, whatever was repaired.
    /// - Returns: where to go on; 0 at the end.
    package func healedFailures(
        after number: Int64, repairedAt: Timestamp, rested: Timestamp
    ) async throws(CatalogError) -> (healed: [HealedFailure], last: Int64) {
        try await read { database in
            var healed: [HealedFailure] = []
            let rows = try database.rows(
                Self.standingFailureQuery, [number, max(repairedAt, rested).microseconds, Self.lookedAtOnce])
            for row in rows {
                let failure = HealedFailure(
                    candidate: Candidate(
                        database: try row.identifier("database"), node: try row.identifier("node"),
                        snapshot: try row.identifier("id")),
                    level: try row.word("level"))
                let objects = try database.rows(
                    "SELECT object FROM finding WHERE snapshot = ? AND run = ?",
                    [row["number"] as Int64, row["run"] as Data]
                ).map { $0["object"] as String }
                let isOfLostRun: Bool = row["is_of_lost_run"]
                let isHealed =
                    try isOfLostRun
                    || !objects.isEmpty
                        && objects.allSatisfy { object in
                            guard !object.isEmpty else {
                                return failure.level <= .scrub && row.time("started_at") <= repairedAt
                            }
                            return try Self.isWhole(object, of: failure, database)
                        }
                if isHealed { healed.append(failure) }
            }
            return (healed, rows.count < Self.lookedAtOnce ? 0 : rows.last?["number"] ?? 0)
        }
    }

    /// The stores are whole where all replicas are; a database comes back where one is.
    ///
    /// - Parameter object: as the coordinator or an agent names it.
    private static func isWhole(
        _ object: String, of failure: HealedFailure, _ database: GRDB.Database
    ) throws -> Bool {
        let states: [ReplicaState]
        if let pack = object.firstMatch(of: #/[0-9a-f]{64}/#).flatMap({ PackID($0.output) }) {
            states = try replicas(of: pack, in: nil, in: database).map(\.state)
        } else if object.hasPrefix("nodes/") {
            states = try database.rows(
                "SELECT state FROM key_replica WHERE node = ?", [failure.candidate.node.blob]
            ).map { try $0.word("state") }
        } else {
            // The snapshot itself, or one that it is based on.
            let ids = object.matches(of: #/[0-9a-f]{32}/#).compactMap { SnapshotID($0.output) }
            states = try ids.flatMap { id in
                try database.rows(Self.recordStatesQuery, [id.blob]).flatMap { row in
                    [try row.word("state"), try row.word("receipt_state")] as [ReplicaState]
                }
            }
        }
        guard failure.level <= .scrub else { return states.contains(.present) }
        return !states.isEmpty && states.allSatisfy { $0 == .present }
    }

    private static let recordStatesQuery = """
        SELECT r.state, r.receipt_state FROM snapshot s JOIN manifest_replica r ON r.snapshot = s.number WHERE s.id = ?
        """
    /// The newest failure of each snapshot as deep as the one that stands. The pattern names the index of the few
    /// that failed. A check that failed is repeated by a scrub, so that is what may wait already.
    static let standingFailureQuery = """
        SELECT s.number, s.id, s.database, s.node, v.run, v.level, coalesce(b.started_at, v.began_at, v.at) AS started_at,
            b.run IS NULL AS is_of_lost_run
        FROM snapshot s INDEXED BY snapshot_damaged
        CROSS JOIN verdict v ON v.number = (SELECT f.number FROM verdict f WHERE f.snapshot = s.number
            AND NOT f.passed AND s.verdict = 'failed ' || f.level ORDER BY f.number DESC LIMIT 1)
        LEFT JOIN verification b ON b.run = v.run
        CROSS JOIN node n ON n.id = s.node AND (n.state = 'active' OR v.level IN ('check', 'scrub'))
        WHERE s.verdict LIKE 'failed%' AND s.number > ?1 AND s.forgotten_at IS NULL
            AND coalesce(b.started_at, v.began_at, v.at) <= ?2
            AND NOT EXISTS (SELECT 1 FROM verification_item i CROSS JOIN verification r ON r.run = i.run
                WHERE i.snapshot = s.number AND i.run <> v.run
                    AND r.level = CASE v.level WHEN 'check' THEN 'scrub' ELSE v.level END
                    AND (i.state = 'waiting' OR r.started_at >= ?2))
        ORDER BY s.number LIMIT ?3
        """
}
