import Foundation
import GRDB
package import MusterModel

/// Orders to restore that are taken back.
///
/// What such an order allowed ends with the row: its node reads nothing under it any more, what was sealed in it is
/// gone, and its snapshot is pinned for no longer than the other orders for it want. Whether the node had
/// finished by then, only the node can say; its outcome still counts for that.
extension Catalog {
    /// Takes back what is open of a run, or one order.
    ///
    /// - Parameters:
    ///   - id: of the run or the order; both are drawn, so that none is the other's.
    ///   - actor: who took it back, as the audit names them.
    /// - Returns: the run, and those that ended by this; nil where there is no such run nor order.
    package func cancelRestores(
        _ id: GrantID, by actor: String, now: Timestamp
    ) async throws(CatalogError) -> (run: RunID, cancelled: [Restore])? {
        typealias Ended = (run: RunID, cancelled: [Restore])?
        let rows: @Sendable (Ended) -> [AuditRow] = { ended in
            (ended?.cancelled ?? []).map { restore in
                AuditRow(
                    actor: actor, action: "restore-cancel",
                    subject: "run \(restore.run): grant \(restore.grant) onto node \(restore.targetName) at "
                        + "\(restore.targetPath.prefix(1024))", at: now)
            }
        }
        return try await write(auditingEach: rows) { database -> Ended in
            guard let first = try database.row(Self.restoresOfEither + " LIMIT 1", [id.blob]) else { return nil }
            let open = try database.rows(Self.openRestoresOfEither, [id.blob]).map(Self.restore)
            for restore in open { try Self.cancel(restore, by: actor, now: now, in: database) }
            return (try first.identifier("run"), open)
        }
    }

    private static func cancel(
        _ restore: Restore, by actor: String, now: Timestamp, in database: GRDB.Database
    ) throws {
        let summary =
            restore.state == .queued
            ? "taken back by '\(actor)' before node '\(restore.targetName)' began"
            : "taken back by '\(actor)' while node '\(restore.targetName)' was at it; it has not said yet how far it came"
        try database.run(
            """
            UPDATE restore_grant SET state = 'failed', cancelled_by = ?2, finished_at = ?3, bytes = x'',
                error_summary = ?4, error_hint = ?5 WHERE id = ?1
            """,
            [
                restore.grant.blob, actor, now.microseconds, summary,
                "Nothing that stood at the target was touched; restore again if it was a mistake.",
            ])
        try database.run(unpinOrder, [restore.snapshot.blob])
    }

    /// What the node says of an order that was taken back, once: whether it stopped, or had finished before it heard.
    ///
    /// - Returns: whether it was its first word.
    static func note(
        _ outcomeOfCancelled: GrantID, of target: NodeID, isDone: Bool, errorSummary: String,
        in database: GRDB.Database
    ) throws -> Bool {
        let row = try database.row(
            restoreQuery + " WHERE g.id = ? AND g.target = ? AND g.cancelled_by <> '' AND g.cancel_heard = 0",
            [outcomeOfCancelled.blob, target.blob])
        guard let row else { return false }
        let restore = try Self.restore(row)
        let summary =
            isDone
            ? "taken back by '\(restore.cancelledBy)' too late: node '\(restore.targetName)' had finished"
            : "taken back by '\(restore.cancelledBy)'; node '\(restore.targetName)' has stopped, and says: "
                + (errorSummary.isEmpty ? "nothing" : errorSummary)
        let hint =
            isDone
            ? "The database stands at its target; remove it on that node if it is not wanted."
            : "Nothing that stood at the target was touched; restore again if it was a mistake."
        try database.run(
            """
            UPDATE restore_grant SET state = ?2, cancel_heard = 1, error_summary = ?3, error_hint = ?4 WHERE id = ?1
            """, [outcomeOfCancelled.blob, isDone ? "done" : "failed", summary, hint])
        return true
    }

    static let restoresOfEither = restoreQuery + " WHERE (g.run = ?1 OR g.id = ?1)"
    static let openRestoresOfEither =
        restoresOfEither + " AND g.state IN ('queued', 'running') ORDER BY g.number"
    /// Orders that have ended by themselves pin their snapshot until their time all the same.
    static let unpinOrder = """
        UPDATE pin SET until = (SELECT coalesce(max(g.expires_at), 0) FROM restore_grant g
                WHERE g.snapshot = ?1 AND g.cancelled_by = '')
        WHERE kind = 'order' AND snapshot = (SELECT number FROM snapshot WHERE id = ?1)
        """
}
