import Foundation
import GRDB
package import MusterModel

/// The policies of retention, and what they say of a database.
extension Catalog {
    package struct PolicyEntry: Hashable, Sendable {
        package let scope: RetentionScope
        package let terms: RetentionTerms
        /// Who set it, and when.
        package let actor: String
        package let at: Timestamp
    }

    /// What the policies say of one database at one moment.
    package struct RetentionVerdict: Sendable {
        /// For each snapshot that is not marked, newest first; none where nobody wants to see them and all are kept.
        package let decisions: [RetentionDecision]
        /// Of the same snapshots.
        package let receivedAt: [Timestamp]
        /// The kind of an alarm that keeps everything.
        package let alarm: String?
        /// Where an alarm has to be raised.
        package let flood: Flood?
        /// The alarm is that nobody has said since a rebuild how the database is scheduled.
        package var isAwaited = false
        package let keptCount: Int
        package var expiringCount: Int { expiring.count }
        let expiring: [Expiring]
        /// Marked, and the last verified ones of their lineages.
        let lastVerified: [Int64]
        let revision: Int64
    }

    struct Expiring: Sendable {
        let number: Int64
        let graceUntil: Timestamp
    }

    /// Alarms while which nothing of a database expires.
    package static let freezingAlarms = AlarmKind.freezing.map(\.rawValue)

    /// A schedule that a node reports and that is shorter than those before counts only after so long.
    static let scheduleTrust = Duration.seconds(7 * 86_400)

    package static let mostPolicies = 10_000
    /// Of these, how many may be for labels: each database looks at all of them.
    package static let mostLabelPolicies = 100

    /// Stores the policy; nil takes it away, so that the next wider one counts.
    ///
    /// - Returns: false where there was none to take away.
    package func setPolicy(
        _ scope: RetentionScope, to terms: RetentionTerms?, actor: String, now: Timestamp,
        audit row: AuditRow? = nil
    ) async throws(CatalogError) -> Bool {
        try await write(auditing: row, if: { $0 }) { database in
            try Self.countRevision(in: database)
            guard let terms else {
                try database.run("DELETE FROM retention_policy WHERE scope = ?", [scope.description])
                return database.changesCount > 0
            }
            try Self.insert(
                PolicyEntry(scope: scope, terms: terms, actor: actor, at: now), into: database)
            return true
        }
    }

    package func policies() async throws(CatalogError) -> [PolicyEntry] {
        try await read { try Self.policies(in: $0) }
    }

    static func insert(_ entry: PolicyEntry, into database: GRDB.Database) throws {
        try database.run(
            """
            INSERT INTO retention_policy(scope, terms, actor, at) VALUES (?, ?, ?, ?) ON CONFLICT(scope)
            DO UPDATE SET terms = excluded.terms, actor = excluded.actor, at = excluded.at
            """,
            [
                entry.scope.description, try CanonicalJSON.text(entry.terms), entry.actor, entry.at.microseconds,
            ])
    }

    static func policies(in database: GRDB.Database) throws -> [PolicyEntry] {
        try Row.fetchAll(database, sql: "SELECT * FROM retention_policy ORDER BY scope").map(policy)
    }

    /// Those that may have a say on a database.
    private static func policies(
        on id: DatabaseID, of node: NodeID, in database: GRDB.Database
    ) throws -> [ScopedPolicy] {
        let scopes: [RetentionScope] = [.fleet, .node(node), .database(id)]
        return try database.rows(policyQuery, StatementArguments(scopes.map(\.description)))
            .map { try ScopedPolicy(try policy($0)) }
    }

    /// ';' is the character after ':'.
    static let policyQuery = """
        SELECT * FROM retention_policy WHERE scope IN (?, ?, ?)
        UNION ALL SELECT * FROM retention_policy WHERE scope >= 'label:' AND scope < 'label;'
        """

    private static func policy(_ row: Row) throws -> PolicyEntry {
        guard let scope = RetentionScope(row["scope"]) else { throw CatalogError.damaged(column: "scope") }
        let text: String = row["terms"]
        // What is wrong with the text says no more than that it is wrong.
        guard let terms = try? JSONDecoder().decode(RetentionTerms.self, from: Data(text.utf8)) else {
            throw CatalogError.damaged(column: "terms")
        }
        return PolicyEntry(scope: scope, terms: terms, actor: row["actor"], at: row.time("at"))
    }

