import GRDB
package import MusterModel

/// Alarms of a node and of none of its databases.
extension Catalog {
    /// Raises the alarm; a node has one of each kind that stands, which says the newest.
    package func raise(_ alarm: Alarm, ofNode node: NodeID) async throws(CatalogError) {
        try await write { database in
            try database.run(
                """
                UPDATE alarm SET summary = ?, hint = ?
                WHERE database IS NULL AND kind = ? AND node = ? AND cleared_at IS NULL
                """, [alarm.summary, alarm.hint, alarm.kind.rawValue, node.blob])
            if database.changesCount == 0 { try Self.raise(alarm, in: database) }
        }
    }

    /// Clears the alarms of one kind that stand for a node as such.
    ///
    /// - Returns: how many.
    package func clearAlarms(
        _ kind: AlarmKind, ofNode node: NodeID, now: Timestamp, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> Int {
        try await write(auditing: row, if: { $0 > 0 }) { database in
            try database.run(
                """
                UPDATE alarm SET cleared_at = ?
                WHERE database IS NULL AND kind = ? AND node = ? AND cleared_at IS NULL
                """, [now.microseconds, kind.rawValue, node.blob])
            return database.changesCount
        }
    }
}
