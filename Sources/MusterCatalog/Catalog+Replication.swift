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

    /// How a snapshot that is about to be committed, or to be copied, stands in one store.
    package struct Standing: Hashable, Sendable {
        /// The manifest of the parent is there, and with it all that the parent needs; true where there is no parent.
        package let hasParent: Bool
        /// The manifest of the base is there; true where there is none.
        package let hasBase: Bool
        package let hasKeys: Bool
        /// Packs that are not there in a good copy, by number; at most `limit`.
        package let lacking: [Int64]
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

    /// - Parameter isAttempt: false where it only waits for its turn.
    package func postpone(
        _ task: Replication, until time: Timestamp, reason: String, isAttempt: Bool = true
    ) async throws(CatalogError) {
        try await write { database in
            try database.run(
                "UPDATE replication SET due_at = ?, attempts = attempts + ?, reason = ? WHERE number = ?",
                [time.microseconds, isAttempt ? 1 : 0, reason, task.number])
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

    /// What a committed snapshot lacks in a store.
    ///
    /// Where the parent is whole there, only what began with this snapshot has to be looked at. Of a forgotten one,
    /// which others are based on, nothing but its manifest is needed.
    package func standing(
        of snapshot: Snapshot, in store: Int64, limit: Int
    ) async throws(CatalogError) -> Standing {
        try await read { try Self.standing(of: snapshot, in: store, limit: limit, $0) }
    }

    private static func standing(
        of snapshot: Snapshot, in store: Int64, limit: Int, _ database: GRDB.Database
    ) throws -> Standing {
        let hasParent = try snapshot.parent.map { try hasWhole($0, in: store, database) } ?? false
        var lacking: [Int64] = []
        if !snapshot.isForgotten {
            lacking = try database.rows(
                hasParent ? lackingNewQuery : lackingQuery,
                [snapshot.lineage.blob, Int64(snapshot.sequence), store, limit]
            ).map { $0["pack"] }
        }
        return Standing(
            hasParent: hasParent,
            hasBase: try snapshot.base.map { try hasManifest(of: $0, in: store, database) } ?? true,
            hasKeys: try hasKeys(of: snapshot.node, in: store, database), lacking: lacking)
    }

    /// How a commit stands in a store: whether the store could acknowledge it, and after which copies.
    ///
    /// Where the store has not the parent, all packs that the snapshot needs are looked at: it may have them all the same.
    /// - Parameter incoming: packs that come with the commit.
    package func standing(
        of commit: Commit, incoming: Set<PackID>, in store: Int64
    ) async throws(CatalogError) -> Standing {
        try await read { try Self.standing(of: commit, incoming: incoming, in: store, $0) }
    }

    static func standing(
        of commit: Commit, incoming: Set<PackID>, in store: Int64, _ database: GRDB.Database
    ) throws -> Standing {
        let hasParent = try commit.parent.map { try hasWhole($0, in: store, database) } ?? true
        let added = Set(commit.parent == nil ? commit.packs.added : commit.packsSinceParent.added)
        var lacking = try added.subtracting(incoming).sorted().compactMap { id -> Int64? in
            try database.value(lackingCommittedQuery, [id.blob, commit.scope.blob, store])
        }
        if !hasParent {
            let ended = Set(commit.packsSinceParent.dropped)
            for row in try database.rows(lackingLiveQuery, [commit.lineage.blob, store]) {
                let id: PackID = try row.digest("id")
                if !ended.contains(id), !added.contains(id), !incoming.contains(id) { lacking.append(row["number"]) }
            }
        }
        return Standing(
            hasParent: hasParent,
            hasBase: try commit.base.map { try hasManifest(of: $0.snapshot, in: store, database) } ?? true,
            hasKeys: try hasKeys(of: commit.node, in: store, database), lacking: lacking)
    }

    /// The manifest is there, and so all that the snapshot needs. A forgotten one may lack packs.
    private static func hasWhole(
        _ snapshot: SnapshotID, in store: Int64, _ database: GRDB.Database
    ) throws -> Bool {
        try database.row(
            """
            SELECT 1 FROM snapshot s JOIN manifest_replica r ON r.snapshot = s.number
            WHERE s.id = ? AND r.store = ? AND r.state = 'present' AND s.forgotten_at IS NULL
            """, [snapshot.blob, store]) != nil
    }

    private static func hasManifest(
        of snapshot: SnapshotID, in store: Int64, _ database: GRDB.Database
    ) throws -> Bool {
        try database.row(
            """
            SELECT 1 FROM snapshot s JOIN manifest_replica r ON r.snapshot = s.number
            WHERE s.id = ? AND r.store = ? AND r.state = 'present'
            """, [snapshot.blob, store]) != nil
    }

    private static func hasKeys(of node: NodeID, in store: Int64, _ database: GRDB.Database) throws -> Bool {
        try database.row(
            "SELECT 1 FROM key_replica WHERE node = ? AND store = ? AND state = 'present'", [node.blob, store]) != nil
    }

    // MARK: - What was copied

    /// Records a copy of a pack that is durable and was hashed on its way. What it replaces is discarded.
    ///
    /// - Parameter quarantine: how long the bytes that were found bad are kept.
    /// - Returns: false where the pack is no longer known: then the copy itself is discarded.
    @discardableResult
    package func recordCopy(
        of pack: PackCopies, in store: Int64, generation: String, object: String,
        replacing old: (object: String, isDamaged: Bool)?, quarantine: Duration, now: Timestamp
    ) async throws(CatalogError) -> Bool {
        try await write { database in
            let isKnown = try database.row("SELECT 1 FROM pack WHERE number = ? AND NOT is_swept", [pack.number]) != nil
            guard isKnown else {
                try Self.discard(
                    object, in: store, byteCount: pack.sizeBytes, notBefore: now, reason: "not needed", database)
                return false
            }
            try database.run(
                """
                INSERT INTO pack_replica(pack, store, generation, state, checked_at, hashed_at)
                VALUES (?1, ?2, ?3, 'present', ?4, ?4)
                ON CONFLICT(pack, store) DO UPDATE SET generation = excluded.generation, state = excluded.state,
                    checked_at = excluded.checked_at, hashed_at = excluded.hashed_at
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
        /// Names that the copy put others in place of.
        package var replaced: [(object: String, byteCount: Int64)]

        package init(
            store: Int64, generation: String, receiptGeneration: String,
            replaced: [(object: String, byteCount: Int64)] = []
        ) {
            (self.store, self.generation, self.receiptGeneration) = (store, generation, receiptGeneration)
            self.replaced = replaced
        }
    }

    /// Records that a store holds the snapshot whole: its manifest was copied last.
    ///
    /// What it was copied beside may be given up meanwhile, so that is asked once more.
    /// - Returns: false where the snapshot is no longer known, or the store lacks something that it needs.
    @discardableResult
    package func recordCopy(
        of snapshot: Int64, _ copy: SnapshotCopy, quarantine: Duration, now: Timestamp
    ) async throws(CatalogError) -> Bool {
        try await write { database in
            guard let row = try database.row(Self.snapshotQuery + " WHERE s.number = ?", [snapshot]) else {
                return false
            }
            let standing = try Self.standing(
                of: try Self.snapshot(row, in: database), in: copy.store, limit: 1, database)
            guard standing.hasBase, standing.hasKeys, standing.lacking.isEmpty else { return false }
            try database.run(
                """
                INSERT INTO manifest_replica(snapshot, store, generation, receipt_generation, state, receipt_state,
                    checked_at, hashed_at)
                VALUES (?1, ?2, ?3, ?4, 'present', 'present', ?5, ?5)
                ON CONFLICT(snapshot, store) DO UPDATE SET generation = excluded.generation,
                    receipt_generation = excluded.receipt_generation, state = 'present', receipt_state = 'present',
                    checked_at = excluded.checked_at, hashed_at = excluded.hashed_at
                """, [snapshot, copy.store, copy.generation, copy.receiptGeneration, now.microseconds])
            for old in copy.replaced {
                try Self.discard(
                    old.object, in: copy.store, byteCount: old.byteCount, notBefore: now + quarantine,
                    reason: "damaged", database)
            }
            try database.run(
                "DELETE FROM replication WHERE store = ? AND kind = 'snapshot' AND subject = ?",
                [copy.store, snapshot])
            return true
        }
    }

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

    static let dueQuery = """
        SELECT * FROM replication WHERE store = ? AND kind = ? AND due_at <= ? ORDER BY due_at LIMIT ?
        """
    private static let lackingCondition = """
        NOT EXISTS (SELECT 1 FROM pack_replica r WHERE r.pack = f.pack AND r.store = ?3 AND r.state = 'present')
        """
    static let lackingNewQuery = """
        SELECT f.pack FROM pack_reference f WHERE f.lineage = ?1 AND f.born = ?2 AND \(lackingCondition) LIMIT ?4
        """
    static let lackingQuery = """
        SELECT f.pack FROM
            (SELECT pack FROM pack_reference WHERE lineage = ?1 AND died IS NULL AND born <= ?2
            UNION ALL SELECT pack FROM pack_reference WHERE lineage = ?1 AND died > ?2 AND born <= ?2) f
        WHERE \(lackingCondition) LIMIT ?4
        """
    static let lackingLiveQuery = """
        SELECT p.number, p.id FROM pack_reference f JOIN pack p ON p.number = f.pack
        WHERE f.lineage = ?1 AND f.died IS NULL AND NOT EXISTS
            (SELECT 1 FROM pack_replica r WHERE r.pack = f.pack AND r.store = ?2 AND r.state = 'present')
        """
    static let lackingCommittedQuery = """
        SELECT p.number FROM pack p WHERE p.id = ?1 AND p.scope = ?2 AND NOT EXISTS
            (SELECT 1 FROM pack_replica r WHERE r.pack = p.number AND r.store = ?3 AND r.state = 'present')
        """
}