    /// What the policies say of a database now: nothing is changed.
    ///
    /// The snapshots are read on one view of the last commit, beside which others write. It costs memory for each
    /// snapshot of this database, but for no other.
    /// - Parameters:
    ///   - candidate: counts in place of the one of the same scope, to see what it would do.
    ///   - isShown: false where only what is given up matters: then snapshots that are all kept are not read.
    /// - Returns: nil where there is no such database.
    package func retentionVerdict(
        on id: DatabaseID, candidate: ScopedPolicy? = nil, isShown: Bool = true, now: Timestamp
    ) async throws(CatalogError) -> RetentionVerdict? {
        try await read { try Self.verdict(on: id, candidate: candidate, isShown: isShown, now: now, in: $0) }
    }

    private static func verdict(
        on id: DatabaseID, candidate: ScopedPolicy?, isShown: Bool, now: Timestamp, in database: GRDB.Database
    ) throws -> RetentionVerdict? {
        guard
            let owner = try database.row(
                """
                SELECT node, snapshot_count, interval_milliseconds, slot_interval_milliseconds, interval_shortened_at,
                    awaits_schedule
                FROM database WHERE id = ?
                """, [id.blob])
        else { return nil }
        let node: NodeID = try owner.identifier("node")
        var policies = try policies(on: id, of: node, in: database)
        if let candidate {
            policies.removeAll { $0.scope == candidate.scope }
            policies.append(candidate)
        }
        let retention = DatabaseRetention(policies, node: node, database: id)
        let standing = try freezingAlarm(of: id, node: node, in: database)
        // Where no policy is for the database a flood can do no harm here.
        let interval = slotInterval(owner, now: now)
        let flood = retention.isEmpty ? nil : try Self.flood(of: id, interval: interval, now: now, in: database)
        let isAwaited = standing == nil && flood == nil && !retention.isEmpty && owner["awaits_schedule"]
        let alarm =
            standing ?? (flood == nil ? nil : AlarmKind.flood.rawValue)
            ?? (isAwaited ? AlarmKind.schedule.rawValue : nil)
        let (lastVerified, revision) = (try lastVerified(of: id, now: now, in: database), try revision(in: database))
        guard isShown || (!retention.isEmpty && alarm == nil) else {
            return RetentionVerdict(
                decisions: [], receivedAt: [], alarm: alarm, flood: flood, isAwaited: isAwaited,
                keptCount: owner["snapshot_count"], expiring: [],
                lastVerified: lastVerified, revision: revision)
        }
        let rows = try candidates(of: id, looksAtLabels: retention.looksAtLabels, in: database)
        let decisions = retention.decisions(on: rows.map(\.snapshot), now: now, alarm: alarm, interval: interval)
        let expiring = zip(rows, decisions).filter { !$1.isKept }.map { row, _ in
            Expiring(number: row.number, graceUntil: retention.grace(forLabels: row.snapshot.labels, now: now))
        }
        return RetentionVerdict(
            decisions: decisions, receivedAt: rows.map(\.snapshot.receivedAt), alarm: alarm, flood: flood,
            isAwaited: isAwaited, keptCount: decisions.count - expiring.count, expiring: expiring,
            lastVerified: lastVerified, revision: revision)
    }

    /// What the schedule was when it could be trusted.
    private static func slotInterval(_ owner: Row, now: Timestamp) -> Duration {
        let (reported, longest): (Int64, Int64) = (owner["interval_milliseconds"], owner["slot_interval_milliseconds"])
        guard let since = owner.optionalTime("interval_shortened_at") else { return .milliseconds(reported) }
        // No schedule at all would make every snapshot one that was asked for: that is never believed.
        return .milliseconds(reported > 0 && now - since >= scheduleTrust ? reported : longest)
    }

