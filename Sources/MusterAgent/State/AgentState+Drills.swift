import Foundation
import GRDB
import MusterEngine
import MusterFormat
import MusterModel

/// What drills that passed counted: table names are content, so the comparison is made on the node.
extension AgentState {
    /// Of the lineage that was drilled last, by sequence, and of others, by when they were drilled.
    private static let keptDrills = 4

    static let drillSchema = """
        CREATE TABLE drill_rows (
            database BLOB NOT NULL,
            name TEXT NOT NULL,
            rows INTEGER NOT NULL,
            PRIMARY KEY (database, name)
        ) STRICT, WITHOUT ROWID;
        """

    /// What was remembered before did not say of which snapshot it was, so nothing can be compared with it.
    static let drillOfLineageSchema = """
        DROP TABLE drill_rows;
        CREATE TABLE drill (
            number INTEGER PRIMARY KEY,
            database BLOB NOT NULL,
            lineage BLOB NOT NULL,
            sequence INTEGER NOT NULL,
            snapshot BLOB NOT NULL,
            UNIQUE (database, lineage, sequence)
        ) STRICT;
        CREATE TABLE drill_count (
            drill INTEGER NOT NULL REFERENCES drill ON DELETE CASCADE,
            name TEXT NOT NULL,
            rows INTEGER NOT NULL,
            PRIMARY KEY (drill, name)
        ) STRICT, WITHOUT ROWID;
        """

    /// What is remembered of the newest snapshot of the same lineage that is older than this one: a later one tells
    /// nothing of what was lost, and another lineage is another history.
    func drillCounts(before part: DrilledSnapshot) throws -> DrillCounts? {
        try queue.read { db in
            let drill = try Row.fetchOne(
                db,
                sql: """
                    SELECT number, snapshot FROM drill WHERE database = ? AND lineage = ? AND sequence < ?
                    ORDER BY sequence DESC LIMIT 1
                    """, arguments: [part.database.blob, part.lineage.blob, Int64(clamping: part.sequence)])
            guard let drill, let snapshot = SnapshotID(bytes: [UInt8](drill["snapshot"] as Data)) else { return nil }
            let rows = try Row.fetchAll(
                db, sql: "SELECT name, rows FROM drill_count WHERE drill = ?", arguments: [drill["number"] as Int64])
            return DrillCounts(
                snapshot: snapshot,
                rows: Dictionary(rows.map { ($0["name"], $0["rows"]) }, uniquingKeysWith: { first, _ in first }))
        }
    }

    func keep(drill rows: [String: Int64], of part: DrilledSnapshot) throws {
        try queue.write { db in
            try db.execute(
                sql: "DELETE FROM drill WHERE database = ? AND lineage = ? AND sequence = ?",
                arguments: [part.database.blob, part.lineage.blob, Int64(clamping: part.sequence)])
            try db.execute(
                sql: "INSERT INTO drill(database, lineage, sequence, snapshot) VALUES (?, ?, ?, ?)",
                arguments: [
                    part.database.blob, part.lineage.blob, Int64(clamping: part.sequence), part.snapshot.blob,
                ])
            let number = db.lastInsertedRowID
            for (name, count) in rows {
                try db.execute(sql: "INSERT INTO drill_count VALUES (?, ?, ?)", arguments: [number, name, count])
            }
            for (sign, order) in [("=", "sequence"), ("<>", "number")] {
                try db.execute(
                    sql: """
                        DELETE FROM drill WHERE number IN (SELECT number FROM drill WHERE database = ?
                            AND lineage \(sign) ? ORDER BY \(order) DESC LIMIT -1 OFFSET ?)
                        """, arguments: [part.database.blob, part.lineage.blob, Self.keptDrills])
            }
        }
    }
}

/// A snapshot by its place in its lineage.
struct DrilledSnapshot: Sendable {
    let snapshot: SnapshotID
    let database: DatabaseID
    let lineage: LineageID
    let sequence: UInt64
}

extension DrilledSnapshot {
    init(_ part: ManifestPublicPart) {
        self.init(snapshot: part.snapshot, database: part.database, lineage: part.lineage, sequence: part.sequence)
    }
}
