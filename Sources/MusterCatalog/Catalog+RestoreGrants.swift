import Foundation
import GRDB
package import MusterModel

/// Restores that nodes are ordered to do, and what each may read for it. Default: nothing.
extension Catalog {
    /// An order that was not given yet.
    package struct NewRestore: Sendable {
        package var grant: GrantID
        package var snapshot: SnapshotID
        package var target: NodeID
        package var targetPath: String
        /// As the agent gets it.
        package var bytes: [UInt8]
        package var expiresAt: Timestamp

        package init(
            grant: GrantID, snapshot: SnapshotID, target: NodeID, targetPath: String, bytes: [UInt8],
            expiresAt: Timestamp
        ) {
            (self.grant, self.snapshot, self.target) = (grant, snapshot, target)
            (self.targetPath, self.bytes, self.expiresAt) = (targetPath, bytes, expiresAt)
        }
    }

    package struct Restore: Hashable, Sendable {
        package var grant: GrantID
        package var run: RunID
        package var snapshot: SnapshotID
        package var databaseName: String
        /// Whose snapshot it is.
        package var source: NodeID
        package var sourceName: String
        package var target: NodeID
        package var targetName: String
        package var targetPath: String
        /// Empty once it has ended.
        package var bytes: [UInt8]
        package var actor: String
        package var createdAt: Timestamp
        package var expiresAt: Timestamp
        package var state: Job.State
        package var boot: String
        package var finishedAt: Timestamp?
        package var errorSummary: String
        package var errorHint: String
        /// nil where the stored snapshot is not to blame.
        package var failing: Failing?
        /// Who took it back; "" where nobody did.
        package var cancelledBy: String
    }

    package enum RestoreBegin: Hashable, Sendable {
        case begun
        /// An order with this id was given before.
        case spent(GrantID)
        /// It has ended, or does not exist.
        case noTarget(NodeID)
        /// gc gave it up.
        case noSnapshot(SnapshotID)
    }

    /// Records orders of one run, all or none, and pins their snapshots for as long as they stand.
    package func begin(
        _ restores: [NewRestore], run: RunID, actor: String, now: Timestamp
    ) async throws(CatalogError) -> RestoreBegin {
        try await write { database in
            for restore in restores {
                guard try database.row(Self.grantIDQuery, [restore.grant.blob]) == nil else {
                    return .spent(restore.grant)
                }
                guard try Self.isActive(restore.target, in: database) else { return .noTarget(restore.target) }
                guard try database.row(Self.livingQuery, [restore.snapshot.blob]) != nil else {
                    return .noSnapshot(restore.snapshot)
                }
            }
            for restore in restores { try Self.insert(restore, run, actor, now: now, in: database) }
            return .begun
        }
    }

    private static func insert(
        _ restore: NewRestore, _ run: RunID, _ actor: String, now: Timestamp, in database: GRDB.Database
    ) throws {
        try database.run(
            """
            INSERT INTO restore_grant(id, run, snapshot, database, target, target_path, bytes, actor, created_at,
                expires_at, state)
            SELECT ?1, ?2, id, database, ?4, ?5, ?6, ?7, ?8, ?9, 'queued' FROM snapshot WHERE id = ?3
            """,
            [
                restore.grant.blob, run.blob, restore.snapshot.blob, restore.target.blob, restore.targetPath,
                Data(restore.bytes), actor, now.microseconds, restore.expiresAt.microseconds,
            ])
        try database.run(
            """
            INSERT INTO pin(snapshot, kind, until) SELECT number, ?2, ?3 FROM snapshot WHERE id = ?1
            ON CONFLICT(snapshot, kind) DO UPDATE SET until = max(until, excluded.until)
            """, [restore.snapshot.blob, PinKind.order.rawValue, restore.expiresAt.microseconds])
    }

    /// In the order in which they were given.
    package func restores(in run: RunID) async throws(CatalogError) -> [Restore] {
        try await read { database in
            try database.rows(Self.runRestores, [run.blob]).map(Self.restore)
        }
    }

