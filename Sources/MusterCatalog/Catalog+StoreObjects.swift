import Foundation
import GRDB
package import MusterModel

/// Every object that the catalog expects in one store, and what of it waits for repair.
extension Catalog {
    /// What is to be looked at in a store; each manifest has a receipt beside it.
    package struct Expected: Hashable, Sendable {
        package let packs: Int
        package let manifests: Int
        package let keys: Int

        package var objects: Int { packs + 2 * manifests + keys }
    }

    package func expected(inStore store: Int64) async throws(CatalogError) -> Expected {
        try await read { database in
            guard let row = try database.row(Self.expectedQuery, [store]) else {
                throw CatalogError.damaged(column: "store")
            }
            return Expected(packs: row["packs"], manifests: row["snapshots"], keys: row["keys"])
        }
    }

    /// Replicas of packs in a store, by the packs' numbers.
    package func packReplicas(
        inStore store: Int64, after pack: Int64, limit: Int
    ) async throws(CatalogError) -> [PackReplica] {
        try await read { try $0.rows(Self.packsInStoreQuery, [store, pack, limit]).map(Self.packReplica) }
    }

    /// Snapshots of which a store has a manifest, by their numbers.
    package func snapshots(
        inStore store: Int64, after number: Int64, limit: Int
    ) async throws(CatalogError) -> [Snapshot] {
        try await read { database in
            try database.rows(Self.manifestsInStoreQuery, [store, number, limit]).compactMap { row in
                let number: Int64 = row["snapshot"]
                return try database.row(Self.snapshotQuery + " WHERE s.number = ?", [number])
                    .map { try Self.snapshot($0, in: database) }
            }
        }
    }

    // MARK: - Repair

    /// What waits for repair in a store, or for its first copy.
    package struct Repairs: Sendable {
        /// Not tried since they were put in front.
        package let waiting: Int
        /// Tried in vain.
        package let failing: Int
        /// Some of those, in words.
        package let failed: [(kind: Replication.Kind, subject: String, reason: String)]
    }

    /// Asks for the repair of what is bad in a store and in no queue.
    ///
    /// - Returns: how many repairs; `limit` of a kind or more where there may be more of it.
    package func wantRepairs(
        inStore store: Int64, limit: Int = collectionStep, now: Timestamp
    ) async throws(CatalogError) -> Int {
        try await write { database in
            try Self.wantStatements.reduce(0) { count, statement in
                try database.run(statement, [store, now.microseconds, limit])
                return count + database.changesCount
            }
        }
    }

    /// Puts copies that a store waits for in front of the queue, as if they had not been tried.
    ///
    /// - Parameter number: where an earlier step stopped.
    /// - Returns: where this one did; nil at the end.
    package func hastenCopies(
        toStore store: Int64, after number: Int64, limit: Int = collectionStep
    ) async throws(CatalogError) -> Int64? {
        try await write { database in
            let numbers: [Int64] = try database.rows(Self.queuedQuery, [store, number, limit]).map { $0["number"] }
            for number in numbers {
                try database.run(
                    "UPDATE replication SET due_at = 0, attempts = 0, reason = '' WHERE number = ?", [number])
            }
            return numbers.count < limit ? nil : numbers.last
        }
    }

    package func repairs(inStore store: Int64, named limit: Int) async throws(CatalogError) -> Repairs {
        try await read { database in
            let counts = try database.row(Self.repairsQuery, [store, StoreStanding.countLimit])
            let failed = try database.rows(Self.failingRepairsQuery, [store, limit]).map { row in
                (try row.word("kind") as Replication.Kind, row["name"] as String? ?? "", row["reason"] as String)
            }
            return Repairs(waiting: counts?["waiting"] ?? 0, failing: counts?["failing"] ?? 0, failed: failed)
        }
    }

    // MARK: - Statements

    static let expectedQuery = """
        SELECT (SELECT coalesce(sum(packs), 0) FROM holding WHERE store = ?1) AS packs,
            (SELECT coalesce(sum(snapshots), 0) FROM holding WHERE store = ?1) AS snapshots,
            (SELECT count(*) FROM key_replica WHERE store = ?1) AS keys
        """
    /// In the order of the numbers, for the next step goes on from one: by the index of the store alone each step would
    /// sort all that the store has.
    static let packsInStoreQuery = """
        SELECT p.id, p.size_bytes, p.condemned_at, r.* FROM pack_replica r CROSS JOIN pack p ON p.number = r.pack
        WHERE +r.store = ? AND r.pack > ? ORDER BY r.pack LIMIT ?
        """
    static let manifestsInStoreQuery = """
        SELECT snapshot FROM manifest_replica WHERE +store = ? AND snapshot > ? ORDER BY snapshot LIMIT ?
        """
    static let wantStatements = [
        """
        INSERT INTO replication(store, kind, subject, due_at, wanted_at)
        SELECT r.store, 'pack', r.pack, ?2, ?2 FROM pack_replica r INDEXED BY pack_replica_bad
        WHERE r.store = ?1 AND r.state <> 'present' AND NOT EXISTS
            (SELECT 1 FROM replication q WHERE q.store = ?1 AND q.kind = 'pack' AND q.subject = r.pack) LIMIT ?3
        """,
        """
        INSERT INTO replication(store, kind, subject, due_at, wanted_at)
        SELECT r.store, 'snapshot', r.snapshot, ?2, ?2 FROM manifest_replica r INDEXED BY manifest_replica_bad
        WHERE r.store = ?1 AND (r.state <> 'present' OR r.receipt_state <> 'present') AND NOT EXISTS
            (SELECT 1 FROM replication q WHERE q.store = ?1 AND q.kind = 'snapshot' AND q.subject = r.snapshot)
        LIMIT ?3
        """,
        """
        INSERT INTO replication(store, kind, subject, due_at, wanted_at)
        SELECT r.store, 'keys', n.number, ?2, ?2 FROM key_replica r INDEXED BY key_replica_bad
            CROSS JOIN node n ON n.id = r.node
        WHERE r.store = ?1 AND r.state <> 'present' AND NOT EXISTS
            (SELECT 1 FROM replication q WHERE q.store = ?1 AND q.kind = 'keys' AND q.subject = n.number) LIMIT ?3
        """,
    ]
    static let queuedQuery = """
        SELECT number FROM replication WHERE +store = ? AND number > ? ORDER BY number LIMIT ?
        """
    static let repairsQuery = """
        SELECT (SELECT count(*) FROM (SELECT 1 FROM replication WHERE store = ?1 AND attempts = 0 LIMIT ?2)) AS waiting,
            (SELECT count(*) FROM (SELECT 1 FROM replication WHERE store = ?1 AND attempts > 0 LIMIT ?2)) AS failing
        """
    static let failingRepairsQuery = """
        SELECT q.kind, q.reason, CASE q.kind
            WHEN 'pack' THEN (SELECT lower(hex(p.id)) FROM pack p WHERE p.number = q.subject)
            WHEN 'snapshot' THEN (SELECT lower(hex(s.id)) FROM snapshot s WHERE s.number = q.subject)
            ELSE (SELECT n.name FROM node n WHERE n.number = q.subject) END AS name
        FROM replication q WHERE q.store = ? AND q.reason <> '' AND q.attempts > 0 LIMIT ?
        """
}
