import Foundation
import GRDB
package import MusterModel

/// Marks: what retention gives up, for as long as it can still be brought back.
///
/// A mark deletes nothing. Every transaction that marks looks again at what may have changed since the decision:
/// holds, heads, the newest verified snapshot of a lineage, alarms and the policies themselves; and it marks a
/// bounded number, so that no commit waits for long.
extension Catalog {
    package struct ExpiryMark: Hashable, Sendable {
        package let at: Timestamp
        package let run: RunID
        /// Until then it can be brought back.
        package let graceUntil: Timestamp
    }

    package struct RetentionRun: Hashable, Sendable {
        package let id: RunID
        package let actor: String
        package let at: Timestamp
        /// How many snapshots it marked, whatever became of them.
        package let marked: Int
    }

    /// What became of a wish to give a snapshot up.
    package enum ForgetOutcome: String, Sendable {
        case marked
        case markedBefore = "marked already"
        case held
        case head = "the head of its lineage"
        case newestVerified = "the newest verified snapshot of its lineage"
        case frozen = "frozen by an alarm"
    }

    static let markedAtOnce = 500
    /// How long no policy marks again what a person brought back.
    package static let spareDuration = Duration.seconds(7 * 24 * 3600)

    /// Marks what the verdict gives up.
    ///
    /// - Parameter row: appended with the first marks, so where there are none it is not.
    /// - Returns: how many were marked: fewer than the verdict gives up where something has changed since.
    package func mark(
        _ verdict: RetentionVerdict, of id: DatabaseID, run: RunID, actor: String, now: Timestamp,
        audit row: AuditRow? = nil
    ) async throws(CatalogError) -> Int {
        if !verdict.lastVerified.isEmpty {
            try await write { database in
                for number in verdict.lastVerified { _ = try Self.unmark(number, sparedUntil: nil, in: database) }
            }
        }
        var marked = 0
        var rest = verdict.expiring[...]
        while !rest.isEmpty {
            let part = rest.prefix(Self.markedAtOnce)
            rest = rest.dropFirst(part.count)
            let count: Int? = try await write(auditing: marked == 0 ? row : nil, if: { $0 ?? 0 > 0 }) { database in
                guard try Self.revision(in: database) == verdict.revision, try !Self.isFrozen(id, in: database)
                else { return nil }
                let count = try part.count { item in
                    try Self.mark(item.number, run: run, graceUntil: item.graceUntil, now: now, in: database)
                }
                try Self.count(count, of: id, in: run, actor: actor, now: now, in: database)
                return count
            }
            guard let count else { break }
            marked += count
        }
        return marked
    }

    /// Marks one snapshot on a person's word. What is held, a head, or the newest verified of its lineage stays.
    ///
    /// - Returns: nil where there is no such snapshot.
    package func forget(
        _ snapshot: SnapshotID, run: RunID, graceUntil: Timestamp, actor: String, now: Timestamp,
        audit row: AuditRow? = nil
    ) async throws(CatalogError) -> ForgetOutcome? {
        try await write(auditing: row, if: { $0 == .marked }) { database in
            guard
                let row = try database.row(
                    """
                    SELECT s.number, s.database, s.expired_at, s.id = f.head_snapshot AS is_head,
                        EXISTS (SELECT 1 FROM hold h WHERE h.snapshot = s.number) AS is_held
                    FROM snapshot s JOIN lineage f ON f.id = s.lineage WHERE s.id = ?
                    """, [snapshot.blob])
            else { return nil }
            if row.optionalTime("expired_at") != nil { return .markedBefore }
            if row["is_held"] { return .held }
            if row["is_head"] { return .head }
            let id: DatabaseID = try row.identifier("database")
            if try Self.isFrozen(id, in: database) { return .frozen }
            let number: Int64 = row["number"]
            // A person's word counts for more than an undo of before.
            try database.run("UPDATE snapshot SET spared_until = NULL WHERE number = ?", [number])
            guard try Self.mark(number, run: run, graceUntil: graceUntil, now: now, in: database) else {
                return .newestVerified
            }
            try Self.count(1, of: id, in: run, actor: actor, now: now, in: database)
            return .marked
        }
    }

