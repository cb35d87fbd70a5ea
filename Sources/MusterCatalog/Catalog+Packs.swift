import Foundation
import GRDB
package import MusterModel

/// Packs, their extent chunks, and where their replicas are.
///
/// Everything here is asked within one scope: a scope cannot learn what another has.
extension Catalog {
    package enum ReplicaState: String, Sendable { case present, damaged, missing }

    package struct PackReplica: Hashable, Sendable {
        package let pack: Int64
        package let id: PackID
        package let sizeBytes: Int64
        package let store: Int64
        package let generation: String
        package let state: ReplicaState
        package let checkedAt: Timestamp?
        /// All its bytes were hashed once: before, only its size and its directory are known.
        package let isProven: Bool
        /// gc is about to give the pack up: it does not count as stored.
        package let isCondemned: Bool
    }

    package struct ChunkPlace: Hashable, Sendable {
        package let id: ChunkID
        package let offset: Int
        package let length: Int

        package init(id: ChunkID, offset: Int, length: Int) {
            (self.id, self.offset, self.length) = (id, offset, length)
        }
    }

    package struct NewPack: Sendable {
        package var id: PackID
        package var scope: ScopeID
        package var sizeBytes: Int64
        /// Store number and generation of each durable copy; none for a pack that was sent again and is there.
        package var replicas: [(store: Int64, generation: String)]
        /// Copies that were found bad, in stores that have no other.
        package var damaged: [(store: Int64, generation: String)]
        /// Extent chunks only, but for a pack that was not read: then all of them.
        package var chunks: [ChunkPlace]
        /// Every byte was hashed on its way; if not, it is the first that is scrubbed.
        package var isProven: Bool

        package init(
            id: PackID, scope: ScopeID, sizeBytes: Int64, replicas: [(store: Int64, generation: String)],
            damaged: [(store: Int64, generation: String)] = [], chunks: [ChunkPlace], isProven: Bool = true
        ) {
            (self.id, self.scope, self.sizeBytes) = (id, scope, sizeBytes)
            (self.replicas, self.damaged) = (replicas, damaged)
            (self.chunks, self.isProven) = (chunks, isProven)
        }
    }

    package struct PresentChunk: Hashable, Sendable {
        /// Position in the question.
        package let index: Int
        package let pack: PackID
        package let offset: Int
        package let length: Int
    }

    /// Whether a good copy of the pack is there for this scope.
    package func hasPack(_ id: PackID, in scope: ScopeID) async throws(CatalogError) -> Bool {
        try await read { try Self.presentPack(id, scope, in: $0) != nil }
    }

    /// Which of these packs no store holds for this scope.
    package func absentPacks(_ ids: [PackID], in scope: ScopeID) async throws(CatalogError) -> [PackID] {
        try await read { database in
            try ids.filter { try Self.presentPack($0, scope, in: database) == nil }
        }
    }

    /// What a node has in the stores; see `packWeight(of:asking:)`.
    package struct PackWeight: Sendable {
        /// The node's.
        package let name: String
        /// Of its packs, each once, in however many stores it is.
        package let bytes: Int64
        /// Those of the packs in question that are among them.
        package let known: Set<PackID>
    }

    /// - Returns: nil where no node has the scope.
    package func packWeight(of scope: ScopeID, asking packs: [PackID]) async throws(CatalogError) -> PackWeight? {
        try await read { database in
            guard
                let row = try database.row("SELECT name, pack_bytes FROM node WHERE scope = ?", [scope.blob])
            else { return nil }
            let known = try packs.filter { pack in
                try database.row(
                    "SELECT 1 FROM pack WHERE id = ? AND scope = ? AND NOT is_swept", [pack.blob, scope.blob]) != nil
            }
            return PackWeight(name: row["name"], bytes: row["pack_bytes"], known: Set(known))
        }
    }

    /// Registers a pack whose bytes are durable and were checked.
    ///
    /// A pack that is known gets the new replicas in place of the old ones: the bytes are the same,
    /// and the newest copy is the one that was just checked. It is condemned no longer.
    package func add(_ pack: NewPack, now: Timestamp) async throws(CatalogError) {
        let names = names
        try await write { try Self.add(pack, names, now: now, in: $0) }
    }

