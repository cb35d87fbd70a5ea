import Foundation
import GRDB
package import MusterModel

/// Fleet snapshots: one snapshot of each database, taken within a window, kept and listed as one.
///
/// Each member is held, so no policy gives it up, until the whole is forgotten. The name is also a label of each
/// member, which the node signed with it: by that a rebuild finds them again.
extension Catalog {
    /// The label's key; nobody else may set it.
    package static let fleetLabel = "fleet-snapshot"

    package struct FleetSnapshot: Hashable, Sendable {
        package var name: String
        package var createdAt: Timestamp
        /// Until then the members had to be received.
        package var until: Timestamp
        package var labels: [String: String]
        package var actor: String
        package var isFinished: Bool
        package var total: Int
        package var members: Int

        package init(
            name: String, createdAt: Timestamp, until: Timestamp, labels: [String: String], actor: String, total: Int
        ) {
            (self.name, self.createdAt, self.until) = (name, createdAt, until)
            (self.labels, self.actor, self.total) = (labels, actor, total)
            (isFinished, members) = (false, 0)
        }
    }

    package struct FleetItem: Hashable, Sendable {
        package var node: NodeID
        package var nodeName: String
        package var database: DatabaseID
        package var databaseName: String
        package var job: JobID?
        package var snapshot: SnapshotID?
        package var sizeBytes: Int64
        /// Why there is none; "" while it may still come.
        package var reason: String
    }

    /// What there is no job for, and why.
    package struct Absentee: Sendable {
        package let database: DatabaseID
        package let reason: String

        package init(database: DatabaseID, reason: String) { (self.database, self.reason) = (database, reason) }
    }

