import Foundation
import GRDB
package import MusterModel

/// The whole fleet at once. It is summed up where the rows are: a look at 100,000 databases reads hardly any of them
/// one by one.
extension Catalog {
    /// Databases of one node of which the same is to be said.
    package struct SurveyGroup: Hashable, Sendable {
        /// The node's number.
        package var node: Int64
        /// As far as rows tell: who is silent, the coordinator knows.
        package var facts: ProvenState.Facts
        /// See `Database.writerVersion`; 0 besides for what is known to keep no WAL.
        package var writerVersion: UInt32
        package var count: Int
    }

    /// When a database's changes have been without a receipt for too long.
    package struct Patience: Hashable, Sendable {
        package var now: Timestamp
        package var tolerance: Duration
        /// The fleet's objective; nil for what the schedules explain.
        package var objective: Duration?
        /// Without an objective a database may go without a receipt for so often its interval.
        package var intervals: Int

        package init(now: Timestamp, tolerance: Duration, objective: Duration?, intervals: Int) {
            (self.now, self.tolerance, self.objective, self.intervals) = (now, tolerance, objective, intervals)
        }

        /// As `stuckCondition` takes them: the first three.
        var arguments: StatementArguments {
            [(now - tolerance).microseconds, objective?.microseconds, intervals]
        }
    }

    /// What is known of a node besides its row; see `oldestRisk`.
    package struct NodeWord: Hashable, Sendable {
        package var node: Int64
        /// When it last vouched for all that stands in its rows.
        package var vouchedAt: Timestamp
        /// How long its word counts.
        package var validity: Duration
        package var isLate: Bool

        package init(node: Int64, vouchedAt: Timestamp, validity: Duration, isLate: Bool) {
            (self.node, self.vouchedAt, self.validity, self.isLate) = (node, vouchedAt, validity, isLate)
        }
    }

    /// - Parameters:
    ///   - provenSince: an inspection that is older proves no more.
    ///   - patience: what is without a receipt for longer is stuck.
    ///   - words: only databases with these in their names or those of their nodes; see `NameSearch`.
    package func survey(
        provenSince: Timestamp, _ patience: Patience, words: String = ""
    ) async throws(CatalogError) -> [SurveyGroup] {
        let arguments = patience.arguments + [provenSince.microseconds, words]
        return try await read { database in
            try database.list(Self.surveyQuery, arguments) { row in
                let code: Int = row["code"]
                var facts = ProvenState.Facts()
                facts.isRemoved = code & 1 != 0
                facts.isFailing = code & 2 != 0
                facts.isDamaged = code & 4 != 0
                facts.hasSnapshot = code & 8 != 0
                facts.isProofFresh = code & 16 != 0
                facts.isStuck = code & 32 != 0
                return SurveyGroup(
                    node: row["number"], facts: facts,
                    writerVersion: UInt32(truncatingIfNeeded: row["writer_version"] as Int64), count: row["count"])
            }
        }
    }

    static let surveyQuery = """
        SELECT n.number, (d.state = '\(removedState)') + 2 * (d.state IN ('failing', 'unsupported'))
            + 4 * (d.id IN (\(damagedIDs))) + 8 * (d.newest_snapshot IS NOT NULL)
            + 16 * (coalesce(d.verified_at, \(Int64.min)) >= ?4) + 32 * (\(stuckCondition)) AS code,
            iif(d.journal_mode IN ('', 'wal'), d.writer_version, 0) AS writer_version, count(*) AS count
        FROM database d JOIN node n ON n.id = d.node WHERE \(namedCondition("?5"))
        GROUP BY 1, 2, 3
        """

    static func namedCondition(_ words: String) -> String {
        "(\(words) = '' OR instr(lower(d.name), lower(\(words))) OR instr(lower(n.name), lower(\(words))))"
    }

    /// As `Freshness.stuckSince` of the coordinator has it; a test holds the two together.
    static let stuckCondition = """
        (d.unprotected_since < ?1 + coalesce(n.clock_offset, 0) - CASE
            WHEN d.freshness_milliseconds > 0 THEN d.freshness_milliseconds * 1000
            ELSE coalesce(?2, d.interval_milliseconds * ?3 * 1000) END
        AND d.capture <> 'paused' AND d.state <> '\(removedState)') IS TRUE
        """

    /// Which databases of some nodes are shown.
    package struct CellQuery: Sendable {
        package var nodes: [NodeID]
        package var words = ""
        package var state: ProvenState?
        /// Then all is `stale` that is not failing.
        package var areSilent = false
        package var provenSince: Timestamp
        package var patience: Patience
        /// Of each node.
        package var limit: Int

        package init(nodes: [NodeID], provenSince: Timestamp, patience: Patience, limit: Int) {
            (self.nodes, self.provenSince, self.patience, self.limit) = (nodes, provenSince, patience, limit)
        }
    }