    /// Takes the marks of a run off, but those whose grace is over.
    ///
    /// - Returns: how many.
    package func undo(
        _ run: RunID, now: Timestamp, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> Int {
        var undone = 0
        while true {
            let count = try await write(auditing: undone == 0 ? row : nil, if: { $0 > 0 }) { database in
                try database.rows(Self.runQuery, [run.blob, now.microseconds, Self.markedAtOnce]).count { row in
                    try Self.unmark(row["number"], sparedUntil: now + Self.spareDuration, in: database)
                }
            }
            undone += count
            // Each turn takes marks off, so there is an end.
            if count == 0 { return undone }
        }
    }

    /// Takes the mark of one snapshot off.
    ///
    /// - Returns: false where it has none, or its grace is over.
    package func undo(
        _ snapshot: SnapshotID, now: Timestamp, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> Bool {
        try await write(auditing: row, if: { $0 }) { database in
            try Self.undo(snapshot, now: now, in: database)
        }
    }

    static func undo(_ snapshot: SnapshotID, now: Timestamp, in database: GRDB.Database) throws -> Bool {
        let number: Int64? = try database.value(
            "SELECT number FROM snapshot WHERE id = ? AND grace_until > ? AND forgotten_at IS NULL",
            [snapshot.blob, now.microseconds])
        guard let number else { return false }
        return try unmark(number, sparedUntil: now + spareDuration, in: database)
    }

    /// The newest first.
    package func retentionRuns(limit: Int) async throws(CatalogError) -> [RetentionRun] {
        try await read { database in
            try Row.fetchAll(
                database, sql: "SELECT * FROM retention_run ORDER BY at DESC LIMIT ?", arguments: [limit]
            ).map { row in
                RetentionRun(
                    id: try row.identifier("id"), actor: row["actor"], at: row.time("at"), marked: row["marked"])
            }
        }
    }

    static func mark(_ row: Row) throws -> ExpiryMark? {
        guard let at = row.optionalTime("expired_at"), let graceUntil = row.optionalTime("grace_until") else {
            return nil
        }
        return ExpiryMark(at: at, run: try row.identifier("expired_by"), graceUntil: graceUntil)
    }

    // MARK: - Inside a transaction

    static func isFrozen(_ id: DatabaseID, in database: GRDB.Database) throws -> Bool {
        guard let row = try database.row("SELECT node FROM database WHERE id = ?", [id.blob]) else { return true }
        return try freezingAlarm(of: id, node: try row.identifier("node"), in: database) != nil
    }

    /// - Returns: false where it may not be marked, or is.
    private static func mark(
        _ number: Int64, run: RunID, graceUntil: Timestamp, now: Timestamp, in database: GRDB.Database
    ) throws -> Bool {
        try database.run(markStatement, [now.microseconds, run.blob, graceUntil.microseconds, number])
        return database.changesCount > 0
    }

    static let markStatement = """
        UPDATE snapshot AS s SET expired_at = ?1, expired_by = ?2, grace_until = ?3
        WHERE s.number = ?4 AND s.expired_at IS NULL AND (s.spared_until IS NULL OR s.spared_until <= ?1)
            AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.snapshot = s.number)
            AND NOT EXISTS (SELECT 1 FROM lineage f WHERE f.id = s.lineage AND f.head_snapshot = s.id)
            AND s.number IS NOT (SELECT v.number FROM snapshot v WHERE v.lineage = s.lineage AND \(newestVerified))
        """

    private static let newestVerified = """
        v.expired_at IS NULL AND v.verified_at IS NOT NULL AND v.verdict NOT LIKE 'failed%'
            ORDER BY v.received_at DESC, v.number DESC LIMIT 1
        """

    /// - Returns: false where it is not marked.
    static func unmark(_ number: Int64, sparedUntil: Timestamp?, in database: GRDB.Database) throws -> Bool {
        try database.run(
            """
            UPDATE snapshot SET expired_at = NULL, expired_by = NULL, grace_until = NULL, spared_until = ?
            WHERE number = ? AND expired_at IS NOT NULL AND forgotten_at IS NULL
            """, [sparedUntil?.microseconds, number])
        guard database.changesCount > 0 else { return false }
        try database.run(
            """
            UPDATE database SET snapshot_count = snapshot_count + 1, expired_count = expired_count - 1
            WHERE id = (SELECT database FROM snapshot WHERE number = ?)
            """, [number])
        return true
    }

    /// Marked snapshots that are the last verified ones of their lineages: verdicts may fall after a mark was made.
    /// Only those whose grace is not over: what gc may have forgotten must not come back.
    static func lastVerified(of id: DatabaseID, now: Timestamp, in database: GRDB.Database) throws -> [Int64] {
        try database.rows(lastVerifiedQuery, [id.blob, now.microseconds]).compactMap { $0["number"] }
    }

    static let lastVerifiedQuery = """
        SELECT (SELECT v.number FROM snapshot v WHERE v.lineage = f.id AND v.expired_at IS NOT NULL
                AND v.forgotten_at IS NULL AND v.grace_until > ?2 AND v.verified_at IS NOT NULL AND v.verdict NOT LIKE 'failed%'
                ORDER BY v.received_at DESC, v.number DESC LIMIT 1) AS number
        FROM lineage f WHERE f.database = ?1 AND NOT EXISTS
            (SELECT 1 FROM snapshot v WHERE v.lineage = f.id AND v.expired_at IS NULL AND v.verified_at IS NOT NULL
                AND v.verdict NOT LIKE 'failed%')
        """

    static let runQuery = """
        SELECT number FROM snapshot WHERE expired_by = ? AND grace_until > ? AND expired_at IS NOT NULL
            AND forgotten_at IS NULL LIMIT ?
        """

    private static func count(
        _ marked: Int, of id: DatabaseID, in run: RunID, actor: String, now: Timestamp, in database: GRDB.Database
    ) throws {
        guard marked > 0 else { return }
        try database.run(
            """
            UPDATE database SET snapshot_count = snapshot_count - ?1, expired_count = expired_count + ?1 WHERE id = ?2
            """, [marked, id.blob])
        try database.run(
            """
            INSERT INTO retention_run(id, actor, at, marked) VALUES (?, ?, ?, ?)
            ON CONFLICT(id) DO UPDATE SET marked = marked + excluded.marked
            """, [run.blob, actor, now.microseconds, marked])
    }
}
