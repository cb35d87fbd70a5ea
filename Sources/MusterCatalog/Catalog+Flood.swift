import GRDB
package import MusterModel

/// A node that sends far more snapshots than its schedule explains.
///
/// With stolen keys it may do so to use up the slots of a policy until what was good expires. So nothing of the
/// database is given up any more, until a person has looked.
extension Catalog {
    package struct Flood: Hashable, Sendable {
        package let count: Int
        package let window: Duration
        package let interval: Duration
    }

    /// Over this time snapshots are counted, or over the interval of the schedule where that is longer.
    private static let floodWindow = Duration.seconds(3600)
    /// So many more than scheduled are no flood, nor are so many times more: people ask for snapshots too.
    private static let tolerated = (more: 20, times: 10)

    /// - Parameter interval: that the database is scheduled at; one that is not known explains any number.
    static func flood(
        of id: DatabaseID, interval: Duration, now: Timestamp, in database: GRDB.Database
    ) throws -> Flood? {
        guard interval > .zero else { return nil }
        let window = max(interval, floodWindow)
        let most = tolerated.more + tolerated.times * Int(window.microseconds / max(1, interval.microseconds))
        let count: Int? = try database.value(
            floodQuery, [id.blob, (now - window).microseconds, most + 1])
        guard let count, count > most else { return nil }
        return Flood(count: count, window: window, interval: interval)
    }

    static let floodQuery = """
        SELECT count(*) FROM (SELECT 1 FROM snapshot s WHERE s.database = ? AND s.expired_at IS NULL
            AND s.received_at > ? LIMIT ?)
        """

    /// Raises the alarm where none stands.
    package func raise(_ flood: Flood, of id: DatabaseID, now: Timestamp) async throws(CatalogError) {
        try await write { database in
            let row = try database.row("SELECT node, name FROM database WHERE id = ?", [id.blob])
            guard let row else { return }
            let name: String = row["name"]
            try Self.raise(
                Alarm(
                    kind: .flood, node: try row.identifier("node"), database: id,
                    summary: "database '\(name)' got \(flood.count) snapshots or more within \(flood.window.text), "
                        + "where its schedule is one each \(flood.interval.text)",
                    hint: "Find out who takes them; nothing of the database is given up until "
                        + "'muster alarm clear flood', which accepts its present schedule.",
                    since: now),
                in: database)
        }
    }

    /// Raises the alarm that nobody has said since the rebuild how the database is scheduled, where none stands.
    package func raiseAwaited(of id: DatabaseID, now: Timestamp) async throws(CatalogError) {
        try await write { database in
            let row = try database.row("SELECT node, name FROM database WHERE id = ? AND awaits_schedule", [id.blob])
            guard let row else { return }
            let name: String = row["name"]
            try Self.raise(
                Alarm(
                    kind: .schedule, node: try row.identifier("node"), database: id,
                    summary: "how database '\(name)' is scheduled its node has not said since the rebuild",
                    hint: "Nothing of it is given up until it does, or until 'muster alarm clear schedule', which "
                        + "accepts that it has no schedule.",
                    since: now),
                in: database)
        }
    }

    /// A person has seen that the schedule is what it should be.
    static func acceptSchedule(of id: DatabaseID, in database: GRDB.Database) throws {
        try database.run(
            """
            UPDATE database SET slot_interval_milliseconds = interval_milliseconds, interval_shortened_at = NULL,
                awaits_schedule = 0
            WHERE id = ?
            """, [id.blob])
    }
}
