import Foundation
import GRDB
package import MusterModel

/// What was copied from store to store.
///
/// A copy takes its time, and its store is not the same afterwards: another copy may have come first, what it was to
/// stand in for may have been given up, the store itself too. So each is recorded only where what it began beside is there
/// still, in the transaction that looks; the one that lost is nobody's, and its name is discarded.
extension Catalog {
    /// Records a copy of a pack that is durable and was hashed on its way. What it replaces is discarded.
    ///
    /// - Parameters:
    ///   - pack: as it was when the copy began.
    ///   - quarantine: how long the bytes that were found bad are kept.
    /// - Returns: false where the pack is no longer known, or it was overtaken: then the copy itself is discarded.
    package func recordCopy(
        of pack: PackCopies, in store: Int64, generation: String, object: String,
        replacing old: (object: String, isDamaged: Bool)?, quarantine: Duration, now: Timestamp
    ) async throws(CatalogError) -> Bool {
        try await write { database in
            let isKnown = try database.row("SELECT 1 FROM pack WHERE number = ? AND NOT is_swept", [pack.number]) != nil
            let before = pack.replicas.first { $0.store == store }?.generation
            guard try isKnown && Self.isTaking(store, database) && Self.stands(before, pack.number, store, database)
            else {
                try Self.discard(
                    object, in: store, byteCount: pack.sizeBytes, notBefore: now, reason: "not needed", database)
                return false
            }
            try database.run(
                """
                INSERT INTO pack_replica(pack, store, generation, state, checked_at, hashed_at)
                VALUES (?1, ?2, ?3, 'present', ?4, ?4)
                ON CONFLICT(pack, store) DO UPDATE SET generation = excluded.generation, state = excluded.state,
                    checked_at = excluded.checked_at, hashed_at = excluded.hashed_at, read_at = NULL
                """, [pack.number, store, generation, now.microseconds])
            try Self.count(wanting: pack.number, in: database)
            if let old, old.isDamaged {
                try Self.discard(
                    old.object, in: store, byteCount: pack.sizeBytes, notBefore: now + quarantine, reason: "damaged",
                    database)
            }
            try database.run(
                "DELETE FROM replication WHERE store = ? AND kind = 'pack' AND subject = ?", [store, pack.number])
            return true
        }
    }

    /// Where the manifest and the receipt of a snapshot are in a store, after they were copied there.
    package struct SnapshotCopy: Sendable {
        package var store: Int64
        package var generation: String
        package var receiptGeneration: String
        /// What was recorded there when the copy began.
        package var replacing: ManifestReplica?
        /// Names that the copy put others in place of.
        package var replaced: [(object: String, byteCount: Int64)] = []

        package init(store: Int64, generation: String, receiptGeneration: String, replacing: ManifestReplica? = nil) {
            (self.store, self.generation, self.receiptGeneration) = (store, generation, receiptGeneration)
            self.replacing = replacing
        }
    }

