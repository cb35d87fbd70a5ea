import Foundation
import GRDB
package import MusterModel

/// How a run comes by its snapshots: in steps that each are one short transaction, however large the fleet is.
extension Catalog {
    package struct NewVerification: Sendable {
        package var run: RunID
        package var level: VerificationLevel
        package var scope: String
        package var actor: String
        package var patience: Duration
        /// Only of this node.
        package var node: NodeID?

        package init(
            run: RunID, level: VerificationLevel, scope: String = VerificationScope.snapshots, actor: String = "",
            patience: Duration = Catalog.usualPatience, node: NodeID? = nil
        ) {
            (self.run, self.level, self.scope, self.actor) = (run, level, scope, actor)
            (self.patience, self.node) = (patience, node)
        }
    }

    /// What is added to a run in one step.
    package struct VerificationStep: Sendable {
        package var snapshots: [SnapshotID]
        /// Whose they are, where that is known: gc may take one before it is added.
        package var owners: [SnapshotID: DatabaseID] = [:]
        /// With levels that agents do.
        package var jobs: [Job]
        /// Databases that have no snapshot: they count, and did not pass.
        package var bare: [DatabaseID] = []
        /// The last database that was looked at.
        package var filledTo: DatabaseID?
        /// Nothing is added after it.
        package var isLast: Bool

        package init(
            snapshots: [SnapshotID], owners: [SnapshotID: DatabaseID] = [:], jobs: [Job], bare: [DatabaseID] = [],
            filledTo: DatabaseID? = nil, isLast: Bool
        ) {
            (self.snapshots, self.owners, self.jobs, self.bare) = (snapshots, owners, jobs, bare)
            (self.filledTo, self.isLast) = (filledTo, isLast)
        }
    }

    /// A database that a run goes over, and its newest snapshot.
    package struct Candidate: Hashable, Sendable {
        package var database: DatabaseID
        package var node: NodeID
        package var snapshot: SnapshotID?

        package init(database: DatabaseID, node: NodeID, snapshot: SnapshotID?) {
            (self.database, self.node, self.snapshot) = (database, node, snapshot)
        }
    }

    /// A run that is not filled yet.
    package struct Filling: Hashable, Sendable {
        package var run: RunID
        package var level: VerificationLevel
        package var scope: String
        package var node: NodeID?
        package var filledTo: DatabaseID?
        package var startedAt: Timestamp
    }

    /// For so long a node may be silent before its part of a run is given up.
    package static let usualPatience = Duration.seconds(900)

    /// Begins a run that is filled in steps.
    package func begin(
        _ new: NewVerification, now: Timestamp, audit row: AuditRow? = nil
    ) async throws(CatalogError) {
        try await write(auditing: row) { try Self.insert(new, isFilling: true, now: now, into: $0) }
    }

    /// Begins a run over a few snapshots, as a whole.
    package func begin(
        _ run: RunID, level: VerificationLevel, snapshots: [SnapshotID], jobs: [Job], now: Timestamp
    ) async throws(CatalogError) {
        try await write { database in
            try Self.insert(NewVerification(run: run, level: level), isFilling: true, now: now, into: database)
            let step = VerificationStep(snapshots: snapshots, jobs: jobs, isLast: true)
            try Self.add(step, to: run, now: now, in: database)
        }
    }

    /// Adds one step to a run that is filled; one that is not any more is left as it is.
    package func add(_ step: VerificationStep, to run: RunID, now: Timestamp) async throws(CatalogError) {
        try await write { try Self.add(step, to: run, now: now, in: $0) }
    }

    /// Runs that are not filled yet.
    package func fillings() async throws(CatalogError) -> [Filling] {
        try await read { database in
            try Row.fetchAll(
                database, sql: "SELECT * FROM verification WHERE state = 'running' AND is_filling ORDER BY started_at"
            ).map { row in
                Filling(
                    run: try row.identifier("run"), level: try row.word("level"), scope: row["scope"],
                    node: try row.optionalIdentifier("node"), filledTo: try row.optionalIdentifier("filled_to"),
                    startedAt: row.time("started_at"))
            }
        }
    }

    /// Databases that active nodes protect, in the order of their ids, with their newest snapshots.
    ///
    /// - Parameter withHistory: also those that nobody protects any more, as far as they have snapshots.
    package func candidates(
        of node: NodeID? = nil, withHistory: Bool = false, after: DatabaseID?, limit: Int
    ) async throws(CatalogError) -> [Candidate] {
        try await read { database in
            var sql = withHistory ? Self.everInspectableQuery : Self.inspectableQuery
            var arguments: StatementArguments = [after?.blob ?? Data(), Self.removedState]
            if let node {
                sql += " AND d.node = ?"
                arguments += [node.blob]
            }
            arguments += [limit]
            return try Row.fetchAll(database, sql: sql + " ORDER BY d.id LIMIT ?", arguments: arguments).map { row in
                Candidate(
                    database: try row.identifier("id"), node: try row.identifier("node"),
                    snapshot: try row.optionalIdentifier("newest_snapshot"))
            }
        }
    }

