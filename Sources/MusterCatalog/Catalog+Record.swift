import Foundation
import GRDB
package import MusterModel

/// What stands: alarms that wait for a person, and what there is in all.
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

    package struct Totals: Hashable, Sendable {
        package let nodes: Int
        package let databases: Int
        package let snapshots: Int
        package let storedBytes: Int64
    }

    /// Clears the alarms of one kind that stand for a database.
    ///
    /// - Returns: how many.
    package func clearAlarms(
        _ kind: AlarmKind, of id: DatabaseID, now: Timestamp, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> Int {
        try await write(auditing: row, if: { $0 > 0 }) { database in
            try database.run(
                "UPDATE alarm SET cleared_at = ? WHERE database = ? AND kind = ? AND cleared_at IS NULL",
                [now.microseconds, id.blob, kind.rawValue])
            let count = database.changesCount
            if count > 0, kind == .flood || kind == .schedule { try Self.acceptSchedule(of: id, in: database) }
            if count > 0, kind == .entropy { try Self.acceptChange(of: id, in: database) }
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
}