    /// The order while it is open; nil where it ended, or is another node's.
    package func openRestore(
        _ grant: GrantID, of target: NodeID, now: Timestamp
    ) async throws(CatalogError) -> Restore? {
        try await read { database in
            try database.row(Self.openRestoreQuery, [grant.blob, target.blob, now.microseconds]).map(Self.restore)
        }
    }

    /// Hands out what waits for a node, or what an earlier life of its agent was given: one at a time, so that they
    /// keep no other job waiting there.
    ///
    /// - Parameters:
    ///   - isNewest: as in `takeJobs`.
    ///   - isSilent: whether so long nothing was heard of an order that this life was given that the answer with it
    ///     may have been lost; then it is handed out again.
    package func takeRestore(
        of target: NodeID, boot: String, now: Timestamp, isNewest: @escaping @Sendable () -> Bool,
        isSilent: @escaping @Sendable (GrantID) -> Bool
    ) async throws(CatalogError) -> Restore? {
        let arguments: StatementArguments = [target.blob, boot, now.microseconds]
        // Most polls find nothing: they must not cost a durable write.
        let (isWaiting, atWork) = try await read { database in
            (
                try database.row(Self.waitingRestores, arguments) != nil,
                try database.row(Self.restoreAtWork, arguments).map(Self.restore)
            )
        }
        guard isWaiting else {
            guard let atWork, isNewest(), isSilent(atWork.grant) else { return nil }
            return atWork
        }
        return try await write { database in
            guard isNewest(), let row = try database.row(Self.waitingRestores, arguments) else { return nil }
            let restore = try Self.restore(row)
            try database.run(
                "UPDATE restore_grant SET state = 'running', boot = ? WHERE id = ?", [boot, restore.grant.blob])
            return restore
        }
    }

    /// Ends an order with what the node says of it; one that has ended is left as it is, but for one that was taken back:
    /// there it is told how far the node had come.
    ///
    /// - Returns: the order as it now stands, and whether it has ended by this; nil where the node has no such order.
    package func finish(
        restore grant: GrantID, of target: NodeID, isDone: Bool, failing: Failing?, errorSummary: String,
        errorHint: String, now: Timestamp
    ) async throws(CatalogError) -> (restore: Restore, isNew: Bool)? {
        typealias Ended = (restore: Restore, isNew: Bool)?
        let rows: @Sendable (Ended) -> [AuditRow] = { ended in
            guard let ended, ended.isNew else { return [] }
            return [Self.endRow(of: ended.restore, actor: "node \(ended.restore.targetName)", at: now)]
        }
        return try await write(auditingEach: rows) { database -> Ended in
            try database.run(
                Self.endRestore + " WHERE id = ?8 AND target = ?9 AND state IN ('queued', 'running')",
                [
                    isDone ? "done" : "failed", now.microseconds, errorSummary, errorHint, failing?.store ?? "",
                    failing?.object ?? "", failing?.reason ?? "", grant.blob, target.blob,
                ])
            let isNew =
                try database.changesCount > 0
                || Self.note(grant, of: target, isDone: isDone, errorSummary: errorSummary, in: database)
            return try database.row(
                Self.restoreQuery + " WHERE g.id = ? AND g.target = ?", [grant.blob, target.blob]
            ).map { (try Self.restore($0), isNew) }
        }
    }

