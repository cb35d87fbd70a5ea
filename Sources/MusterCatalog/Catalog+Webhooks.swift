import Foundation
import GRDB
package import MusterModel

/// What became of alarms from one look to the next, and the events that tell of it.
extension Catalog {
    /// An alarm as it is told: names, no ids.
    package struct StandingAlarm: Hashable, Sendable {
        package var key: String
        package var kind: AlarmKind
        package var severity: AlarmSeverity
        package var node = ""
        package var database = ""
        package var store = ""
        package var summary: String
        package var hint: String
        package var since: Timestamp

        package init(
            key: String, kind: AlarmKind, severity: AlarmSeverity, summary: String, hint: String, since: Timestamp
        ) {
            (self.key, self.kind, self.severity) = (key, kind, severity)
            (self.summary, self.hint, self.since) = (summary, hint, since)
        }
    }

    package enum AlarmChange: String, Sendable { case begun, changed, ended }

    package struct WebhookEvent: Hashable, Sendable {
        package let number: Int64
        package let body: String
        package let createdAt: Timestamp
        package let attempts: Int
    }

    package struct WebhookTrouble: Hashable, Sendable {
        package let url: String
        package let waiting: Int
        package let since: Timestamp
        package let reason: String
    }

    /// Events that wait for one webhook; beyond that the oldest go.
    package static let mostEvents = 10_000

    /// Notes what stands now, and what is to be told of it.
    ///
    /// - Parameters:
    ///   - untold: keys of what stands all the same, and is told in a sum: none of it has ended.
    ///   - damping: an alarm ends once it is missing for so long.
    ///   - events: the bodies that one change makes, by URL.
    package func follow(
        _ alarms: [StandingAlarm], untold: Set<String> = [], now: Timestamp, damping: Duration,
        events: @escaping @Sendable (AlarmChange, StandingAlarm) -> [(url: String, body: String)]
    ) async throws(CatalogError) {
        let known = try await read { try Self.standingAlarms(in: $0) }
        let current = Dictionary(alarms.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        let isQuiet =
            current.keys.allSatisfy { known[$0] != nil }
            && known.allSatisfy { key, row in
                let isSame = current[key].map { $0.severity == row.alarm.severity } ?? untold.contains(key)
                return row.missingSince == nil && isSame
            }
        // Nearly every look finds what the one before has found, and must cost no durable write.
        guard !isQuiet else { return }
        try await write { database in
            let known = try Self.standingAlarms(in: database)
            var changes: [(AlarmChange, StandingAlarm)] = []
            for alarm in current.values.sorted(by: { $0.key < $1.key }) {
                let before = known[alarm.key]
                if before == nil { changes.append((.begun, alarm)) }
                if let before, before.alarm.severity != alarm.severity { changes.append((.changed, alarm)) }
                if before?.alarm != alarm || before?.missingSince != nil { try Self.put(alarm, in: database) }
            }
            for (key, row) in known.sorted(by: { $0.key < $1.key }) where current[key] == nil {
                guard !untold.contains(key) else {
                    if row.missingSince != nil {
                        try database.run("UPDATE standing_alarm SET missing_since = NULL WHERE key = ?", [key])
                    }
                    continue
                }
                guard let missing = row.missingSince, missing <= now else {
                    try database.run(
                        "UPDATE standing_alarm SET missing_since = ? WHERE key = ?", [now.microseconds, key])
                    continue
                }
                guard now - missing >= damping else { continue }
                try database.run("DELETE FROM standing_alarm WHERE key = ?", [key])
                changes.append((.ended, row.alarm))
            }
            for (change, alarm) in changes {
                for event in events(change, alarm) { try Self.add(event.url, event.body, now: now, in: database) }
            }
        }
    }

    /// The oldest that waits for a webhook, where it is due.
    package func dueEvent(of url: String, now: Timestamp) async throws(CatalogError) -> WebhookEvent? {
        try await read { database in
            let row = try database.row(
                "SELECT * FROM webhook_event WHERE url = ? ORDER BY number LIMIT 1", [url])
            guard let row, row.time("due_at") <= now else { return nil }
            return WebhookEvent(
                number: row["number"], body: row["body"], createdAt: row.time("created_at"), attempts: row["attempts"])
        }
    }

    /// It was taken, or given up.
    package func remove(_ event: WebhookEvent) async throws(CatalogError) {
        try await write { try $0.run("DELETE FROM webhook_event WHERE number = ?", [event.number]) }
    }

    package func postpone(
        _ event: WebhookEvent, until time: Timestamp, reason: String
    ) async throws(CatalogError) {
        try await write { database in
            try database.run(
                "UPDATE webhook_event SET due_at = ?, attempts = attempts + 1, reason = ? WHERE number = ?",
                [time.microseconds, reason, event.number])
        }
    }

    /// Webhooks whose oldest event was tried so often in vain.
    package func webhookTroubles(attempts: Int) async throws(CatalogError) -> [WebhookTrouble] {
        try await read { database in
            try database.rows(
                """
                SELECT url, count(*) AS waiting, min(created_at) AS since, max(reason) AS reason FROM webhook_event
                GROUP BY url HAVING max(attempts) >= ? ORDER BY url
                """, [attempts]
            ).map { row in
                WebhookTrouble(
                    url: row["url"], waiting: row["waiting"], since: row.time("since"), reason: row["reason"])
            }
        }
    }

    /// Events of webhooks that are not configured any more are told to nobody.
    package func dropEvents(exceptOf urls: [String]) async throws(CatalogError) {
        try await write { database in
            let marks = urls.map { _ in "?" }.joined(separator: ", ")
            try database.execute(
                sql: "DELETE FROM webhook_event WHERE url NOT IN (\(marks))", arguments: StatementArguments(urls))
        }
    }

    private static func add(_ url: String, _ body: String, now: Timestamp, in database: GRDB.Database) throws {
        try database.run(
            "INSERT INTO webhook_event(url, body, created_at, due_at) VALUES (?1, ?2, ?3, ?3)",
            [url, body, now.microseconds])
        try database.run(
            """
            DELETE FROM webhook_event WHERE url = ?1 AND number <=
                (SELECT number FROM webhook_event WHERE url = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)
            """, [url, mostEvents])
    }

    private static func put(_ alarm: StandingAlarm, in database: GRDB.Database) throws {
        try database.run(
            """
            INSERT INTO standing_alarm(key, kind, severity, node, database, store, summary, hint, since)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT(key) DO UPDATE SET severity = excluded.severity, summary = excluded.summary,
                hint = excluded.hint, missing_since = NULL
            """,
            [
                alarm.key, alarm.kind.rawValue, alarm.severity.rawValue, alarm.node, alarm.database, alarm.store,
                alarm.summary, alarm.hint, alarm.since.microseconds,
            ])
    }

    private static func standingAlarms(
        in database: GRDB.Database
    ) throws -> [String: (alarm: StandingAlarm, missingSince: Timestamp?)] {
        var standing: [String: (alarm: StandingAlarm, missingSince: Timestamp?)] = [:]
        for row in try database.rows("SELECT * FROM standing_alarm", []) {
            var alarm = StandingAlarm(
                key: row["key"], kind: try row.word("kind"), severity: try row.word("severity"),
                summary: row["summary"], hint: row["hint"], since: row.time("since"))
            (alarm.node, alarm.database, alarm.store) = (row["node"], row["database"], row["store"])
            standing[alarm.key] = (alarm, row.optionalTime("missing_since"))
        }
        return standing
    }
}
