import Foundation
import GRDB
package import MusterModel

/// Giving up replicas in stores where the placement does not want them any more (proto/decisions/0014-rebalancing.md).
///
/// - Each giving up is one short transaction that asks everything again: which stores are in use, that each wanted store
///   has all of it that is good anywhere in copies that were hashed and looked at, that nothing in the store builds on it.
/// - A manifest goes before the packs that it needs, and the newest snapshot first: what a store lists it can restore.
/// - Nobody deletes here: the exact names go to `discarded_object`, as everything else that gc deletes.
extension Catalog {
    /// What a store has of one node.
    package struct Holding: Hashable, Sendable {
        package let node: NodeID
        package let snapshots: Int
        package let packs: Int
    }

    /// What must be so for a replica in `store` to be surplus.
    package struct Surplus: Sendable {
        package var store: Int64
        package var node: NodeID
        /// Where the placement keeps the node's snapshots; `store` is none of them.
        package var wanted: [Int64]
        /// All stores that are in use, in the order of their numbers: those that the placement was drawn from.
        package var active: [Int64]
        /// A copy counts where all of its bytes were hashed since then,
        package var hashedSince: Timestamp
        /// and where it was found there with its size since then.
        package var lookedSince: Timestamp

        package init(
            store: Int64, node: NodeID, wanted: [Int64], active: [Int64], hashedSince: Timestamp, lookedSince: Timestamp
        ) {
            (self.store, self.node, self.wanted, self.active) = (store, node, wanted, active)
            (self.hashedSince, self.lookedSince) = (hashedSince, lookedSince)
        }
    }

    // MARK: - What there is

    package func holdings(inStore store: Int64) async throws(CatalogError) -> [Holding] {
        try await read { database in
            try database.rows(Self.holdingQuery, [store]).map {
                Holding(node: try $0.identifier("node"), snapshots: $0["snapshots"], packs: $0["packs"])
            }
        }
    }

    package func holding(of node: NodeID, inStore store: Int64) async throws(CatalogError) -> Holding {
        try await read { database in
            let row = try database.row(
                "SELECT snapshots, packs FROM holding WHERE store = ? AND node = ?", [store, node.blob])
            return Holding(node: node, snapshots: row?["snapshots"] ?? 0, packs: row?["packs"] ?? 0)
        }
    }

    /// Nodes whose key records a store has.
    package func nodesWithKeys(inStore store: Int64, limit: Int) async throws(CatalogError) -> [NodeID] {
        try await read { database in
            try database.rows("SELECT node FROM key_replica WHERE store = ? LIMIT ?", [store, limit])
                .map { try $0.identifier("node") }
        }
    }

    package func lineages(of node: NodeID) async throws(CatalogError) -> [LineageID] {
        try await read { database in
            try database.rows(Self.lineagesQuery, [node.blob]).map { try $0.identifier("id") }
        }
    }

    /// Snapshots of a lineage that a store has, the newest first.
    package func snapshots(
        of lineage: LineageID, in store: Int64, below sequence: UInt64?, limit: Int
    ) async throws(CatalogError) -> [Snapshot] {
        try await read { database in
            try database.rows(
                Self.heldQuery, [lineage.blob, store, sequence.map { Int64(clamping: $0) } ?? Int64.max, limit]
            ).map { try Self.snapshot($0, in: database) }
        }
    }

    /// Packs of a lineage that a store has, by their numbers.
    package func packs(
        of lineage: LineageID, in store: Int64, after number: Int64, limit: Int
    ) async throws(CatalogError) -> [Int64] {
        try await read { database in
            try database.rows(Self.heldPacksQuery, [lineage.blob, store, number, limit]).map { $0["pack"] }
        }
    }

    /// Whether a snapshot that the store has needs the pack.
    package func isWanted(pack: Int64, in store: Int64) async throws(CatalogError) -> Bool {
        try await read { try $0.row(Self.wantedPackQuery, [pack, store]) != nil }
    }

    /// Asks for packs that a store never had, though it has a snapshot that needs them.
    package func want(packs: [Int64], in store: Int64, now: Timestamp) async throws(CatalogError) {
        try await write { database in
            for pack in packs { try Self.want(.pack, pack, in: store, now: now, database) }
        }
    }

    // MARK: - Giving up