    /// Ends what is out of time, and forgets what ended a month ago.
    ///
    /// - Returns: what ended by this.
    package func expireRestores(now: Timestamp) async throws(CatalogError) -> [Restore] {
        let kept = (now - Self.restoresAreKept).microseconds
        let isDue = try await read { database in
            try database.row(Self.expiredRestores + " LIMIT 1", [now.microseconds]) != nil
                || database.row(Self.oldRestores, [kept]) != nil
        }
        guard isDue else { return [] }
        let rows: @Sendable ([Restore]) -> [AuditRow] = { ended in
            ended.map { Self.endRow(of: $0, actor: "coordinator", at: now) }
        }
        return try await write(auditingEach: rows) { database in
            let due = try database.rows(Self.expiredRestores + " LIMIT 1000", [now.microseconds]).map(Self.restore)
            let ended = try due.map { restore in
                try Self.fail(
                    restore, "node '\(restore.targetName)' did not finish the restore in time",
                    "Check that the agent runs and reaches the coordinator, then restore again.", now: now,
                    in: database)
            }
            try database.run("DELETE FROM restore_grant WHERE finished_at <= ?", [kept])
            return ended
        }
    }

    /// The audit's row of an order's end, which goes with it into one transaction.
    static func endRow(of restore: Restore, actor: String, at now: Timestamp) -> AuditRow {
        // One that was taken back too late is done, and says so.
        let isPlain = restore.state == .done && restore.cancelledBy.isEmpty
        let how = isPlain ? "done" : "\(restore.state.rawValue): \(restore.errorSummary.prefix(255))"
        return AuditRow(
            actor: actor, action: "restore-end", subject: "run \(restore.run): grant \(restore.grant) \(how)", at: now)
    }

    /// Nothing more is restored onto a node that has ended.
    ///
    /// - Returns: what ended by this.
    static func endRestores(
        onto target: NodeID, _ reason: String, now: Timestamp, in database: GRDB.Database
    ) throws -> [Restore] {
        try database.rows(openOntoQuery, [target.blob]).map(restore).map { restore in
            try fail(
                restore, reason, "Restore onto another node, or with '--to PATH' here.", now: now, in: database)
        }
    }

    /// - Returns: the order as it now stands.
    private static func fail(
        _ restore: Restore, _ summary: String, _ hint: String, now: Timestamp, in database: GRDB.Database
    ) throws -> Restore {
        try database.run(
            endRestore + " WHERE id = ?8",
            ["failed", now.microseconds, summary, hint, "", "", "", restore.grant.blob])
        var failed = restore
        (failed.state, failed.errorSummary, failed.errorHint, failed.bytes) = (.failed, summary, hint, [])
        failed.finishedAt = now
        return failed
    }

    // MARK: - What an open order allows

    /// Whether a reader of a snapshot needs the manifest of that other one: itself, or one of its base chain.
    package func isNeeded(
        manifestOf other: SnapshotID, by snapshot: SnapshotID
    ) async throws(CatalogError) -> Bool {
        try await read { try $0.row(Self.grantedManifestQuery, [snapshot.blob, other.blob]) != nil }
    }

    /// The scope in which a snapshot needs that pack; nil where it does not need it.
    package func scope(
        of pack: PackID, neededBy snapshot: SnapshotID
    ) async throws(CatalogError) -> ScopeID? {
        try await read { database in
            try database.row(Self.grantedPackQuery, [snapshot.blob, pack.blob]).map { try $0.identifier("scope") }
        }
    }

    // MARK: - The key that grants are sealed to

    /// As the node published it, with its word for it; nil where it told none.
    package func grantKey(of node: NodeID) async throws(CatalogError) -> [UInt8]? {
        try await read { database in
            let key: Data? = try database.value("SELECT grant_key FROM node WHERE id = ?", [node.blob])
            return key.map([UInt8].init)
        }
    }

    /// Keeps what was checked against the node's signing key; the same again costs no write.
    package func keep(grantKey: [UInt8], of node: NodeID) async throws(CatalogError) {
        guard try await self.grantKey(of: node) != grantKey else { return }
        try await write { try $0.run("UPDATE node SET grant_key = ? WHERE id = ?", [Data(grantKey), node.blob]) }
    }

    // MARK: - Statements

