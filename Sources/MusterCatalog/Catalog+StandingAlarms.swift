import Foundation
import GRDB
package import MusterModel

/// What stands, in shares: however much there is of one node, that of others is found too.
extension Catalog {
    /// Of one kind so many of a node are read with their words.
    package static let alarmsOfANode = 11
    private static let mostAlarms = 10_000

    /// How many alarms of a kind stand of one node, or of none.
    package struct AlarmShare: Hashable, Sendable {
        package let kind: AlarmKind
        package let node: NodeID?
        package let count: Int
    }

    /// So many are kept for a rebuild: each may be of a database.
    private static let mostFreezes = 10_000

    /// Alarms that stand and keep what they are of from expiring, the oldest first.
    package func standingFreezes() async throws(CatalogError) -> [Alarm] {
        try await read { database in
            try database.rows(Self.freezesQuery, [Self.mostFreezes]).map { row in
                Alarm(
                    kind: try row.word("kind"), node: try row.optionalIdentifier("node"),
                    database: try row.optionalIdentifier("database"), summary: row["summary"], hint: row["hint"],
                    since: row.time("since"))
            }
        }
    }

    static let freezesQuery = """
        SELECT * FROM alarm INDEXED BY alarm_standing WHERE cleared_at IS NULL AND kind IN (\(freezingWords))
        ORDER BY number LIMIT ?
        """

    /// Raises those again that do not stand.
    package func restore(_ alarms: [Alarm]) async throws(CatalogError) {
        try await write { database in
            for alarm in alarms {
                try database.run(
                    """
                    INSERT INTO alarm(kind, node, database, summary, hint, since) SELECT ?1, ?2, ?3, ?4, ?5, ?6
                    WHERE NOT EXISTS (SELECT 1 FROM alarm
                        WHERE cleared_at IS NULL AND database IS ?3 AND kind = ?1 AND node IS ?2)
                    """,
                    [
                        alarm.kind.rawValue, alarm.node?.blob, alarm.database?.blob, alarm.summary, alarm.hint,
                        alarm.since.microseconds,
                    ])
            }
        }
    }

    /// Alarms that nobody cleared: of each kind the oldest of every node. What was news for its time is none any more.
    package func alarms(now: Timestamp) async throws(CatalogError) -> [Alarm] {
        let (condition, arguments) = Self.standing(at: now)
        let sql = """
            SELECT a.* FROM (SELECT a.number, row_number() OVER (PARTITION BY a.kind, a.node ORDER BY a.number) AS place
                FROM alarm a WHERE \(condition)) p CROSS JOIN alarm a ON a.number = p.number
            WHERE p.place <= \(Self.alarmsOfANode) ORDER BY p.place, p.number LIMIT \(Self.mostAlarms)
            """
        return try await read { database in
            try database.rows(sql, arguments).map { row in
                Alarm(
                    kind: try row.word("kind"), node: try row.optionalIdentifier("node"),
                    database: try row.optionalIdentifier("database"), summary: row["summary"], hint: row["hint"],
                    since: row.time("since"))
            }
        }
    }

    /// How many they are, those that are not read included.
    package func alarmShares(now: Timestamp) async throws(CatalogError) -> [AlarmShare] {
        let (condition, arguments) = Self.standing(at: now)
        let sql = "SELECT a.kind, a.node, count(*) AS count FROM alarm a WHERE \(condition) GROUP BY a.kind, a.node"
        return try await read { database in
            try database.rows(sql, arguments).map { row in
                AlarmShare(
                    kind: try row.word("kind"), node: try row.optionalIdentifier("node"), count: row["count"])
            }
        }
    }

    /// Keys of those of them that webhooks were told of: the kind and, after a slash, the id of the database or node.
    package func toldAlarms(now: Timestamp) async throws(CatalogError) -> [String] {
        let (condition, arguments) = Self.standing(at: now)
        let sql = """
            SELECT 1 FROM alarm a WHERE \(condition) AND a.kind = ?
                AND (a.database = ? OR a.database IS NULL AND a.node = ?) LIMIT 1
            """
        return try await read { database in
            try database.rows("SELECT key, kind FROM standing_alarm", []).compactMap { row -> String? in
                let (key, kind): (String, String) = (row["key"], row["kind"])
                guard let id = Hex.decode(key.dropFirst(kind.utf8.count + 1)).map({ Data($0) }), !id.isEmpty,
                    try database.row(sql, arguments + [kind, id, id]) != nil
                else { return nil }
                return key
            }
        }
    }

    private static func standing(at now: Timestamp) -> (condition: String, arguments: StatementArguments) {
        let news = AlarmKind.news.sorted { $0.key.rawValue < $1.key.rawValue }
        let values = news.flatMap { kind, age -> [any DatabaseValueConvertible] in
            [kind.rawValue, (now - age).microseconds]
        }
        let condition = "a.cleared_at IS NULL" + news.map { _ in " AND (a.kind <> ? OR a.since >= ?)" }.joined()
        return (condition, StatementArguments(values))
    }

    private static let namedAtOnce = 500

    /// Rows of these databases, in no order.
    package func databases(_ ids: Set<DatabaseID>) async throws(CatalogError) -> [Database] {
        guard !ids.isEmpty else { return [] }
        return try await read { database in
            var (rest, found) = (Array(ids)[...], [Database]())
            while !rest.isEmpty {
                let part = rest.prefix(Self.namedAtOnce)
                rest = rest.dropFirst(part.count)
                let marks = part.map { _ in "?" }.joined(separator: ", ")
                found += try database.list(
                    Self.databaseQuery + " WHERE d.id IN (\(marks))", StatementArguments(part.map(\.blob)),
                    Self.database)
            }
            return found
        }
    }
}
