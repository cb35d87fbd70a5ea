import GRDB
package import MusterModel

/// Holds: a person's word that a snapshot stays, whatever any policy says.
extension Catalog {
    package struct Hold: Hashable, Sendable {
        /// A snapshot may have several holds, for several reasons, each with a name of its own.
        package var name: String
        package var reason: String
        package var actor: String
        package var at: Timestamp

        package init(name: String, reason: String, actor: String, at: Timestamp) {
            (self.name, self.reason, self.actor, self.at) = (name, reason, actor, at)
        }
    }

    package enum HoldOutcome: String, Sendable {
        case held
        /// Its mark was taken off.
        case broughtBack = "held and brought back"
        /// It was marked, and its grace is over.
        case tooLate = "too late"
        /// It has as many as it may.
        case tooMany = "too many holds"
    }

    package static let mostHolds = 64

    /// Holds a snapshot. Where it has a hold of that name that one is replaced; where it is marked its mark is taken off.
    ///
    /// - Returns: nil where there is no such snapshot.
    package func hold(
        _ snapshot: SnapshotID, _ hold: Hold, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> HoldOutcome? {
        try await write(auditing: row, if: { $0 == .held || $0 == .broughtBack }) { database in
            guard
                let row = try database.row(
                    "SELECT number, expired_at FROM snapshot WHERE id = ? AND forgotten_at IS NULL", [snapshot.blob])
            else { return nil }
            let number: Int64 = row["number"]
            let isMarked = row.optionalTime("expired_at") != nil
            if isMarked, try !Self.undo(snapshot, now: hold.at, in: database) { return .tooLate }
            guard try Self.insert(hold, of: number, into: database) else { return .tooMany }
            try Self.countRevision(in: database)
            return isMarked ? .broughtBack : .held
        }
    }

    /// - Returns: false where it has no hold of that name; nil where there is no such snapshot.
    package func release(
        _ snapshot: SnapshotID, _ name: String, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> Bool? {
        try await write(auditing: row, if: { $0 == true }) { database in
            let number: Int64? = try database.value("SELECT number FROM snapshot WHERE id = ?", [snapshot.blob])
            guard let number else { return nil }
            try database.run("DELETE FROM hold WHERE snapshot = ? AND name = ?", [number, name])
            guard database.changesCount > 0 else { return false }
            try Self.countRevision(in: database)
            return true
        }
    }

    /// - Returns: false where the snapshot has too many.
    static func insert(_ hold: Hold, of number: Int64, into database: GRDB.Database) throws -> Bool {
        let others: Int? = try database.value(
            "SELECT count(*) FROM hold WHERE snapshot = ? AND name <> ?", [number, hold.name])
        guard others ?? 0 < mostHolds else { return false }
        try database.run(
            """
            INSERT INTO hold(snapshot, name, reason, actor, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT(snapshot, name)
            DO UPDATE SET reason = excluded.reason, actor = excluded.actor, at = excluded.at
            """, [number, hold.name, hold.reason, hold.actor, hold.at.microseconds])
        return true
    }

    static func holds(of number: Int64, in database: GRDB.Database) throws -> [Hold] {
        try database.rows("SELECT name, reason, actor, at FROM hold WHERE snapshot = ? ORDER BY name", [number]).map {
            Hold(name: $0["name"], reason: $0["reason"], actor: $0["actor"], at: $0.time("at"))
        }
    }
}
