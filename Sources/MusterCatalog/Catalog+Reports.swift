import Foundation
import GRDB
package import MusterModel

/// What nodes say of their databases.
extension Catalog {
    package struct Report: Sendable {
        package var agentVersion: String
        /// The node's clock minus ours.
        package var clockOffset: Duration
        package var databases: [Database]
        /// On the disk of the agent's state; nil where it did not say.
        package var freeBytes: UInt64?
        /// Only with a delta.
        package var removed: [DatabaseID]
        /// True: what is not in `databases` and was reported before is protected no longer.
        package var isWhole: Bool

        package init(
            agentVersion: String, clockOffset: Duration, databases: [Database], removed: [DatabaseID] = [],
            isWhole: Bool
        ) {
            (self.agentVersion, self.clockOffset, self.databases) = (agentVersion, clockOffset, databases)
            (self.removed, self.isWhole) = (removed, isWhole)
        }
    }

    /// A long report is written in parts, so that no commit waits behind all of it.
    private static let databasesAtOnce = 500

    /// Stores what a node says of its databases, and that it was heard of.
    ///
    /// - Returns: databases of the report that belong to another node; nothing was changed for those.
    package func record(
        _ report: Report, from node: NodeID, now: Timestamp
    ) async throws(CatalogError) -> [DatabaseID] {
        var foreign: [DatabaseID] = []
        var rest = report.databases[...]
        while !rest.isEmpty {
            let part = rest.prefix(Self.databasesAtOnce)
            rest = rest.dropFirst(part.count)
            foreign += try await write { database in
                guard try Self.isActive(node, in: database) else { return [] }
                let foreign = try part.filter { try !Self.upsert($0, of: node, now: now, in: database) }.map(\.id)
                try Self.checkCount(of: node, in: database)
                return foreign
            }
        }
        try await write { database in
            // One that ended while its report was read: nothing that it says is news.
            guard try Self.isActive(node, in: database) else { return }
            try database.run(
                """
                UPDATE node SET last_contact_at = ?1, reported_at = ?1, agent_version = ?2, clock_offset = ?3,
                    free_bytes = ?5
                WHERE id = ?4
                """,
                [
                    now.microseconds, report.agentVersion, report.clockOffset.microseconds, node.blob,
                    report.freeBytes.map { Int64(clamping: $0) },
                ])
            for id in report.removed {
                try database.run(
                    "UPDATE database SET state = ? WHERE id = ? AND node = ?", [Self.removedState, id.blob, node.blob])
            }
            if report.isWhole {
                // What was never reported may be newer than the report: its first commit came before.
                try database.run(
                    "UPDATE database SET state = ? WHERE node = ? AND reported_at IS NOT NULL AND reported_at <> ?",
                    [Self.removedState, node.blob, now.microseconds])
            }
        }
        return foreign
    }

    /// An agent that was started anew knows no better than since then: what was said before stands until a receipt.
    private static func upsert(
        _ entry: Database, of node: NodeID, now: Timestamp, in database: GRDB.Database
    ) throws -> Bool {
        guard try claim(entry.id, named: entry.name, by: node, in: database) else { return false }
        try tellOfSchema(entry, of: node, now: now, in: database)
        try takeSchedule(entry, of: node, now: now, in: database)
        let unprotectedSince = entry.unprotectedSince?.microseconds
        try database.run(
            """
            UPDATE database SET name = ?, path = ?, schedule = ?, state = ?, error_summary = ?, error_hint = ?,
                attempted_at = ?, changed = ?, change_counter = ?, receipt_change_counter = ?,
                unprotected_since = CASE WHEN unprotected_since < ? THEN unprotected_since ELSE ? END,
                capture = ?, reported_at = ?, freshness_milliseconds = ?,
                writer_version = coalesce(nullif(?, 0), writer_version),
                journal_mode = coalesce(nullif(?, ''), journal_mode)
            WHERE id = ?
            """,
            [
                entry.name, entry.path, entry.schedule, entry.state, entry.errorSummary, entry.errorHint,
                entry.attemptedAt?.microseconds, entry.hasChanged, Int64(bitPattern: entry.changeCounter),
                Int64(bitPattern: entry.receiptChangeCounter), unprotectedSince, unprotectedSince, entry.capture,
                now.microseconds, entry.freshnessMilliseconds, Int64(entry.writerVersion),
                entry.journalMode, entry.id.blob,
            ])
        return true
    }

