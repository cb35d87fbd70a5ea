import Foundation
import GRDB
package import MusterModel

/// What the scrub of the stores, which goes by replicas, says of the databases.
extension Catalog {
    /// Brings some databases' time of scrub up to what their replicas say: all that the newest snapshot needs, with the
    /// manifests that it is based on, was read again no longer ago, in every store that has it.
    ///
    /// What came within a day before that time, or since, need not have been read yet: otherwise no database would be
    /// covered of which snapshots are taken all the time. The same holds for an inspection of a snapshot that was the
    /// newest within a day (`newestWithin`). But a scrub has come to some of its content, and to something that is as
    /// old as its lineage. What is bad or missing anywhere leaves the time as it was.
    /// - Returns: the last database that was looked at; nil at the end.
    package func deriveScrubs(after: DatabaseID?, limit: Int) async throws(CatalogError) -> DatabaseID? {
        let found = try await read { database in
            try database.rows(Self.scrubbableQuery, [after?.blob ?? Data(), Self.removedState, limit]).map { row in
                let id: DatabaseID = try row.identifier("id")
                let arguments: StatementArguments = [
                    row["lineage"] as Data, row["sequence"] as Int64, row["number"] as Int64, row["node"] as Data,
                ]
                guard let ages = try database.row(Self.scrubAgeQuery, arguments), !(ages["is_bad"] as Bool),
                    ages["has_content"] as Bool, ages.time("hashed_at") > row.time("started_at"),
                    let oldest = ages.optionalTime("read_at"),
                    ages.optionalTime("unread_since").map({ $0 > oldest - Self.newestWithin }) ?? true,
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
    /// `has_content`: a pack was read, or there is none. A base needs no receipt to be read.
    static let scrubAgeQuery = """
        WITH RECURSIVE chain(number, base) AS (
            SELECT number, base FROM snapshot WHERE number = ?3
            UNION ALL SELECT s.number, s.base FROM chain c CROSS JOIN snapshot s ON s.id = c.base)
        SELECT max(is_bad) AS is_bad, min(hashed_at) AS hashed_at, min(read_at) AS read_at,
            min(CASE WHEN read_at IS NULL THEN hashed_at END) AS unread_since,
            max(is_pack AND read_at IS NOT NULL) OR NOT max(is_pack) AS has_content
        FROM (
            SELECT 1 AS is_pack, r.hashed_at, r.read_at, r.state IS NOT 'present' AS is_bad FROM
                (SELECT pack FROM pack_reference WHERE lineage = ?1 AND died IS NULL AND born <= ?2
                UNION ALL SELECT pack FROM pack_reference WHERE lineage = ?1 AND died > ?2 AND born <= ?2) f
            LEFT JOIN pack_replica r ON r.pack = f.pack
            UNION ALL SELECT 0, r.hashed_at, r.read_at,
                r.state IS NOT 'present' OR (c.number = ?3 AND r.receipt_state <> 'present')
                FROM chain c LEFT JOIN manifest_replica r ON r.snapshot = c.number
            UNION ALL SELECT 0, k.hashed_at, k.read_at, k.state IS NOT 'present'
                FROM node n LEFT JOIN key_replica k ON k.node = n.id WHERE n.id = ?4) b
        """
}
