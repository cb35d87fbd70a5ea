import Foundation
import GRDB
package import MusterModel

/// The queue of copies that are wanted, and what becomes of them.
extension Catalog {
    package struct Replication: Hashable, Sendable {
        package enum Kind: String, Sendable, CaseIterable { case keys, pack, snapshot }

        package let number: Int64
        package let store: Int64
        package let kind: Kind
        /// The number of the node, of the pack or of the snapshot.
        package let subject: Int64
        package let attempts: Int
    }

    /// A pack with all its replicas, as a copy needs to know it.
    package struct PackCopies: Hashable, Sendable {
        package let number: Int64
        package let id: PackID
        package let sizeBytes: Int64
        package let replicas: [PackReplica]
    }

    // MARK: - The queue

    package func dueReplications(
        to store: Int64, _ kind: Replication.Kind, now: Timestamp, limit: Int
    ) async throws(CatalogError) -> [Replication] {
        try await read { database in
            try database.rows(Self.dueQuery, [store, kind.rawValue, now.microseconds, limit]).map { row in
                Replication(
                    number: row["number"], store: row["store"], kind: try row.word("kind"), subject: row["subject"],
                    attempts: row["attempts"])
            }
        }
    }

    /// When the next copy to this store may be tried; nil where none is wanted.
    package func nextReplication(to store: Int64) async throws(CatalogError) -> Timestamp? {
        try await read { database in
            let times: [Int64?] = try Replication.Kind.allCases.map { kind in
                try database.value(
                    "SELECT min(due_at) FROM replication WHERE store = ? AND kind = ?", [store, kind.rawValue])
            }
            return times.compactMap { $0 }.min().map(Timestamp.init(microseconds:))
        }
    }

    package func postpone(
        _ task: Replication, until time: Timestamp, reason: String
    ) async throws(CatalogError) {
        try await write { database in
            try database.run(
                "UPDATE replication SET due_at = ?, attempts = attempts + 1, reason = ? WHERE number = ?",
                [time.microseconds, reason, task.number])
        }
    }

    /// Takes back what is not wanted any more.
    package func drop(_ task: Replication) async throws(CatalogError) {
        try await write { try $0.run("DELETE FROM replication WHERE number = ?", [task.number]) }
    }

    /// A store that is back is tried now, whatever was put off.
    package func hastenReplications(to store: Int64, now: Timestamp) async throws(CatalogError) {
        try await write { database in
            try database.run(
                """
                UPDATE replication SET due_at = ?2 WHERE number IN
                    (SELECT number FROM replication WHERE store = ?1 AND kind = 'pack' AND due_at > ?2
                    UNION ALL SELECT number FROM replication WHERE store = ?1 AND kind = 'snapshot' AND due_at > ?2
                    LIMIT 10000)
                """, [store, now.microseconds])
        }
    }

    /// Takes back the copy of a pack that no snapshot in the store needs.
    ///
    /// - Returns: false where one needs it: that may have come just now.
    package func dropUnneeded(_ task: Replication) async throws(CatalogError) -> Bool {
        try await write { database in
            guard try database.row(Self.wantedPackQuery, [task.subject, task.store]) == nil else { return false }
            try database.run("DELETE FROM replication WHERE number = ?", [task.number])
            return true
        }
    }

    /// What waited for a base that is there now is tried as if it had not been tried before.
    static func hasten(
        basedOn base: SnapshotID, in store: Int64, now: Timestamp, _ database: GRDB.Database
    ) throws {
        try database.run(hastenDependentsStatement, [base.blob, store, now.microseconds])
    }

    static func want(
        _ kind: Replication.Kind, _ subject: Int64, in store: Int64, now: Timestamp, _ database: GRDB.Database
    ) throws {
        try database.run(
            "INSERT INTO replication(store, kind, subject, due_at, wanted_at) VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT DO NOTHING",
            [store, kind.rawValue, subject, now.microseconds])
    }

    // MARK: - What is to be copied

    package func snapshot(numbered number: Int64) async throws(CatalogError) -> Snapshot? {
        try await read { database in
            try database.row(Self.snapshotQuery + " WHERE s.number = ?", [number])
                .map { try Self.snapshot($0, in: database) }
        }
    }

    package func copies(ofPack number: Int64) async throws(CatalogError) -> PackCopies? {
        try await read { database in
            guard let row = try database.row("SELECT id, size_bytes FROM pack WHERE number = ?", [number]) else {
                return nil
            }
            let replicas = try database.rows(
                """
                SELECT p.id, p.size_bytes, r.* FROM pack p JOIN pack_replica r ON r.pack = p.number
                WHERE p.number = ? ORDER BY r.store
                """, [number]
            ).map(Self.packReplica)
            return PackCopies(
                number: number, id: try row.digest("id"), sizeBytes: row["size_bytes"], replicas: replicas)
        }
    }

    // MARK: - Placement that changed

    /// Snapshots in the order of their receipts, from a point on.
    package func placed(
        after number: Int64, limit: Int
    ) async throws(CatalogError) -> [(number: Int64, node: NodeID, stores: Set<Int64>)] {
        try await read { database in
            try database.rows(
                "SELECT number, node FROM snapshot WHERE number > ? ORDER BY number LIMIT ?", [number, limit]
            )
            .map { row in
                let number: Int64 = row["number"]
                let stores: [Int64] = try database.rows(
                    "SELECT store FROM manifest_replica WHERE snapshot = ? AND state = 'present'", [number]
                ).map { $0["store"] }
                return (number, try row.identifier("node"), Set(stores))
            }
        }
    }

    package func want(
        _ copies: [(snapshot: Int64, store: Int64)], now: Timestamp
    ) async throws(CatalogError) {
        try await write { database in
            for copy in copies { try Self.want(.snapshot, copy.snapshot, in: copy.store, now: now, database) }
        }
    }

    // MARK: - Statements

    static let hastenDependentsStatement = """
        UPDATE replication SET due_at = min(due_at, ?3), attempts = 0 WHERE store = ?2 AND kind = 'snapshot'
            AND subject IN (SELECT number FROM snapshot WHERE base = ?1)
        """
    static let dueQuery = """
        SELECT * FROM replication WHERE store = ? AND kind = ? AND due_at <= ? ORDER BY due_at LIMIT ?
        """
}
