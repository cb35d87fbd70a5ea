import Foundation
import GRDB
package import MusterModel

/// The catalog's own backup: a copy of it, and what is taken from one after a rebuild.
extension Catalog {
    /// Copies the catalog as one commit has it into a new file, which nobody has open afterwards.
    package func copy(to path: String) async throws(CatalogError) {
        let pool = self.pool
        try await Self.onItsOwnThread {
            var configuration = Configuration()
            configuration.label = "muster-catalog-copy"
            let target = try DatabaseQueue(path: path, configuration: configuration)
            try pool.backup(to: target)
            try target.close()
        }
    }

    /// Runs what waits for a reader, or for all of them: a reader that is lent to a task is given back by the
    /// cooperative pool, which would wait for itself if it waited here.
    static func onItsOwnThread(_ body: @escaping @Sendable () throws -> Void) async throws(CatalogError) {
        do {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                Thread.detachNewThread { continuation.resume(with: Result(catching: body)) }
            }
        } catch {
            throw CatalogError(error)
        }
    }

    package struct Recovered: Hashable, Sendable {
        package let verdicts: Int
        package let audit: Int
        /// Stores whose newest probe found that they do not list what they hold, and what it saw.
        package let brokenListings: [StoreID: String]

        package init(verdicts: Int = 0, audit: Int = 0, brokenListings: [StoreID: String] = [:]) {
            (self.verdicts, self.audit, self.brokenListings) = (verdicts, audit, brokenListings)
        }
    }

    /// Takes from an older catalog what the stores do not say: how snapshots were verified, what nodes reported of their
    /// databases, alarms, and the audit.
    ///
    /// Marks are left behind, but for those of snapshots that were forgotten already: a person may have taken a mark off
    /// since, or an alarm may have begun to freeze the database, and what the older one has of its grace may be over. The
    /// policies mark again, with the whole grace. Of what was forgotten the packs are gone.
    ///
    /// The catalog must be rebuilt already, and its audit empty. What the older one has of snapshots that are not here is left.
    package func recover(from path: String) async throws(CatalogError) -> Recovered {
        do {
            try await Self.onItsOwnThread { try Self.migrate(path) }
            return try await pool.barrierWriteWithoutTransaction { database in
                try database.execute(sql: "ATTACH DATABASE ? AS old", arguments: [path])
                defer {
                    // The connection lives on without it; the file is removed.
                    try? database.execute(sql: "DETACH DATABASE old")
                }
                var recovered = Recovered()
                try database.inTransaction {
                    for statement in Self.recovery { try database.execute(sql: statement) }
                    func count(_ sql: String) throws -> Int { try Int.fetchOne(database, sql: sql) ?? 0 }
                    recovered = Recovered(
                        verdicts: try count("SELECT count(*) FROM verdict"),
                        audit: try count("SELECT count(*) FROM audit"),
                        brokenListings: try Self.brokenListings(in: database))
                    return .commit
                }
                return recovered
            }
        } catch {
            throw CatalogError(error)
        }
    }

    private static func brokenListings(in database: GRDB.Database) throws -> [StoreID: String] {
        let rows = try database.rows(
            """
            SELECT o.identity, p.detail FROM old.store_probe p JOIN old.store o ON o.number = p.store
            WHERE p.capability = 'listing' AND p.ok = 0 AND o.identity IS NOT NULL
                AND p.at = (SELECT max(q.at) FROM old.store_probe q WHERE q.store = p.store)
            """, [])
        return try rows.reduce(into: [:]) { found, row in
            found[try row.identifier("identity")] = row["detail"] as String
        }
    }

    private static let recovery = [
        """
        UPDATE main.snapshot SET (verified_at, verdict, spared_until) = (o.verified_at, o.verdict, o.spared_until)
        FROM old.snapshot o WHERE o.id = main.snapshot.id
        """,
        """
        UPDATE main.snapshot SET (expired_at, expired_by, grace_until) = (o.expired_at, o.expired_by, o.grace_until)
        FROM old.snapshot o WHERE o.id = main.snapshot.id AND o.forgotten_at IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM main.hold h WHERE h.snapshot = main.snapshot.number)
        """,
        """
        UPDATE main.snapshot SET expired_at = NULL, expired_by = NULL, grace_until = NULL
        WHERE id IN (SELECT head_snapshot FROM main.lineage)
        """,
        """
        INSERT INTO main.verdict(snapshot, run, level, passed, at, seconds, bytes_read, began_at)
        SELECT s.number, v.run, v.level, v.passed, v.at, v.seconds, v.bytes_read, v.began_at FROM old.verdict v
            JOIN old.snapshot o ON o.number = v.snapshot JOIN main.snapshot s ON s.id = o.id ORDER BY v.number
        """,
        """
        UPDATE main.database SET (path, schedule, state, error_summary, error_hint, attempted_at, capture,
                interval_milliseconds, slot_interval_milliseconds, interval_shortened_at, checked_at, scrubbed_at,
                verified_at, drilled_at, inspection_tried_at, restore_seconds, restored_bytes, awaits_schedule) =
            (o.path, o.schedule, o.state, o.error_summary, o.error_hint, o.attempted_at, o.capture,
                o.interval_milliseconds, o.slot_interval_milliseconds, o.interval_shortened_at, o.checked_at,
                o.scrubbed_at, o.verified_at, o.drilled_at, o.inspection_tried_at, o.restore_seconds, o.restored_bytes,
                o.awaits_schedule OR (o.reported_at IS NULL AND o.interval_milliseconds = 0))
        FROM old.database o WHERE o.id = main.database.id AND o.node = main.database.node
        """,
        """
        UPDATE main.database SET
            snapshot_count = (SELECT count(*) FROM main.snapshot s
                WHERE s.database = main.database.id AND s.expired_at IS NULL),
            expired_count = (SELECT count(*) FROM main.snapshot s
                WHERE s.database = main.database.id AND s.expired_at IS NOT NULL)
        """,
        """
        INSERT INTO main.drill SELECT * FROM old.drill d
        WHERE EXISTS (SELECT 1 FROM main.database b WHERE b.id = d.database)
        """,
        """
        INSERT INTO main.drill_assertion SELECT * FROM old.drill_assertion a
        WHERE EXISTS (SELECT 1 FROM main.drill d WHERE d.number = a.drill)
        """,
        """
        UPDATE main.node SET (last_contact_at, agent_version) = (o.last_contact_at, o.agent_version)
        FROM old.node o WHERE o.id = main.node.id
        """,
        """
        INSERT INTO main.retention_run SELECT * FROM old.retention_run WHERE true ON CONFLICT DO NOTHING
        """,
        """
        DELETE FROM main.alarm WHERE kind IN (SELECT kind FROM old.alarm o WHERE o.database = main.alarm.database)
        """,
        """
        INSERT INTO main.alarm(kind, node, database, summary, hint, since, cleared_at)
        SELECT kind, node, database, summary, hint, since, cleared_at FROM old.alarm ORDER BY number
        """,
        """
        INSERT INTO main.audit(number, at, actor, action, subject, previous_hash, hash)
        SELECT number, at, actor, action, subject, previous_hash, hash FROM old.audit ORDER BY number
        """,
    ]
}