    /// Begins one with the first of its databases: each has a job, or a reason why it has none.
    ///
    /// - Parameter isWhole: no more are added; see `add`.
    /// - Returns: false where the name is taken.
    package func begin(
        _ fleet: FleetSnapshot, jobs: [Job], absent: [Absentee], isWhole: Bool = true, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> Bool {
        try await write(auditing: row, if: { $0 }) { database in
            guard try database.row("SELECT 1 FROM fleet_snapshot WHERE name = ?", [fleet.name]) == nil else {
                return false
            }
            let number = try Self.insert(fleet, into: database)
            try database.run("UPDATE fleet_snapshot SET is_filling = 1 WHERE number = ?", [number])
            try Self.add(jobs, absent, to: number, isLast: isWhole, in: database)
            return true
        }
    }

    /// Adds more databases to one that is being filled: one short transaction each, so that no receipt waits for a
    /// large fleet. One that was forgotten meanwhile is left alone.
    ///
    /// - Parameter isLast: nothing is added after it.
    package func add(
        _ jobs: [Job], absent: [Absentee], to fleet: FleetSnapshot, isLast: Bool
    ) async throws(CatalogError) {
        try await write { database in
            let found: Int64? = try database.value(
                "SELECT number FROM fleet_snapshot WHERE name = ? AND created_at = ? AND is_filling",
                [fleet.name, fleet.createdAt.microseconds])
            if let number = found { try Self.add(jobs, absent, to: number, isLast: isLast, in: database) }
        }
    }

    private static func add(
        _ jobs: [Job], _ absent: [Absentee], to number: Int64, isLast: Bool, in database: GRDB.Database
    ) throws {
        for job in jobs {
            try insert(job, into: database)
            try database.run(
                "INSERT INTO fleet_snapshot_item(fleet_snapshot, database, job) VALUES (?, ?, ?)",
                [number, job.database.blob, job.id.blob])
        }
        for item in absent {
            try database.run(
                "INSERT INTO fleet_snapshot_item(fleet_snapshot, database, reason) VALUES (?, ?, ?)",
                [number, item.database.blob, item.reason])
        }
        if isLast { try endFilling(number, in: database) }
    }

    /// The newest first.
    package func fleetSnapshots(limit: Int) async throws(CatalogError) -> [FleetSnapshot] {
        try await read { database in
            try database.rows(Self.fleetQuery + " ORDER BY f.number DESC LIMIT ?", [limit]).map(Self.fleet)
        }
    }

    package func fleetSnapshot(_ name: String) async throws(CatalogError) -> FleetSnapshot? {
        try await read { try $0.row(Self.fleetQuery + " WHERE f.name = ?", [name]).map(Self.fleet) }
    }

    /// In the order of their databases.
    package func items(
        ofFleetSnapshot name: String, after: DatabaseID? = nil, limit: Int = Int.max
    ) async throws(CatalogError) -> [FleetItem] {
        try await read { database in
            try database.rows(Self.itemPage, [name, after?.blob ?? Data(), limit]).map(Self.item)
        }
    }

    /// Some of them, by node and database: the members, or those that are none.
    package func items(
        ofFleetSnapshot name: String, areMembers: Bool, limit: Int
    ) async throws(CatalogError) -> [FleetItem] {
        try await read { database in
            try database.rows(Self.someItems, [name, areMembers, limit]).map(Self.item)
        }
    }

    /// Releases every member.
    ///
    /// - Returns: how many there were; nil where there is no fleet snapshot of that name.
    package func forget(
        fleetSnapshot name: String, now: Timestamp, audit row: AuditRow? = nil
    ) async throws(CatalogError) -> Int? {
        try await write(auditing: row, if: { $0 != nil }) { database in
            let number: Int64? = try database.value("SELECT number FROM fleet_snapshot WHERE name = ?", [name])
            guard let number else { return nil }
            try database.run(
                """
                DELETE FROM hold WHERE name = ? AND snapshot IN (SELECT s.number FROM fleet_snapshot_item i
                    JOIN snapshot s ON s.id = i.snapshot WHERE i.fleet_snapshot = ?)
                """, [Self.holdName(name), number])
            let released = database.changesCount
            try database.run("DELETE FROM fleet_snapshot_item WHERE fleet_snapshot = ?", [number])
            try database.run("DELETE FROM fleet_snapshot WHERE number = ?", [number])
            if released > 0 { try Self.countRevision(in: database) }
            return released
        }
    }

    /// Ends what is open when its window is over, at most so many at a time: n of m is final then.
    ///
    /// What was received in time is a member, even if the agent has not told of it yet.
    ///
    /// - Returns: whether anything ended.
    package func closeFleetWindows(now: Timestamp, atOnce limit: Int = 1000) async throws(CatalogError) -> Bool {
        let due = try await read { database in
            try database.row(Self.overdueQuery, [now.microseconds, 1]) != nil
                || database.row(Self.cutOffQuery + " LIMIT 1", [now.microseconds]) != nil
        }
        guard due else { return false }
        return try await write { database in
            // Whoever filled it is gone, and what was not added is in nobody's list: it counts as missing all the same.
            for row in try database.rows(Self.cutOffQuery, [now.microseconds]) {
                try Self.endFilling(row["number"], in: database)
            }
            for row in try database.rows(Self.overdueQuery, [now.microseconds, limit]) {
                try Self.close(try Self.job(row), ofFleet: row, now: now, in: database)
            }
            return true
        }
    }

    private static func close(_ job: Job, ofFleet row: Row, now: Timestamp, in database: GRDB.Database) throws {
        if let snapshot = try received(job, ofFleet: row, in: database) {
            var done = job
            (done.state, done.outcomeSnapshot) = (.done, snapshot)
            try database.run(
                "UPDATE job SET state = 'done', outcome_snapshot = ?, finished_at = ? WHERE id = ?",
                [snapshot.blob, now.microseconds, job.id.blob])
            return try conclude(done, now: now, in: database)
        }
        let failing = job.state == .queued ? "did not take it up" : "took it up and did not finish it"
        try fail(
            job, "node '\(job.nodeName)' \(failing) within the window",
            hint: "Check that the agent runs and reaches the coordinator; a longer --window may help.", now: now,
            in: database)
    }

    /// The first snapshot of the job's database that carries the fleet snapshot's label and came within its window.
    private static func received(_ job: Job, ofFleet row: Row, in database: GRDB.Database) throws -> SnapshotID? {
        try database.row(
            """
            SELECT s.id FROM snapshot s WHERE s.database = ? AND s.expired_at IS NULL AND s.received_at BETWEEN ? AND ?
                AND EXISTS (SELECT 1 FROM label l WHERE l.key = ? AND l.value = ? AND l.snapshot = s.number)
            ORDER BY s.received_at, s.number LIMIT 1
            """,
            [
                job.database.blob, row["fleet_created_at"] as Int64, row["fleet_until"] as Int64, fleetLabel,
                row["fleet_name"] as String,
            ]
        ).map { try $0.identifier("id") }
    }

    // MARK: - Inside a transaction

    static func holdName(_ fleetSnapshot: String) -> String { fleetHoldPrefix + fleetSnapshot }

    /// No person's hold has a colon in its name.
    static let fleetHoldPrefix = "fleet:"

    /// Brings a closed snapshot job's outcome into its fleet snapshot, where it is of one.
    static func concludeMember(_ job: Job, now: Timestamp, in database: GRDB.Database) throws {
        guard
            let row = try database.row(
                """
                SELECT f.number, f.name, f.created_at, f.until FROM fleet_snapshot_item i
                JOIN fleet_snapshot f ON f.number = i.fleet_snapshot
                WHERE i.job = ? AND i.snapshot IS NULL AND i.reason = ''
                """, [job.id.blob])
        else { return }
        let number: Int64 = row["number"]
        var reason = job.errorSummary.isEmpty ? "the agent made none" : job.errorSummary
        if job.state == .done, let snapshot = job.outcomeSnapshot {
            reason = try refusal(snapshot, row, in: database) ?? ""
            if reason.isEmpty,
                try addMember(snapshot, to: row["name"], number, of: job.database, now: now, in: database)
            {
                return try finishIfDone(number, in: database)
            }
            if reason.isEmpty { reason = tooManyHolds }
        }
        try database.run(
            "UPDATE fleet_snapshot_item SET reason = ? WHERE fleet_snapshot = ? AND database = ?",
            [reason, number, job.database.blob])
        try finishIfDone(number, in: database)
    }

    /// Why a snapshot that a node names is no member; nil where it is one.
    private static func refusal(
        _ snapshot: SnapshotID, _ fleet: Row, in database: GRDB.Database
    ) throws -> String? {
        guard
            let row = try database.row(
                """
                SELECT s.received_at,
                    EXISTS (SELECT 1 FROM label l WHERE l.key = ? AND l.value = ? AND l.snapshot = s.number) AS labelled
                FROM snapshot s WHERE s.id = ? AND s.expired_at IS NULL
                """, [fleetLabel, fleet["name"] as String, snapshot.blob])
        else { return "the snapshot that the node named was given up" }
        let received = row.time("received_at")
        guard row["labelled"], received >= fleet.time("created_at") else { return "the node named another snapshot" }
        let late = received - fleet.time("until")
        return late > .zero ? "it came \(max(1, Int(late.inSeconds))) seconds after the window" : nil
    }

    private static let tooManyHolds = "its snapshot has as many holds as one may have, so it could not be held"

    /// - Returns: false where it cannot be held: then it is no member, as any policy might give it up.
    private static func addMember(
        _ snapshot: SnapshotID, to name: String, _ fleet: Int64, of id: DatabaseID, now: Timestamp,
        in database: GRDB.Database
    ) throws -> Bool {
        let number: Int64? = try database.value("SELECT number FROM snapshot WHERE id = ?", [snapshot.blob])
        guard let number else { throw CatalogError.damaged(column: "fleet_snapshot_item.snapshot") }
        let hold = Hold(name: holdName(name), reason: "a member of it", actor: "coordinator", at: now)
        guard try insert(hold, of: number, into: database) else { return false }
        try countRevision(in: database)
        try database.run(
            "UPDATE fleet_snapshot_item SET snapshot = ?, reason = '' WHERE fleet_snapshot = ? AND database = ?",
            [snapshot.blob, fleet, id.blob])
        return true
    }

    private static func insert(_ fleet: FleetSnapshot, into database: GRDB.Database) throws -> Int64 {
        try database.run(
            """
            INSERT INTO fleet_snapshot(name, created_at, until, labels, actor, total, is_finished)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            [
                fleet.name, fleet.createdAt.microseconds, fleet.until.microseconds,
                try LabelText.encode(fleet.labels), fleet.actor, fleet.total, fleet.isFinished,
            ])
        return database.lastInsertedRowID
    }

    private static func endFilling(_ number: Int64, in database: GRDB.Database) throws {
        try database.run("UPDATE fleet_snapshot SET is_filling = 0 WHERE number = ?", [number])
        try finishIfDone(number, in: database)
    }

    private static func finishIfDone(_ number: Int64, in database: GRDB.Database) throws {
        let open = try database.row(
            "SELECT 1 FROM fleet_snapshot_item WHERE fleet_snapshot = ? AND snapshot IS NULL AND reason = '' LIMIT 1",
            [number])
        guard open == nil else { return }
        try database.run("UPDATE fleet_snapshot SET is_finished = 1 WHERE number = ? AND NOT is_filling", [number])
    }

    // MARK: - After a rebuild

    /// Puts back a fleet snapshot whose members are found by the label that their nodes signed: of each database the
    /// first that was received since it was asked for, where it came within the window.
    package func restore(_ fleet: FleetSnapshot, now: Timestamp) async throws(CatalogError) {
        try await write { database in
            var fleet = fleet
            fleet.isFinished = true
            let number = try Self.insert(fleet, into: database)
            let found = try database.rows(
                """
                SELECT s.id, s.database, s.received_at FROM label l CROSS JOIN snapshot s ON s.number = l.snapshot
                WHERE l.key = ? AND l.value = ? AND s.received_at >= ? ORDER BY s.received_at, s.number
                """, [Self.fleetLabel, fleet.name, fleet.createdAt.microseconds])
            guard let row = try database.row("SELECT * FROM fleet_snapshot WHERE number = ?", [number]) else { return }
            var seen: Set<DatabaseID> = []
            for member in found {
                let (id, snapshot): (DatabaseID, SnapshotID) = (
                    try member.identifier("database"), try member.identifier("id")
                )
                guard seen.insert(id).inserted else { continue }
                try database.run(
                    "INSERT INTO fleet_snapshot_item(fleet_snapshot, database) VALUES (?, ?)", [number, id.blob])
                // One that came after the window was no member before either.
                var reason = try Self.refusal(snapshot, row, in: database)
                if reason == nil,
                    try !Self.addMember(snapshot, to: fleet.name, number, of: id, now: now, in: database)
                {
                    reason = Self.tooManyHolds
                }
                guard let reason else { continue }
                try database.run(
                    "UPDATE fleet_snapshot_item SET reason = ? WHERE fleet_snapshot = ? AND database = ?",
                    [reason, number, id.blob])
            }
        }
    }

    // MARK: - Statements

    private static let fleetQuery = """
        SELECT f.*, (SELECT count(*) FROM fleet_snapshot_item i WHERE i.fleet_snapshot = f.number
            AND i.snapshot IS NOT NULL) AS members
        FROM fleet_snapshot f
        """

    private static let itemQuery = """
        SELECT i.*, d.name AS database_name, d.node, n.name AS node_name, s.size_bytes FROM fleet_snapshot f
        JOIN fleet_snapshot_item i ON i.fleet_snapshot = f.number
        JOIN database d ON d.id = i.database JOIN node n ON n.id = d.node
        LEFT JOIN snapshot s ON s.id = i.snapshot
        WHERE f.name = ?
        """
    static let itemPage = itemQuery + " AND i.database > ? ORDER BY i.database LIMIT ?"
    private static let itemOrder = " ORDER BY n.name, d.name, d.id"
    private static let someItems = itemQuery + " AND (i.snapshot IS NOT NULL) = ?" + itemOrder + " LIMIT ?"

    private static let overdueQuery = """
        SELECT j.*, n.name AS node_name, d.name AS database_name, f.name AS fleet_name,
            f.created_at AS fleet_created_at, f.until AS fleet_until
        FROM fleet_snapshot f JOIN fleet_snapshot_item i ON i.fleet_snapshot = f.number
        JOIN job j ON j.id = i.job JOIN node n ON n.id = j.node JOIN database d ON d.id = j.database
        WHERE NOT f.is_finished AND f.until < ? AND i.snapshot IS NULL AND i.reason = ''
            AND j.state IN ('queued', 'running')
        LIMIT ?
        """

    /// Still being filled, with the window over.
    private static let cutOffQuery = """
        SELECT number FROM fleet_snapshot INDEXED BY fleet_snapshot_open WHERE NOT is_finished AND is_filling AND until < ?
        """

    private static func item(_ row: Row) throws -> FleetItem {
        FleetItem(
            node: try row.identifier("node"), nodeName: row["node_name"], database: try row.identifier("database"),
            databaseName: row["database_name"], job: try row.optionalIdentifier("job"),
            snapshot: try row.optionalIdentifier("snapshot"), sizeBytes: row["size_bytes"] ?? 0, reason: row["reason"])
    }

    private static func fleet(_ row: Row) throws -> FleetSnapshot {
        var fleet = FleetSnapshot(
            name: row["name"], createdAt: row.time("created_at"), until: row.time("until"),
            labels: try LabelText.decode(row["labels"]), actor: row["actor"], total: row["total"])
        (fleet.isFinished, fleet.members) = (row["is_finished"], row["members"])
        return fleet
    }
}