    static let inspectableQuery = """
        SELECT d.id, d.node, d.newest_snapshot FROM database d JOIN node n ON n.id = d.node AND n.state = 'active'
        WHERE d.id > ? AND d.state <> ?
        """
    static let everInspectableQuery = """
        SELECT d.id, d.node, d.newest_snapshot FROM database d JOIN node n ON n.id = d.node
        WHERE d.id > ? AND (n.state = 'active' AND d.state <> ? OR d.snapshot_count + d.expired_count > 0)
        """

    private static func insert(
        _ new: NewVerification, isFilling: Bool, now: Timestamp, into database: GRDB.Database
    ) throws {
        try database.execute(
            sql: """
                INSERT INTO verification(run, level, scope, actor, patience, node, state, is_filling, started_at)
                VALUES (?, ?, ?, ?, ?, ?, 'running', ?, ?)
                """,
            arguments: [
                new.run.blob, new.level.rawValue, new.scope, new.actor, new.patience.microseconds, new.node?.blob,
                isFilling, now.microseconds,
            ])
    }

    private static func add(
        _ step: VerificationStep, to run: RunID, now: Timestamp, in database: GRDB.Database
    ) throws {
        let total: Int64? = try database.value(
            "SELECT total FROM verification WHERE run = ? AND state = 'running' AND is_filling", [run.blob])
        guard var position = total else { return }
        var added: Set<SnapshotID> = []
        var given = 0
        for snapshot in step.snapshots {
            // One that gc gave up since it was looked up may be dropped at any time, and nothing would close its item.
            try database.run(
                """
                INSERT INTO verification_item(run, position, snapshot, state)
                SELECT ?, ?, number, 'waiting' FROM snapshot WHERE id = ? AND forgotten_at IS NULL
                ON CONFLICT DO NOTHING
                """, [run.blob, position, snapshot.blob])
            guard database.changesCount > 0 else {
                given += try addGivenUp(snapshot, of: step.owners[snapshot], to: run, in: database)
                continue
            }
            added.insert(snapshot)
            position += 1
            try database.run(
                """
                INSERT INTO verification_node(run, node, total) SELECT ?, node, 1 FROM snapshot WHERE id = ?
                ON CONFLICT DO UPDATE SET total = total + 1
                """, [run.blob, snapshot.blob])
        }
        for id in step.bare { try addUnfinished(id, because: "it has no snapshot", to: run, in: database) }
        for job in step.jobs where job.snapshot.map(added.contains) ?? false { try insert(job, into: database) }
        try database.run(
            """
            UPDATE verification SET total = ?, unfinished = unfinished + ?, is_filling = ?,
                filled_to = coalesce(?, filled_to) WHERE run = ?
            """,
            [
                position + Int64(step.bare.count + given), step.bare.count + given, !step.isLast,
                step.filledTo?.blob, run.blob,
            ])
        try finishIfDone(run, now: now, in: database)
    }

    /// Counts a snapshot that was to be inspected and is given up; one that is in the run already counts there.
    ///
    /// - Returns: how many counted.
    private static func addGivenUp(
        _ snapshot: SnapshotID, of owner: DatabaseID?, to run: RunID, in database: GRDB.Database
    ) throws -> Int {
        let row = try database.row("SELECT database, forgotten_at FROM snapshot WHERE id = ?", [snapshot.blob])
        if let row, row.optionalTime("forgotten_at") == nil { return 0 }
        guard let id = try row?.identifier("database") ?? owner else { return 0 }
        try addUnfinished(
            id, because: "not verified: snapshot \(snapshot) was given up before its turn", to: run, in: database)
        return 1
    }

    /// Counts a database of which something could not be inspected.
    private static func addUnfinished(
        _ id: DatabaseID, because reason: String, to run: RunID, in database: GRDB.Database
    ) throws {
        try database.run(
            "INSERT INTO finding(run, database, store, object, reason) VALUES (?, ?, '', '', ?)",
            [run.blob, id.blob, reason])
        try database.run(
            """
            INSERT INTO verification_node(run, node, total, unfinished) SELECT ?, node, 1, 1 FROM database WHERE id = ?
            ON CONFLICT DO UPDATE SET total = total + 1, unfinished = unfinished + 1
            """, [run.blob, id.blob])
    }

    /// Ends a run of which nothing waits any more.
    static func finishIfDone(_ run: RunID, now: Timestamp, in database: GRDB.Database) throws {
        try database.run(
            """
            UPDATE verification SET state = 'finished', finished_at = ? WHERE run = ? AND state = 'running'
                AND NOT is_filling AND passed + failed + unfinished >= total
            """, [now.microseconds, run.blob])
    }
}

/// What a run is over, as it is kept.
package enum VerificationScope {
    package static let fleet = "fleet"
    package static let snapshots = "snapshots"
    package static let schedule = "schedule"
    /// Snapshots that failed, after what they need was repaired.
    package static let repair = "repair"
    package static func node(_ name: String) -> String { "node \(name)" }
    package static func database(_ name: String) -> String { "database \(name)" }
}