    /// Records that a store holds the snapshot whole: its manifest was copied last. What is lost in every store is noted
    /// as lacking there too: others are based on the manifest, and need not wait for what may never come back.
    ///
    /// What it was copied beside may be given up meanwhile, so that is asked once more.
    /// - Returns: false where the snapshot is no longer known, the copy was overtaken, or the store lacks something that
    ///   the snapshot needs and another store has.
    package func recordCopy(
        of snapshot: Int64, _ copy: SnapshotCopy, quarantine: Duration, now: Timestamp
    ) async throws(CatalogError) -> Bool {
        try await write { database in
            guard let row = try database.row(Self.snapshotQuery + " WHERE s.number = ?", [snapshot]),
                try Self.isTaking(copy.store, database), try Self.stands(copy, snapshot, database)
            else { return false }
            let known = try Self.snapshot(row, in: database)
            let standing = try Self.standing(of: known, in: copy.store, limit: 1, database)
            guard standing.hasBase, standing.hasKeys, standing.lacking.isEmpty else { return false }
            try database.run(
                """
                INSERT INTO manifest_replica(snapshot, store, generation, receipt_generation, state, receipt_state,
                    checked_at, hashed_at)
                VALUES (?1, ?2, ?3, ?4, 'present', 'present', ?5, ?5)
                ON CONFLICT(snapshot, store) DO UPDATE SET generation = excluded.generation,
                    receipt_generation = excluded.receipt_generation, state = 'present', receipt_state = 'present',
                    checked_at = excluded.checked_at, hashed_at = excluded.hashed_at, read_at = NULL
                """, [snapshot, copy.store, copy.generation, copy.receiptGeneration, now.microseconds])
            for old in copy.replaced {
                try Self.discard(
                    old.object, in: copy.store, byteCount: old.byteCount, notBefore: now + quarantine,
                    reason: "damaged", database)
            }
            try database.run(
                "DELETE FROM replication WHERE store = ? AND kind = 'snapshot' AND subject = ?",
                [copy.store, snapshot])
            try Self.wantLost(of: known, in: copy.store, hasParent: standing.hasParent, now: now, database)
            try Self.hasten(basedOn: known.id, in: copy.store, now: now, database)
            return true
        }
    }

    // MARK: - Who came first

    /// A store that was given up takes nothing more: what is recorded there would count, and is nowhere.
    static func isTaking(_ store: Int64, _ database: GRDB.Database) throws -> Bool {
        try database.row("SELECT 1 FROM store WHERE number = ? AND state <> 'lost'", [store]) != nil
    }

    /// Whether the store has no other copy of the pack than the one that the copy began beside, and that is not good.
    private static func stands(
        _ before: String?, _ pack: Int64, _ store: Int64, _ database: GRDB.Database
    ) throws -> Bool {
        let row = try database.row(
            "SELECT generation, state FROM pack_replica WHERE pack = ? AND store = ?", [pack, store])
        guard let row else { return before == nil }
        return row["generation"] == before && row["state"] != ReplicaState.present.rawValue
    }

    /// The same of a manifest and its receipt: a name that the copy keeps must not be given up meanwhile, and what it
    /// replaces must not have turned out to be good.
    private static func stands(_ copy: SnapshotCopy, _ snapshot: Int64, _ database: GRDB.Database) throws -> Bool {
        let row = try database.row(
            """
            SELECT generation, receipt_generation, state = 'present' AS is_good, receipt_state = 'present' AS has_receipt
            FROM manifest_replica WHERE snapshot = ? AND store = ?
            """, [snapshot, copy.store])
        guard let row, let old = copy.replacing else { return row == nil && copy.replacing == nil }
        return row["generation"] == old.generation && row["receipt_generation"] == old.receiptGeneration
            && row["is_good"] == (copy.generation == old.generation)
            && row["has_receipt"] == (copy.receiptGeneration == old.receiptGeneration)
    }

    // MARK: - What nothing refers to

    /// Notes an object that nothing refers to any more, by its exact name.
    static func discard(
        _ object: String, in store: Int64, byteCount: Int64, notBefore: Timestamp, reason: String,
        _ database: GRDB.Database
    ) throws {
        try database.run(
            """
            INSERT INTO discarded_object(store, object, byte_count, not_before, reason) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT(store, object) DO UPDATE SET not_before = min(not_before, excluded.not_before)
            """, [store, object, byteCount, notBefore.microseconds, reason])
    }

    /// For objects that were written and then not recorded.
    package func discard(
        _ object: String, in store: Int64, byteCount: Int64, now: Timestamp, reason: String
    ) async throws(CatalogError) {
        try await write { database in
            try Self.discard(object, in: store, byteCount: byteCount, notBefore: now, reason: reason, database)
        }
    }

    /// Names of objects that gc may delete at some time.
    package func discardedObjects(limit: Int) async throws(CatalogError) -> Set<String> {
        try await read { database in
            Set(
                try database.rows("SELECT object FROM discarded_object ORDER BY number LIMIT ?", [limit])
                    .map { $0["object"] as String })
        }
    }
}