    /// So much shorter, a schedule is worth a person's look before retention goes by it.
    private static let tellingFactor: Int64 = 4

    /// `slot_interval_milliseconds` is the longest interval ever reported. A shorter one counts for retention only
    /// after it stood for a week, and one that is shorter still begins a week of its own: a node that floods must not
    /// make room for its flood by a word, and a person is told meanwhile.
    private static func takeSchedule(
        _ entry: Database, of node: NodeID, now: Timestamp, in database: GRDB.Database
    ) throws {
        let row = try database.row(
            "SELECT interval_milliseconds, slot_interval_milliseconds, awaits_schedule FROM database WHERE id = ?",
            [entry.id.blob])
        guard let row else { return }
        let (known, longest): (Int64, Int64) = (row["interval_milliseconds"], row["slot_interval_milliseconds"])
        try database.run(
            """
            UPDATE database SET interval_milliseconds = ?1, awaits_schedule = 0,
                slot_interval_milliseconds = max(slot_interval_milliseconds, ?1),
                interval_shortened_at = CASE WHEN ?1 >= slot_interval_milliseconds THEN NULL
                    WHEN ?1 < interval_milliseconds THEN ?2 ELSE coalesce(interval_shortened_at, ?2) END
            WHERE id = ?3
            """, [entry.intervalMilliseconds, now.microseconds, entry.id.blob])
        guard known != entry.intervalMilliseconds || row["awaits_schedule"] else { return }
        if entry.intervalMilliseconds >= longest || entry.intervalMilliseconds < longest / tellingFactor {
            // Each change is news anew, and a schedule that is as it was is none.
            try database.run(
                "UPDATE alarm SET cleared_at = ? WHERE database = ? AND kind = ? AND cleared_at IS NULL",
                [now.microseconds, entry.id.blob, AlarmKind.schedule.rawValue])
        }
        guard entry.intervalMilliseconds < longest / tellingFactor else { return }
        try raise(scheduleAlarm(entry, of: node, longest: .milliseconds(longest), now: now), in: database)
    }

    private static func scheduleAlarm(
        _ entry: Database, of node: NodeID, longest: Duration, now: Timestamp
    ) -> Alarm {
        let isScheduled = entry.intervalMilliseconds > 0
        let interval = Duration.milliseconds(entry.intervalMilliseconds).text
        return Alarm(
            kind: .schedule, node: node, database: entry.id,
            summary: "database '\(entry.name)' was scheduled each \(longest.text), and its node says "
                + (isScheduled ? "each \(interval) now" : "that it has no schedule now"),
            hint: "If somebody changed it, 'muster alarm clear schedule' lets retention go by it at once. Else "
                + (isScheduled
                    ? "it does so a week after the change: who has the node's keys can then push snapshots out."
                    : "retention goes on by the one before."),
            since: now)
    }

    /// A mark tells nothing but whether it is the one from before; one that is not known changes nothing.
    private static func tellOfSchema(
        _ entry: Database, of node: NodeID, now: Timestamp, in database: GRDB.Database
    ) throws {
        guard !entry.schemaMark.isEmpty else { return }
        let known: Data? = try database.value("SELECT schema_mark FROM database WHERE id = ?", [entry.id.blob])
        let mark = Data(entry.schemaMark)
        guard known != mark else { return }
        try database.run("UPDATE database SET schema_mark = ? WHERE id = ?", [mark, entry.id.blob])
        guard known != nil else { return }
        // Each change is news anew. The one before is not kept: a node can report changes without end.
        try database.run(
            "DELETE FROM alarm WHERE database = ? AND kind = ? AND cleared_at IS NULL",
            [entry.id.blob, AlarmKind.schema.rawValue])
        try raise(
            Alarm(
                kind: .schema, node: node, database: entry.id,
                summary: "the schema of database '\(entry.name)' has changed",
                hint: "After a migration that is as it should be: 'muster alarm clear schema', or it ends in a week. "
                    + "If nobody changed it, restore a snapshot of before and the newest beside it, with 'muster restore "
                    + "ID --to PATH', and compare what 'sqlite3 PATH .schema' prints of the two.",
                since: now),
            in: database)
    }
}
