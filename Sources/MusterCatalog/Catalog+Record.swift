import Foundation
import GRDB
package import MusterModel

/// What happened: alarms that stand, and the audit.
extension Catalog {
    package struct Alarm: Hashable, Sendable {
        package var kind: AlarmKind
        package var node: NodeID?
        package var database: DatabaseID?
        package var summary: String
        package var hint: String
        package var since: Timestamp

        package init(
            kind: AlarmKind, node: NodeID?, database: DatabaseID?, summary: String, hint: String, since: Timestamp
        ) {
            (self.kind, self.node, self.database) = (kind, node, database)
            (self.summary, self.hint, self.since) = (summary, hint, since)
        }
    }

    package struct AuditEntry: Hashable, Sendable {
        package let number: Int64
        package let at: Timestamp
        package let actor: String
        package let action: String
        package let subject: String
        package let hash: [UInt8]
    }

    package struct Totals: Hashable, Sendable {
        package let nodes: Int
        package let databases: Int
        package let snapshots: Int
        package let storedBytes: Int64
    }

    /// Alarms that nobody cleared, newest first.
    ///
    /// What was news for its time is none any more.
    package func alarms(now: Timestamp) async throws(CatalogError) -> [Alarm] {
        try await read { database in
            let arguments = AlarmKind.news.flatMap { kind, age -> [any DatabaseValueConvertible] in
                [kind.rawValue, (now - age).microseconds]
            }
            return try Row.fetchAll(
                database,
                sql: """
                    SELECT * FROM alarm WHERE cleared_at IS NULL
                        \(AlarmKind.news.map { _ in "AND (kind <> ? OR since >= ?)" }.joined(separator: " "))
                    ORDER BY number DESC LIMIT 10000
                    """, arguments: StatementArguments(arguments)
            )
            .map { row in
                Alarm(
                    kind: try row.word("kind"), node: try row.optionalIdentifier("node"),
                    database: try row.optionalIdentifier("database"), summary: row["summary"], hint: row["hint"],
                    since: row.time("since"))
            }
        }
    }

    /// Clears the alarms of one kind that stand for a database.
    ///
    /// - Returns: how many.
    package func clearAlarms(_ kind: AlarmKind, of id: DatabaseID, now: Timestamp) async throws(CatalogError) -> Int {
        try await write { database in
            try database.run(
                "UPDATE alarm SET cleared_at = ? WHERE database = ? AND kind = ? AND cleared_at IS NULL",
                [now.microseconds, id.blob, kind.rawValue])
            let count = database.changesCount
            if count > 0, kind == .flood { try Self.acceptSchedule(of: id, in: database) }
            return count
        }
    }

    package func totals() async throws(CatalogError) -> Totals {
        try await read { database in
            let row = try Row.fetchOne(
                database,
                sql: """
                    SELECT (SELECT count(*) FROM node WHERE state = 'active') AS nodes, count(*) AS databases,
                        coalesce(sum(snapshot_count), 0) AS snapshots, coalesce(sum(stored_bytes), 0) AS stored_bytes
                    FROM database
                    """)
            guard let row else { throw CatalogError.damaged(column: "database") }
            return Totals(
                nodes: row["nodes"], databases: row["databases"], snapshots: row["snapshots"],
                storedBytes: row["stored_bytes"])
        }
    }

    /// Adds a row to the audit; each row's hash covers the one before it.
    package func audit(
        actor: String, action: String, subject: String, now: Timestamp
    ) async throws(CatalogError) {
        let sha256 = self.sha256
        try await write { database in
            let previous =
                try Data.fetchOne(database, sql: "SELECT hash FROM audit ORDER BY number DESC LIMIT 1")
                ?? Data(repeating: 0, count: 32)
            let hash = sha256(Self.auditText([UInt8](previous), now, actor, action, subject))
            try database.execute(
                sql: """
                    INSERT INTO audit(at, actor, action, subject, previous_hash, hash) VALUES (?, ?, ?, ?, ?, ?)
                    """, arguments: [now.microseconds, actor, action, subject, previous, Data(hash)])
        }
    }

    /// Newest first.
    package func auditEntries(limit: Int) async throws(CatalogError) -> [AuditEntry] {
        try await read { database in
            try Row.fetchAll(database, sql: "SELECT * FROM audit ORDER BY number DESC LIMIT ?", arguments: [limit])
                .map { row in
                    AuditEntry(
                        number: row["number"], at: row.time("at"), actor: row["actor"], action: row["action"],
                        subject: row["subject"], hash: row.byteArray("hash"))
                }
        }
    }

    /// Reads the whole audit again.
    ///
    /// - Returns: the number of the first row that does not follow from the one before, or nil.
    package func firstBrokenAuditRow() async throws(CatalogError) -> Int64? {
        let sha256 = self.sha256
        return try await read { database in
            var previous = [UInt8](repeating: 0, count: 32)
            let rows = try Row.fetchCursor(database, sql: "SELECT * FROM audit ORDER BY number")
            while let row = try rows.next() {
                let hash = sha256(
                    Self.auditText(previous, row.time("at"), row["actor"], row["action"], row["subject"]))
                guard row.byteArray("previous_hash") == previous, row.byteArray("hash") == hash else {
                    return row["number"]
                }
                previous = hash
            }
            return nil
        }
    }

    /// Raises the alarm; a database has one of each kind that stands, which says the newest.
    static func raise(_ alarm: Alarm, in database: GRDB.Database) throws {
        if let id = alarm.database {
            try database.execute(
                sql: "UPDATE alarm SET summary = ?, hint = ? WHERE database = ? AND kind = ? AND cleared_at IS NULL",
                arguments: [alarm.summary, alarm.hint, id.blob, alarm.kind.rawValue])
            guard database.changesCount == 0 else { return }
        }
        try database.execute(
            sql: "INSERT INTO alarm(kind, node, database, summary, hint, since) VALUES (?, ?, ?, ?, ?, ?)",
            arguments: [
                alarm.kind.rawValue, alarm.node?.blob, alarm.database?.blob, alarm.summary, alarm.hint,
                alarm.since.microseconds,
            ])
    }

    /// Fields of length and bytes, so that no two rows have one text.
    private static func auditText(
        _ previous: [UInt8], _ now: Timestamp, _ actor: String, _ action: String, _ subject: String
    ) -> [UInt8] {
        func field(_ bytes: [UInt8]) -> [UInt8] {
            withUnsafeBytes(of: UInt64(bytes.count).bigEndian) { Array($0) } + bytes
        }
        return previous + withUnsafeBytes(of: now.microseconds.bigEndian) { Array($0) }
            + [actor, action, subject].flatMap { field(Array($0.utf8)) }
    }
}