    /// Gives up the replica of a snapshot.
    ///
    /// - Returns: false where it has to stay.
    package func giveUp(
        snapshot number: Int64, _ surplus: Surplus, now: Timestamp
    ) async throws(CatalogError) -> Bool {
        let names = names
        return try await write { database in
            guard try Self.stands(surplus, database),
                let row = try database.row("SELECT * FROM snapshot WHERE number = ?", [number]),
                row["node"] as Data == surplus.node.blob,
                try database.row(Self.heldChildQuery, [row["id"] as Data, surplus.store]) == nil,
                try database.row("SELECT 1 FROM receipt WHERE snapshot = ? AND stored", [number]) != nil
            else { return false }
            for store in surplus.wanted {
                guard try Self.isWhole(row, in: store, surplus, database) else { return false }
            }
            return try Self.giveUp(row, in: surplus.store, names, now: now, database)
        }
    }

    /// Gives up replicas of packs, once the store has no snapshot of the node any more.
    ///
    /// - Returns: how many.
    package func giveUp(packs: [Int64], _ surplus: Surplus, now: Timestamp) async throws(CatalogError) -> Int {
        let names = names
        return try await write { database in
            guard try Self.stands(surplus, database), try Self.heldSnapshots(surplus, database) == 0 else { return 0 }
            var count = 0
            for pack in packs {
                let isWhole = try surplus.wanted.allSatisfy { try Self.isProven(pack, in: $0, surplus, database) }
                let isNowhere = try database.row(Self.nowhereToBeFoundQuery, [pack, surplus.store]) != nil
                guard isWhole || isNowhere, try Self.giveUp(pack, in: surplus.store, names, now: now, database) else {
                    continue
                }
                count += 1
            }
            return count
        }
    }

    /// Gives up the key record of a node of which the store has nothing else.
    package func giveUpKeys(_ surplus: Surplus, now: Timestamp) async throws(CatalogError) -> Bool {
        try await write { database in
            guard try Self.stands(surplus, database),
                try database.row(Self.emptyHoldingQuery, [surplus.store, surplus.node.blob]) == nil,
                try surplus.wanted.allSatisfy({ store in
                    try database.row(
                        Self.soundKeysQuery, [surplus.node.blob, store, surplus.hashedSince.microseconds]) != nil
                }),
                let row = try database.row(
                    "SELECT object, state FROM key_replica WHERE node = ? AND store = ?",
                    [surplus.node.blob, surplus.store])
            else { return false }
            try Self.discard(
                row["object"], in: surplus.store, byteCount: 0, notBefore: now + Self.stay(of: row["state"]),
                reason: "surplus", database)
            try database.run(
                "DELETE FROM key_replica WHERE node = ? AND store = ?", [surplus.node.blob, surplus.store])
            try database.run(
                """
                DELETE FROM replication WHERE store = ? AND kind = 'keys'
                    AND subject = (SELECT number FROM node WHERE id = ?)
                """, [surplus.store, surplus.node.blob])
            return true
        }
    }

    /// Whether the placement is still what the caller drew it from, and does not want this store.
    private static func stands(_ surplus: Surplus, _ database: GRDB.Database) throws -> Bool {
        let rows = try database.rows("SELECT number, state, node FROM store ORDER BY number", [])
        let active: [Int64] = rows.filter { $0["state"] == StoreState.active.rawValue }.map { $0["number"] }
        let own: String? = rows.first { $0["number"] == surplus.store }?["state"]
        // Those on nodes never suffice.
        let isOnNone = rows.contains { row in
            row["node"] as Data? == nil && surplus.wanted.contains(row["number"])
        }
        return active == surplus.active && Set(active).isSuperset(of: surplus.wanted) && isOnNone
            && !surplus.wanted.contains(surplus.store) && own != nil && own != StoreState.lost.rawValue
    }

    private static func heldSnapshots(_ surplus: Surplus, _ database: GRDB.Database) throws -> Int64 {
        try database.value(
            "SELECT snapshots FROM holding WHERE store = ? AND node = ?", [surplus.store, surplus.node.blob]) ?? 0
    }