    static func add(_ pack: NewPack, _ names: ObjectNames, now: Timestamp, in database: GRDB.Database) throws {
        let lease = (now + leaseDuration).microseconds
        try correctSize(of: pack, in: database)
        try database.run(
            """
            INSERT INTO pack(id, scope, size_bytes, received_at, leased_until) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT(id, scope) DO UPDATE
            SET received_at = excluded.received_at, leased_until = excluded.leased_until, condemned_at = NULL,
                is_swept = 0
            """,
            [pack.id.blob, pack.scope.blob, pack.sizeBytes, now.microseconds, lease])
        let number: Int64? = try database.value(
            "SELECT number FROM pack WHERE id = ? AND scope = ?", [pack.id.blob, pack.scope.blob])
        guard let number else { throw CatalogError.damaged(column: "pack.id") }
        for replica in pack.replicas {
            try discardReplaced(number, pack, by: replica, names, now: now, in: database)
            try database.run(
                """
                INSERT INTO pack_replica(pack, store, generation, state, checked_at, hashed_at)
                VALUES (?1, ?2, ?3, 'present', ?4, ?5)
                ON CONFLICT(pack, store) DO UPDATE SET generation = excluded.generation,
                    state = excluded.state, checked_at = excluded.checked_at, hashed_at = excluded.hashed_at,
                    read_at = NULL
                """,
                [
                    number, replica.store, replica.generation, now.microseconds,
                    pack.isProven ? now.microseconds : 0,
                ])
        }
        for copy in pack.damaged {
            try database.run(
                """
                INSERT INTO pack_replica(pack, store, generation, state, checked_at, hashed_at)
                VALUES (?, ?, ?, 'damaged', ?, 0) ON CONFLICT DO NOTHING
                """, [number, copy.store, copy.generation, now.microseconds])
            try want(.pack, number, in: copy.store, now: now, database)
        }
        try count(wanting: number, in: database)
        for chunk in pack.chunks {
            try database.run(
                "INSERT INTO chunk(id, pack, offset, length) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [chunk.id.blob, number, chunk.offset, chunk.length])
        }
    }

    /// After a rebuild a pack is taken to be as long as its copies are, which may be wrong. Whoever hashed one knows better,
    /// and where no copy is good, so does anybody.
    private static func correctSize(of pack: NewPack, in database: GRDB.Database) throws {
        let row = try database.row(
            """
            SELECT number, size_bytes, counted_in FROM pack
            WHERE id = ? AND scope = ? AND size_bytes <> ? AND (wanting OR ?)
            """, [pack.id.blob, pack.scope.blob, pack.sizeBytes, pack.isProven])
        guard let row else { return }
        let (number, known): (Int64, Int64) = (row["number"], row["size_bytes"])
        try database.run("UPDATE pack SET size_bytes = ? WHERE number = ?", [pack.sizeBytes, number])
        // What is taken off when the pack is free is what was put on.
        try database.run(
            "UPDATE database SET stored_bytes = stored_bytes + ? WHERE id = ?",
            [pack.sizeBytes - known, row["counted_in"] as Data?])
    }

    /// The copy that the new one takes the place of.
    private static func discardReplaced(
        _ number: Int64, _ pack: NewPack, by replica: (store: Int64, generation: String), _ names: ObjectNames,
        now: Timestamp, in database: GRDB.Database
    ) throws {
        let old = try database.row(
            "SELECT generation, state FROM pack_replica WHERE pack = ? AND store = ? AND generation <> ?",
            [number, replica.store, replica.generation])
        guard let old else { return }
        let isGood = old["state"] == ReplicaState.present.rawValue
        try discard(
            try names.name(ofPack: pack.id, old["generation"]), in: replica.store, byteCount: pack.sizeBytes,
            notBefore: now + (isGood ? replacedObjectStays : badObjectStays), reason: isGood ? "replaced" : "damaged",
            database)
    }

    /// Which of these chunks the scope need not send again.
    ///
    /// Only packs count that are committed, or arrived within the last 24 hours, and have a good
    /// copy; what is answered is leased for 24 hours.
    package func presentChunks(
        _ ids: [ChunkID], in scope: ScopeID, now: Timestamp
    ) async throws(CatalogError) -> [PresentChunk] {
        let (present, packs) = try await read { database in
            try Self.lookUp(ids, scope, now: now, in: database)
        }
        guard !packs.isEmpty else { return [] }
        let gone = try await lease(packs, now: now)
        return gone.isEmpty ? present.map(\.chunk) : present.filter { !gone.contains($0.pack) }.map(\.chunk)
    }

    /// All replicas of one pack, for whoever may read it; nil scope means any.
    package func replicas(of id: PackID, in scope: ScopeID?) async throws(CatalogError) -> [PackReplica] {
        try await read { try Self.replicas(of: id, in: scope, in: $0) }
    }

    static func replicas(
        of id: PackID, in scope: ScopeID?, in database: GRDB.Database
    ) throws -> [PackReplica] {
        try database.rows(
            """
            SELECT p.id, p.size_bytes, p.condemned_at, r.* FROM pack p JOIN pack_replica r ON r.pack = p.number
            WHERE p.id = ?1 AND (?2 IS NULL OR p.scope = ?2) ORDER BY p.number, r.store
            """, [id.blob, scope?.blob]
        ).map(packReplica)
    }

    /// Records what an inspection of a replica found.
    ///
    /// - Parameter isHashed: all bytes were read; without that, nothing known to be bad becomes good.
    package func mark(
        pack: Int64, store: Int64, generation: String, as state: ReplicaState, isHashed: Bool, now: Timestamp
    ) async throws(CatalogError) {
        try await write { database in
            // By generation: a copy that was replaced meanwhile is not the one that was inspected.
            try database.run(
                """
                UPDATE pack_replica SET state = ?1, checked_at = ?2,
                    hashed_at = CASE WHEN ?6 THEN ?2 ELSE hashed_at END, read_at = CASE WHEN ?6 THEN ?2 ELSE read_at END
                WHERE pack = ?3 AND store = ?4 AND generation = ?5
                    AND (?6 OR state = 'present' OR ?1 <> 'present')
                """,
                [state.rawValue, now.microseconds, pack, store, generation, isHashed])
            if database.changesCount > 0, state != .present {
                try Self.want(.pack, pack, in: store, now: now, database)
            }
            try Self.count(wanting: pack, in: database)
        }
    }

    /// A pack that was sent again counts as received now, and is condemned no longer.
    ///
    /// - Returns: false where gc took it meanwhile: it must be sent once more.
    package func refresh(_ id: PackID, in scope: ScopeID, now: Timestamp) async throws(CatalogError) -> Bool {
        try await write { database in
            try database.run(
                """
                UPDATE pack SET received_at = ?, leased_until = ?, condemned_at = NULL
                WHERE id = ? AND scope = ? AND NOT is_swept
                """, [now.microseconds, (now + Self.leaseDuration).microseconds, id.blob, scope.blob])
            return database.changesCount > 0
        }
    }

    /// The pack's number, where a good copy is there.
    private static func presentPack(_ id: PackID, _ scope: ScopeID, in database: GRDB.Database) throws -> Int64? {
        try database.value(
            "SELECT number FROM pack WHERE id = ? AND scope = ? AND NOT wanting AND condemned_at IS NULL",
            [id.blob, scope.blob])
    }

    /// Notes whether any store has a good copy left, after the state of one copy changed.
    static func count(wanting pack: Int64, in database: GRDB.Database) throws {
        try database.run(
            """
            UPDATE pack SET wanting = NOT wanting WHERE number = ?1 AND NOT is_swept AND wanting = EXISTS
                (SELECT 1 FROM pack_replica r WHERE r.pack = ?1 AND r.state = 'present')
            """, [pack])
    }

    static func packReplica(_ row: Row) throws -> PackReplica {
        PackReplica(
            pack: row["pack"], id: try row.digest("id"), sizeBytes: row["size_bytes"], store: row["store"],
            generation: row["generation"], state: try row.word("state"), checkedAt: row.optionalTime("checked_at"),
            isProven: row.time("hashed_at").microseconds > 0, isCondemned: row.optionalTime("condemned_at") != nil)
    }

    private static func lookUp(
        _ ids: [ChunkID], _ scope: ScopeID, now: Timestamp, in database: GRDB.Database
    ) throws -> (present: [(pack: Int64, chunk: PresentChunk)], packs: [Int64: Timestamp]) {
        let statement = try database.cachedStatement(sql: chunkQuery)
        let recent = (now - leaseDuration).microseconds
        var present: [(pack: Int64, chunk: PresentChunk)] = []
        var packs: [Int64: Timestamp] = [:]
        for (index, id) in ids.enumerated() {
            guard let row = try Row.fetchOne(statement, arguments: [id.blob, scope.blob, recent]) else { continue }
            let chunk = PresentChunk(
                index: index, pack: try row.digest("id"), offset: row["offset"], length: row["length"])
            present.append((row["number"], chunk))
            packs[row["number"]] = row.time("leased_until")
        }
        return (present, packs)
    }

    static let chunkQuery = """
        SELECT p.number, p.id, p.leased_until, c.offset, c.length FROM chunk c JOIN pack p ON p.number = c.pack
        WHERE c.id = ? AND p.scope = ? AND (p.committed OR p.received_at > ?) AND NOT p.wanting
            AND p.condemned_at IS NULL
        ORDER BY p.number LIMIT 1
        """

    /// Extends leases that run out within 12 hours; a question asked often writes seldom.
    ///
    /// - Returns: packs that gc took since they were looked up.
    private func lease(_ packs: [Int64: Timestamp], now: Timestamp) async throws(CatalogError) -> Set<Int64> {
        let soon = now + Self.leaseDuration / 2
        let due = packs.filter { $0.value < soon }.keys.sorted()
        guard !due.isEmpty else { return [] }
        return try await write { database in
            try Set(
                due.filter { pack in
                    try database.run(
                        "UPDATE pack SET leased_until = ? WHERE number = ? AND condemned_at IS NULL",
                        [(now + Self.leaseDuration).microseconds, pack])
                    return database.changesCount == 0
                })
        }
    }
}