    /// Databases that their nodes protect, by name.
    package func cells(_ query: CellQuery) async throws(CatalogError) -> [NodeID: [Database]] {
        guard !query.nodes.isEmpty else { return [:] }
        let sql = Self.cellsQuery(nodes: query.nodes.count, query.state, areSilent: query.areSilent)
        let first = query.patience.arguments + [query.words, query.provenSince.microseconds, query.limit]
        let arguments = first + StatementArguments(query.nodes.map(\.blob))
        let found = try await read { try $0.list(sql, arguments, Self.database) }
        return Dictionary(grouping: found, by: \.node)
    }

    static func cellsQuery(nodes: Int, _ state: ProvenState?, areSilent: Bool) -> String {
        let bad = "(d.state IN ('failing', 'unsupported') OR is_damaged)"
        let fine = "NOT \(bad) AND NOT (\(stuckCondition))"
        let proof = "d.newest_snapshot IS NOT NULL AND coalesce(d.verified_at, \(Int64.min))"
        let condition =
            switch state {
            case nil, .removed: "TRUE"
            case .failing: bad
            case .stale: areSilent ? "NOT \(bad)" : "NOT \(bad) AND (\(stuckCondition))"
            case .never: "\(fine) AND d.newest_snapshot IS NULL"
            case .unproven: "\(fine) AND \(proof) < ?5"
            case .proven: "\(fine) AND \(proof) >= ?5"
            }
        let marks = (0..<nodes).map { "?\($0 + 7)" }.joined(separator: ", ")
        return """
            SELECT * FROM (\(databaseColumns), row_number() OVER (PARTITION BY d.node ORDER BY d.name, d.rowid) AS place
                \(databaseTables) WHERE d.node IN (\(marks)) AND d.state <> '\(removedState)'
                    AND \(namedCondition("?4")) AND \(condition))
            WHERE place <= ?6 ORDER BY node_name, node, place
            """
    }

    /// What would be lost at most, of any database that is protected, if its node were lost now; nil where there is no
    /// snapshot at all.
    ///
    /// - Parameter words: of every node that counts.
    package func oldestRisk(
        now: Timestamp, words: [NodeWord]
    ) async throws(CatalogError) -> Duration? {
        var text = "["
        for word in words {
            if text.utf8.count > 1 { text += "," }
            text += "[\(word.node),\(word.vouchedAt.microseconds),\(word.validity.microseconds),\(word.isLate ? 1 : 0)]"
        }
        text += "]"
        let arguments: StatementArguments = [text, now.microseconds]
        return try await read { database in
            let risk: Int64? = try database.value(Self.riskQuery, arguments)
            return risk.map { .microseconds($0) }
        }
    }

    /// As `Freshness.recoveryPoint` of the coordinator has it; a test holds the two together.
    static let riskQuery = """
        WITH word(node, vouched_at, validity, is_late) AS MATERIALIZED (
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1))
        SELECT max(CASE
            WHEN NOT w.is_late AND NOT d.changed AND d.unprotected_since IS NULL AND d.capture <> 'paused'
                AND d.change_counter <> 0 AND d.change_counter = d.receipt_change_counter
                AND max(d.reported_at, w.vouched_at) >= d.newest_received_at
                AND ?2 - max(d.reported_at, w.vouched_at) <= max(w.validity, d.interval_milliseconds * 1000) THEN 0
            ELSE max(0, ?2 - d.newest_received_at, ?2 + coalesce(n.clock_offset, 0) - d.newest_created_at) END)
        FROM word w CROSS JOIN node n ON n.number = w.node CROSS JOIN database d ON d.node = n.id
        WHERE d.state <> '\(removedState)' AND d.newest_received_at IS NOT NULL AND d.newest_created_at IS NOT NULL
        """
}

/// How names are searched for: a part of them, and capital letters of ASCII are as small ones; others are as they are.
package struct NameSearch: Sendable {
    private let wanted: [UInt8]

    package init(_ words: String) { wanted = Self.folded(words) }

    package func finds(_ name: String) -> Bool { wanted.isEmpty || Self.folded(name).contains(wanted) }

    /// As lower() of SQLite does (sqlite.org/lang_corefunc.html).
    private static func folded(_ text: String) -> [UInt8] {
        text.utf8.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 + 32 : $0 }
    }
}
