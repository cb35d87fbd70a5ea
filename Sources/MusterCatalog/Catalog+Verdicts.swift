import Foundation
import GRDB
package import MusterModel

/// What inspections found: verdicts, and what follows from them.
extension Catalog {
    /// What became of one snapshot in a run.
    package enum ItemOutcome: Sendable {
        /// It was inspected; no findings mean that it passed.
        case inspected([Failing])
        /// It was not: that counts against the run, but says nothing about the snapshot.
        case unfinished(reason: String)
    }

    /// What an inspection took.
    package struct Effort: Hashable, Sendable {
        package var seconds: Double
        package var bytesRead: Int64
        /// Of them, those that the run has not counted yet.
        package var uncountedBytes: Int64

        /// - Parameter uncountedBytes: nil for all.
        package init(seconds: Double = 0, bytesRead: Int64 = 0, uncountedBytes: Int64? = nil) {
            (self.seconds, self.bytesRead) = (seconds, bytesRead)
            self.uncountedBytes = uncountedBytes ?? bytesRead
        }
    }

    /// Closes one snapshot of a run with its verdict, and the run with its last snapshot.
    ///
    /// A snapshot that is closed already keeps its verdict.
    package func conclude(
        _ snapshot: SnapshotID, in run: RunID, _ outcome: ItemOutcome, _ effort: Effort = Effort(), now: Timestamp
    ) async throws(CatalogError) {
        try await write { database in
            try Self.conclude(snapshot, in: run, outcome, effort, drill: nil, now: now, in: database)
        }
    }

    static func conclude(
        _ snapshot: SnapshotID, in run: RunID, _ outcome: ItemOutcome, _ effort: Effort, drill: DrillMeasure?,
        refused: [Failing] = [], now: Timestamp, in database: GRDB.Database
    ) throws {
        let row = try Row.fetchOne(
            database,
            sql: """
                SELECT s.number, s.database, s.node, s.id, v.level FROM verification_item i
                JOIN snapshot s ON s.number = i.snapshot JOIN verification v ON v.run = i.run
                WHERE s.id = ? AND i.run = ? AND i.state = 'waiting'
                """, arguments: [snapshot.blob, run.blob])
        guard let row else { return }
        let item = ConcludedItem(
            run: run, level: try row.word("level"), snapshot: snapshot, number: row["number"],
            database: try row.identifier("database"), node: try row.identifier("node"), effort: effort, now: now)
        var state = "unfinished"
        switch outcome {
        case .inspected(let findings):
            state = findings.isEmpty ? "passed" : "failed"
            try insert(findings, of: item, into: database)
            try insertVerdict(of: item, passed: findings.isEmpty, into: database)
            if findings.isEmpty { try setInspected(item, drill, in: database) }
            if item.level == .drill { try insert(drill ?? DrillMeasure(), of: item, findings, into: database) }
        case .unfinished(let reason):
            let finding = Failing(
                snapshot: snapshot.description, store: "", object: "", reason: "not verified: \(reason)")
            try insert([finding], of: item, into: database)
        }
        try insert(refused: refused, of: item, into: database)
        if item.level >= .verify {
            try database.run(
                "UPDATE database SET inspection_tried_at = ? WHERE id = ?", [now.microseconds, item.database.blob])
        }
        try close(item, as: state, in: database)
    }

    /// One snapshot of a run, as it is closed.
    struct ConcludedItem {
        let run: RunID
        let level: VerificationLevel
        let snapshot: SnapshotID
        let number: Int64
        let database: DatabaseID
        let node: NodeID
        let effort: Effort
        let now: Timestamp
    }

    /// What a node says is bounded.
    private static let refusedOfOne = 100

    /// An older snapshot says nothing of how its database would come back today.
    static let newestWithin = Duration.seconds(86_400)

    /// A deeper inspection counts for what it holds in itself: a scrub is a check, a drill is a verify. It counts for
    /// the database where the snapshot was the newest within a day before the run began.
    private static func setInspected(
        _ item: ConcludedItem, _ drill: DrillMeasure?, in database: GRDB.Database
    ) throws {
        if item.level >= .verify {
            try database.run(
                "UPDATE snapshot SET verified_at = ? WHERE number = ?", [item.now.microseconds, item.number])
        }
        let isOld =
            try database.row(
                isOutdatedQuery, [item.number, item.run.blob, newestWithin.microseconds]) != nil
        guard !isOld else { return }
        let columns =
            switch item.level {
            case .check: "checked_at = ?1"
            case .scrub: "checked_at = ?1, scrubbed_at = ?1"
            case .verify: "verified_at = ?1"
            case .drill: "verified_at = ?1, drilled_at = ?1"
            }
        try database.run("UPDATE database SET \(columns) WHERE id = ?2", [item.now.microseconds, item.database.blob])
        guard item.level == .drill, let drill else { return }
        try database.run(
            "UPDATE database SET restore_seconds = ?, restored_bytes = ? WHERE id = ?",
            [drill.restoreSeconds, drill.restoredBytes, item.database.blob])
    }