    /// Whether a store could restore the snapshot by itself. Of a forgotten one only the manifest is needed.
    private static func isWhole(
        _ row: Row, in store: Int64, _ surplus: Surplus, _ database: GRDB.Database
    ) throws -> Bool {
        let chain = try database.rows(chainNumbersQuery, [row["id"] as Data])
        for link in chain {
            guard try isProven(manifestOf: link["number"], in: store, surplus, database) else { return false }
        }
        guard
            try database.row(soundKeysQuery, [surplus.node.blob, store, surplus.hashedSince.microseconds]) != nil
        else { return false }
        if row.optionalTime("forgotten_at") != nil { return true }
        return try unprovenPacks(
            of: (row["lineage"], row["sequence"]), in: store, surplus, limit: 1, database
        ).isEmpty
    }

    static func unprovenPacks(
        of snapshot: Snapshot, in store: Int64, _ surplus: Surplus, limit: Int, _ database: GRDB.Database
    ) throws -> [Int64] {
        try unprovenPacks(
            of: (snapshot.lineage.blob, Int64(snapshot.sequence)), in: store, surplus, limit: limit, database)
    }

    static func unprovenPacks(
        of place: (lineage: Data, sequence: Int64), in store: Int64, _ surplus: Surplus, limit: Int,
        _ database: GRDB.Database
    ) throws -> [Int64] {
        try database.rows(
            unprovenPacksQuery,
            [
                place.lineage, place.sequence, store, surplus.hashedSince.microseconds,
                surplus.lookedSince.microseconds, limit,
            ]
        ).map { $0["pack"] }
    }

    static func isProven(
        _ pack: Int64, in store: Int64, _ surplus: Surplus, _ database: GRDB.Database
    ) throws -> Bool {
        try database.row(
            provenPackQuery,
            [pack, store, surplus.hashedSince.microseconds, surplus.lookedSince.microseconds]) != nil
    }

    static func isProven(
        manifestOf snapshot: Int64, in store: Int64, _ surplus: Surplus, _ database: GRDB.Database
    ) throws -> Bool {
        try database.row(
            provenManifestQuery,
            [snapshot, store, surplus.hashedSince.microseconds, surplus.lookedSince.microseconds]) != nil
    }

    private static func giveUp(
        _ row: Row, in store: Int64, _ names: ObjectNames, now: Timestamp, _ database: GRDB.Database
    ) throws -> Bool {
        let number: Int64 = row["number"]
        let held = try database.row(
            "SELECT * FROM manifest_replica WHERE snapshot = ? AND store = ?", [number, store])
        guard let held else { return false }
        let place = try place(of: row)
        let receiptBytes: Int64 =
            try database.value("SELECT length(bytes) FROM receipt WHERE snapshot = ?", [number]) ?? 0
        let objects: [(name: String?, bytes: Int64, state: String)] = [
            (names.receipt(place, held["receipt_generation"]), receiptBytes, held["receipt_state"]),
            (names.manifest(place, held["generation"]), row["manifest_bytes"], held["state"]),
        ]
        for object in objects {
            guard let name = object.name else { throw CatalogError.damaged(column: "generation") }
            try discard(
                name, in: store, byteCount: object.bytes, notBefore: now + stay(of: object.state), reason: "surplus",
                database)
        }
        try database.run("DELETE FROM manifest_replica WHERE snapshot = ? AND store = ?", [number, store])
        try database.run(
            "DELETE FROM replication WHERE store = ? AND kind = 'snapshot' AND subject = ?", [store, number])
        return true
    }

    private static func giveUp(
        _ pack: Int64, in store: Int64, _ names: ObjectNames, now: Timestamp, _ database: GRDB.Database
    ) throws -> Bool {
        let held = try database.row(
            """
            SELECT p.id, p.size_bytes, r.generation, r.state FROM pack_replica r JOIN pack p ON p.number = r.pack
            WHERE r.pack = ? AND r.store = ?
            """, [pack, store])
        guard let held else { return false }
        try discard(
            try names.name(ofPack: try held.digest("id"), held["generation"]), in: store,
            byteCount: held["size_bytes"], notBefore: now + stay(of: held["state"]), reason: "surplus", database)
        try database.run("DELETE FROM pack_replica WHERE pack = ? AND store = ?", [pack, store])
        try count(wanting: pack, in: database)
        try database.run("DELETE FROM replication WHERE store = ? AND kind = 'pack' AND subject = ?", [store, pack])
        return true
    }