    private static func candidates(
        of id: DatabaseID, looksAtLabels: Bool, in database: GRDB.Database
    ) throws -> [(number: Int64, snapshot: RetentionSnapshot)] {
        // Snapshots of a database have few different texts of labels, and decoding one costs more than the row.
        var known: [String: [String: String]] = [:]
        func labels(_ row: Row) throws -> [String: String] {
            guard looksAtLabels else { return [:] }
            let text: String = row["labels"]
            if let labels = known[text] { return labels }
            let labels = try LabelText.decode(text)
            if known.count < 1000 { known[text] = labels }
            return labels
        }
        var found: [(Int64, RetentionSnapshot)] = []
        let rows = try Row.fetchCursor(database.cachedStatement(sql: candidateQuery), arguments: [id.blob])
        while let row = try rows.next() {
            found.append(
                (
                    row["number"],
                    RetentionSnapshot(
                        id: try row.identifier("id"), lineage: try row.identifier("lineage"),
                        receivedAt: row.time("received_at"), labels: try labels(row), isHeld: row["is_held"],
                        isVerified: row["is_verified"], isHead: row["is_head"],
                        sparedUntil: row.optionalTime("spared_until"))
                ))
        }
        return found
    }

    static let candidateQuery = """
        SELECT s.number, s.id, s.lineage, s.received_at, s.labels, s.spared_until, s.id = f.head_snapshot AS is_head,
            s.verified_at IS NOT NULL AND s.verdict NOT LIKE 'failed%' AS is_verified,
            EXISTS (SELECT 1 FROM hold h WHERE h.snapshot = s.number) AS is_held
        FROM snapshot s CROSS JOIN lineage f ON f.id = s.lineage
        WHERE s.database = ? AND s.expired_at IS NULL ORDER BY s.received_at DESC, s.number DESC
        """

    static func freezingAlarm(of id: DatabaseID, node: NodeID, in database: GRDB.Database) throws -> String? {
        try database.value(freezingQuery, [id.blob, node.blob])
    }

    static let freezingQuery = """
        SELECT kind FROM alarm WHERE cleared_at IS NULL AND database = ?1 AND kind IN (\(freezingWords))
        UNION ALL SELECT kind FROM alarm
            WHERE cleared_at IS NULL AND database IS NULL AND kind IN (\(freezingWords)) AND node = ?2
        LIMIT 1
        """
    static let freezingWords = freezingAlarms.map { "'\($0)'" }.joined(separator: ", ")

    /// Databases in the order of their ids, so that a run goes over all of them page by page.
    package func databaseIDs(after id: DatabaseID?, limit: Int) async throws(CatalogError) -> [DatabaseID] {
        try await read { database in
            try database.rows(
                "SELECT id FROM database WHERE id > ? ORDER BY id LIMIT ?", [id?.blob ?? Data(), limit]
            ).map { try $0.identifier("id") }
        }
    }

    // MARK: - Revision

    /// Counts the changes of policies and holds: what was decided by others than those that stand is not done.
    static func countRevision(in database: GRDB.Database) throws {
        try setRevision(try revision(in: database), in: database)
    }

    /// Makes it greater than it is, and than `least`.
    static func setRevision(_ least: Int64, in database: GRDB.Database) throws {
        let next = max(try revision(in: database), least) + 1
        try database.run(
            "INSERT INTO setting VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            [revisionKey, Data(String(next).utf8)])
    }

    static func revision(in database: GRDB.Database) throws -> Int64 {
        let text: Data? = try database.value("SELECT value FROM setting WHERE key = ?", [revisionKey])
        return text.flatMap { Int64(String(decoding: $0, as: UTF8.self)) } ?? 0
    }

    private static let revisionKey = "retention-revision"
}

extension ScopedPolicy {
    /// - Throws: what was stored was checked then; it is a damaged catalog that holds anything else.
    init(_ entry: Catalog.PolicyEntry) throws(CatalogError) {
        do throws(RetentionError) {
            self.init(scope: entry.scope, policy: try entry.terms.policy(), grace: try entry.terms.graceSpan())
        } catch {
            throw .damaged(column: "terms")
        }
    }
}

/// One text for one value: keys sorted, nothing between.
enum CanonicalJSON {
    static func text(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