    static let isOutdatedQuery = """
        SELECT 1 FROM snapshot s CROSS JOIN verification v CROSS JOIN snapshot n ON n.database = s.database
            AND n.expired_at IS NULL AND n.received_at > s.received_at AND n.received_at < v.started_at - ?3
        WHERE s.number = ?1 AND v.run = ?2 LIMIT 1
        """

    private static func insert(
        _ findings: [Failing], of item: ConcludedItem, into database: GRDB.Database
    ) throws {
        for finding in findings {
            try database.run(
                "INSERT INTO finding(run, snapshot, database, store, object, reason) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    item.run.blob, item.number, item.database.blob, finding.store, finding.object, finding.reason,
                ])
        }
    }

    private static func insert(
        refused: [Failing], of item: ConcludedItem, into database: GRDB.Database
    ) throws {
        for failing in refused.prefix(refusedOfOne) {
            try database.run(
                "INSERT INTO refused_replica(run, snapshot, database, store, object, reason) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    item.run.blob, item.number, item.database.blob, failing.store, failing.object, failing.reason,
                ])
        }
    }

    /// The level of the newest failure that no inspection since has lifted.
    ///
    /// Only one of the same depth or a deeper one lifts it, and only one that began after it was
    /// found. What was found in the stores is lifted by what the coordinator read itself, not by a node's word.
    private static func standingFailure(of snapshot: Int64, in database: GRDB.Database) throws -> String? {
        try database.value(
            """
            SELECT f.level FROM verdict f WHERE f.snapshot = ? AND NOT f.passed AND NOT EXISTS
                (SELECT 1 FROM verdict p WHERE p.snapshot = f.snapshot AND p.passed AND p.began_at >= f.at
                    AND (f.level, p.level) IN (VALUES ('check', 'check'), ('check', 'scrub'), ('scrub', 'scrub'),
                        ('verify', 'verify'), ('verify', 'drill'), ('drill', 'drill')))
            ORDER BY f.number DESC LIMIT 1
            """, [snapshot])
    }

    private static func insertVerdict(
        of item: ConcludedItem, passed: Bool, into database: GRDB.Database
    ) throws {
        try database.run(
            """
            INSERT INTO verdict(snapshot, run, level, passed, at, seconds, bytes_read, began_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, (SELECT started_at FROM verification WHERE run = ?2))
            """,
            [
                item.number, item.run.blob, item.level.rawValue, passed, item.now.microseconds, item.effort.seconds,
                item.effort.bytesRead,
            ])
        try forgetVerdicts(
            before: database.lastInsertedRowID, of: item.number, item.level, passed: passed, now: item.now,
            in: database)
        let standing = try standingFailure(of: item.number, in: database)
        try database.run(
            "UPDATE snapshot SET verdict = ? WHERE number = ?",
            [standing.map { "failed \($0)" } ?? "passed \(item.level.rawValue)", item.number])
    }

    /// - Parameter state: also the name of the column that counts it.
    private static func close(_ item: ConcludedItem, as state: String, in database: GRDB.Database) throws {
        let effort = item.effort
        try database.run(
            """
            UPDATE verification_item SET state = ?, at = ?, seconds = ?, bytes_read = ? WHERE run = ? AND snapshot = ?
            """,
            [
                state, item.now.microseconds, effort.seconds, effort.bytesRead, item.run.blob, item.number,
            ])
        try database.run(
            """
            UPDATE verification_node SET \(state) = \(state) + 1, bytes_read = bytes_read + ?, seconds = seconds + ?
            WHERE run = ? AND node = ?
            """, [effort.bytesRead, effort.seconds, item.run.blob, item.node.blob])
        try database.run(
            "UPDATE verification SET \(state) = \(state) + 1, bytes_read = bytes_read + ? WHERE run = ?",
            [effort.uncountedBytes, item.run.blob])
        try finishIfDone(item.run, now: item.now, in: database)
    }
}
