import Foundation
import GRDB
package import MusterModel

/// What the scrub of the stores, which goes by replicas, says of the databases.
extension Catalog {
    /// Brings some databases' time of scrub up to what their replicas say: all that the newest snapshot needs was read
    /// again no longer ago, in every store that has it.
    ///
    /// What is bad anywhere leaves the time as it was. So does what was only hashed when it came: as long as something
    /// is no older than its lineage, a scrub has not come to it.
    /// - Returns: the last database that was looked at; nil at the end.
    package func deriveScrubs(after: DatabaseID?, limit: Int) async throws(CatalogError) -> DatabaseID? {
        let found = try await read { database in
            try database.rows(Self.scrubbableQuery, [after?.blob ?? Data(), Self.removedState, limit]).map { row in
                let id: DatabaseID = try row.identifier("id")
                let arguments: StatementArguments = [
                    row["lineage"] as Data, row["sequence"] as Int64, row["number"] as Int64, row["node"] as Data,
                ]
                guard let ages = try database.row(Self.scrubAgeQuery, arguments), !(ages["is_bad"] as Bool),
                    let oldest = ages.optionalTime("oldest"), oldest > row.time("started_at"),
                    row.optionalTime("scrubbed_at").map({ $0 < oldest }) ?? true
                else { return (id, Timestamp?.none) }
                return (id, oldest)
            }
        }
        let changed = found.compactMap { id, oldest in oldest.map { (id, $0) } }
        if !changed.isEmpty {
            try await write { database in
                for (id, oldest) in changed {
                    try database.run(
                        """
                        UPDATE database SET scrubbed_at = max(coalesce(scrubbed_at, 0), ?1),
                            checked_at = max(coalesce(checked_at, 0), ?1) WHERE id = ?2
                        """, [oldest.microseconds, id.blob])
                }
            }
        }
        return found.count < limit ? nil : found.last?.0
    }

    static let scrubbableQuery = """
        SELECT d.id, d.node, d.scrubbed_at, s.number, s.lineage, s.sequence, l.started_at FROM database d
        CROSS JOIN snapshot s ON s.id = d.newest_snapshot CROSS JOIN lineage l ON l.id = s.lineage
        WHERE d.id > ? AND d.state <> ? ORDER BY d.id LIMIT ?
        """
    static let scrubAgeQuery = """
        SELECT min(hashed_at) AS oldest, coalesce(max(state <> 'present'), 1) AS is_bad FROM (
            SELECT r.hashed_at, r.state FROM
                (SELECT pack FROM pack_reference WHERE lineage = ?1 AND died IS NULL AND born <= ?2
                UNION ALL SELECT pack FROM pack_reference WHERE lineage = ?1 AND died > ?2 AND born <= ?2) f
            CROSS JOIN pack_replica r ON r.pack = f.pack
            UNION ALL SELECT hashed_at, CASE receipt_state WHEN 'present' THEN state ELSE receipt_state END
                FROM manifest_replica WHERE snapshot = ?3
            UNION ALL SELECT hashed_at, state FROM key_replica WHERE node = ?4) b
        """
}
