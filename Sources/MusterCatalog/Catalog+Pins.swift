import GRDB
package import MusterModel

/// Pins: a snapshot that somebody is reading is not forgotten meanwhile.
///
/// Only restores need one. A snapshot with an inspection or a job that is open is not forgotten (`forgettableQuery`), and
/// a copy is no reader: it is recorded only where what it is of is still there (`recordCopy`), else given up itself.
extension Catalog {
    package enum PinKind: String, Sendable {
        case restore
        /// By an order to a node to restore it, for as long as the order was given.
        case order
    }

    /// Pins a snapshot, or keeps its pin for longer. One that has more than half of its time left costs no write.
    ///
    /// - Returns: false where the snapshot is forgotten or gone: then it cannot be pinned any more.
    package func pin(
        _ snapshot: SnapshotID, _ kind: PinKind, for duration: Duration, now: Timestamp
    ) async throws(CatalogError) -> Bool {
        if let until = try await pinEnd(of: snapshot, kind), until > now + duration / 2 { return true }
        return try await write { database in
            try database.run(
                """
                INSERT INTO pin(snapshot, kind, until)
                SELECT number, ?2, ?3 FROM snapshot WHERE id = ?1 AND forgotten_at IS NULL
                ON CONFLICT(snapshot, kind) DO UPDATE SET until = max(until, excluded.until)
                """, [snapshot.blob, kind.rawValue, (now + duration).microseconds])
            return database.changesCount > 0
        }
    }

    /// nil where it is not pinned so.
    package func pinEnd(of snapshot: SnapshotID, _ kind: PinKind) async throws(CatalogError) -> Timestamp? {
        try await read { database in
            let until: Int64? = try database.value(Self.pinQuery, [snapshot.blob, kind.rawValue])
            return until.map(Timestamp.init(microseconds:))
        }
    }

    package func unpin(_ snapshot: SnapshotID, _ kind: PinKind) async throws(CatalogError) {
        try await write { database in
            try database.run(
                "DELETE FROM pin WHERE snapshot = (SELECT number FROM snapshot WHERE id = ?) AND kind = ?",
                [snapshot.blob, kind.rawValue])
        }
    }

    static func removeStalePins(now: Timestamp, in database: GRDB.Database) throws {
        try database.run("DELETE FROM pin WHERE until <= ?", [now.microseconds])
    }

    static let pinQuery = """
        SELECT p.until FROM snapshot s JOIN pin p ON p.snapshot = s.number AND p.kind = ?2 WHERE s.id = ?1
        """
}