    private static func stay(of state: String) -> Duration {
        state == ReplicaState.damaged.rawValue ? badObjectStays : replacedObjectStays
    }

    // MARK: - Statements

    static let holdingQuery = """
        SELECT node, snapshots, packs FROM holding WHERE store = ? AND (snapshots > 0 OR packs > 0) ORDER BY node
        """
    static let emptyHoldingQuery = """
        SELECT 1 FROM holding WHERE store = ? AND node = ? AND (snapshots > 0 OR packs > 0)
        """
    static let lineagesQuery = """
        SELECT l.id FROM database d CROSS JOIN lineage l ON l.database = d.id WHERE d.node = ? ORDER BY l.id
        """
    static let heldQuery =
        snapshotColumns + """
             FROM snapshot s CROSS JOIN manifest_replica h ON h.snapshot = s.number AND h.store = ?2
            """ + " " + snapshotJoins + """
             WHERE s.lineage = ?1 AND s.sequence < ?3 ORDER BY s.sequence DESC LIMIT ?4
            """
    static let heldPacksQuery = """
        SELECT DISTINCT f.pack FROM pack_reference f CROSS JOIN pack_replica r ON r.pack = f.pack AND r.store = ?2
        WHERE f.lineage = ?1 AND f.pack > ?3 ORDER BY f.pack LIMIT ?4
        """
    static let wantedPackQuery = """
        SELECT 1 FROM pack_reference f JOIN snapshot s ON s.lineage = f.lineage AND s.sequence >= f.born
            AND (f.died IS NULL OR s.sequence < f.died) AND s.forgotten_at IS NULL
        JOIN manifest_replica r ON r.snapshot = s.number AND r.store = ?2 WHERE f.pack = ?1 LIMIT 1
        """
    static let heldChildQuery = """
        SELECT 1 FROM snapshot c JOIN manifest_replica r ON r.snapshot = c.number AND r.store = ?2
        WHERE c.base = ?1 LIMIT 1
        """
    /// The snapshot itself, and its chain of bases.
    static let chainNumbersQuery = """
        WITH RECURSIVE chain(number, base) AS (
            SELECT number, base FROM snapshot WHERE id = ?
            UNION ALL SELECT s.number, s.base FROM chain c JOIN snapshot s ON s.id = c.base)
        SELECT number FROM chain
        """
    private static let provenCondition = """
        r.state = 'present' AND r.hashed_at >= ?4 AND max(coalesce(r.checked_at, 0), r.hashed_at) >= ?5
        """
    static let unprovenPacksQuery = """
        SELECT f.pack FROM
            (SELECT pack FROM pack_reference WHERE lineage = ?1 AND died IS NULL AND born <= ?2
            UNION ALL SELECT pack FROM pack_reference WHERE lineage = ?1 AND died > ?2 AND born <= ?2) f
        WHERE NOT EXISTS (SELECT 1 FROM pack_replica r WHERE r.pack = f.pack AND r.store = ?3 AND \(provenCondition))
            AND NOT EXISTS (SELECT 1 FROM pack p WHERE p.number = f.pack AND p.wanting)
        LIMIT ?6
        """
    /// What is missing here and good nowhere else. Bytes that are bad here are the last trace of it: those stay.
    static let nowhereToBeFoundQuery = """
        SELECT 1 FROM pack p JOIN pack_replica r ON r.pack = p.number
        WHERE p.number = ? AND p.wanting AND r.store = ? AND r.state = 'missing'
        """
    static let provenPackQuery = """
        SELECT 1 FROM pack_replica r WHERE r.pack = ? AND r.store = ? AND r.state = 'present' AND r.hashed_at >= ?
            AND max(coalesce(r.checked_at, 0), r.hashed_at) >= ?
        """
    static let provenManifestQuery = """
        SELECT 1 FROM manifest_replica r WHERE r.snapshot = ? AND r.store = ? AND r.state = 'present'
            AND r.receipt_state = 'present' AND r.hashed_at >= ?
            AND max(coalesce(r.checked_at, 0), r.hashed_at) >= ?
        """
    static let soundKeysQuery = """
        SELECT 1 FROM key_replica WHERE node = ? AND store = ? AND state = 'present' AND hashed_at >= ?
        """
}