    private static let restoresAreKept = Duration.seconds(30 * 86_400)
    private static let grantIDQuery = "SELECT 1 FROM restore_grant WHERE id = ?"
    private static let livingQuery = "SELECT 1 FROM snapshot WHERE id = ? AND forgotten_at IS NULL"
    private static let endRestore = """
        UPDATE restore_grant SET state = ?1, finished_at = ?2, bytes = x'', error_summary = ?3, error_hint = ?4,
            failing_store = ?5, failing_object = ?6, failing_reason = ?7
        """
    static let restoreQuery = """
        SELECT g.*, d.name AS database_name, s.id AS source, s.name AS source_name, t.name AS target_name
        FROM restore_grant g CROSS JOIN database d ON d.id = g.database CROSS JOIN node s ON s.id = d.node
        CROSS JOIN node t ON t.id = g.target
        """
    static let openRestoreQuery =
        restoreQuery + """
             WHERE g.id = ?1 AND g.target = ?2 AND g.state IN ('queued', 'running') AND g.expires_at > ?3
            """
    static let waitingRestores =
        restoreQuery + """
             WHERE g.target = ?1 AND g.state IN ('queued', 'running') AND (g.state = 'queued' OR g.boot <> ?2)
            AND g.expires_at > ?3 AND NOT EXISTS (
                SELECT 1 FROM restore_grant r WHERE r.target = ?1 AND r.state IN ('queued', 'running')
                    AND r.state = 'running' AND r.boot = ?2 AND r.expires_at > ?3)
            ORDER BY g.number LIMIT 1
            """
    static let restoreAtWork =
        restoreQuery + """
             WHERE g.target = ?1 AND g.state IN ('queued', 'running') AND g.state = 'running' AND g.boot = ?2
            AND g.expires_at > ?3 ORDER BY g.number LIMIT 1
            """
    static let openOntoQuery = restoreQuery + " WHERE g.target = ? AND g.state IN ('queued', 'running')"
    static let runRestores = restoreQuery + " WHERE g.run = ? ORDER BY g.number"
    static let oldRestores = "SELECT 1 FROM restore_grant WHERE finished_at <= ? LIMIT 1"
    static let expiredRestores =
        restoreQuery + " WHERE g.state IN ('queued', 'running') AND g.expires_at <= ? ORDER BY g.expires_at"
    static let grantedManifestQuery = """
        WITH RECURSIVE chain(id) AS (
            VALUES (?1) UNION
            SELECT b.base FROM chain c JOIN snapshot b ON b.id = c.id WHERE b.base IS NOT NULL)
        SELECT 1 FROM chain WHERE id = ?2
        """
    /// The scope is that of the snapshot's node: what another node sent under the same id stays its own.
    static let grantedPackQuery = """
        SELECT n.scope FROM snapshot s CROSS JOIN node n ON n.id = s.node
        CROSS JOIN pack p ON p.id = ?2 AND p.scope = n.scope
        CROSS JOIN pack_reference f ON f.pack = p.number AND f.lineage = s.lineage AND f.born <= s.sequence
            AND (f.died IS NULL OR f.died > s.sequence)
        WHERE s.id = ?1 LIMIT 1
        """

    static func restore(_ row: Row) throws -> Restore {
        let snapshot: SnapshotID = try row.identifier("snapshot")
        let reason: String = row["failing_reason"]
        return Restore(
            grant: try row.identifier("id"), run: try row.identifier("run"), snapshot: snapshot,
            databaseName: row["database_name"], source: try row.identifier("source"), sourceName: row["source_name"],
            target: try row.identifier("target"), targetName: row["target_name"], targetPath: row["target_path"],
            bytes: row.byteArray("bytes"), actor: row["actor"], createdAt: row.time("created_at"),
            expiresAt: row.time("expires_at"), state: try row.word("state"), boot: row["boot"],
            finishedAt: row.optionalTime("finished_at"), errorSummary: row["error_summary"],
            errorHint: row["error_hint"],
            failing: reason.isEmpty
                ? nil
                : Failing(
                    snapshot: snapshot.description, store: row["failing_store"], object: row["failing_object"],
                    reason: reason), cancelledBy: row["cancelled_by"])
    }
}
