import GRDB
package import MusterModel

/// Packs that nodes put into a store by themselves: who may put what under which name, and what becomes of it.
extension Catalog {
    package struct UploadGrant: Hashable, Sendable {
        package let node: NodeID
        package let scope: ScopeID
        package let pack: PackID
        package let sizeBytes: Int64
        package let store: Int64
        package let generation: String
        /// When the address counts no longer.
        package let expiresAt: Timestamp

        package init(
            node: NodeID, scope: ScopeID, pack: PackID, sizeBytes: Int64, store: Int64, generation: String,
            expiresAt: Timestamp
        ) {
            (self.node, self.scope, self.pack, self.sizeBytes) = (node, scope, pack, sizeBytes)
            (self.store, self.generation, self.expiresAt) = (store, generation, expiresAt)
        }
    }

    /// How long after its address a grant can still be claimed: a put that began in time takes its time.
    package static let grantOutlivesAddress = Duration.seconds(3600)
    /// When a name that nobody claimed is deleted once more: no server lets a request take so long.
    package static let lastLookAtGrant = Duration.seconds(86_400)

    /// Records grants of one node, before anybody learns of them.
    ///
    /// - Parameter limit: as many may be open at once.
    /// - Returns: how many of them stand, the first ones.
    package func grant(_ grants: [UploadGrant], limit: Int) async throws(CatalogError) -> Int {
        guard let node = grants.first?.node else { return 0 }
        return try await write { database in
            let open: Int = try database.value(Self.openGrantsQuery, [node.blob, limit]) ?? 0
            let standing = grants.prefix(limit - open)
            for grant in standing {
                try database.run(
                    """
                    INSERT INTO upload_grant(node, scope, pack, size_bytes, store, generation, expires_at)
                    VALUES (?, ?, ?, ?, ?, ?, ?)
                    """,
                    [
                        grant.node.blob, grant.scope.blob, grant.pack.blob, grant.sizeBytes, grant.store,
                        grant.generation, grant.expiresAt.microseconds,
                    ])
            }
            return standing.count
        }
    }

    /// - Returns: nil where there is none, or it was claimed or given up.
    package func openGrant(
        _ pack: PackID, generation: String, of node: NodeID
    ) async throws(CatalogError) -> UploadGrant? {
        try await read { database in
            try database.row(Self.grantQuery, [node.blob, pack.blob, generation]).map(Self.uploadGrant)
        }
    }

    /// Records a pack that was put under a grant, which ends with it.
    ///
    /// - Returns: false where the grant is open no longer: then nothing was recorded.
    package func claim(_ grant: UploadGrant, as pack: NewPack, now: Timestamp) async throws(CatalogError) -> Bool {
        let names = names
        return try await write { database in
            try database.run(
                "DELETE FROM upload_grant WHERE store = ? AND pack = ? AND generation = ? AND NOT is_given_up",
                [grant.store, grant.pack.blob, grant.generation])
            guard database.changesCount > 0 else { return false }
            try Self.add(pack, names, now: now, in: database)
            return true
        }
    }

    /// Gives up what was granted and not claimed: its names are deleted, whether anything was put there or not.
    ///
    /// - Returns: how many grants ended.
    package func giveUpGrants(limit: Int = collectionStep, now: Timestamp) async throws(CatalogError) -> Int {
        let due = try await hasGrants(now: now)
        guard due else { return 0 }
        let names = names
        return try await write { database in
            let unclaimed = try database.rows(
                Self.dueGrantsQuery, [false, (now - Self.grantOutlivesAddress).microseconds, limit])
            for row in unclaimed {
                try Self.discard(row, names, now: now, in: database)
                try database.run(
                    "UPDATE upload_grant SET is_given_up = 1 WHERE number = ?", [row["number"] as Int64])
            }
            let late = try database.rows(
                Self.dueGrantsQuery, [true, (now - Self.lastLookAtGrant).microseconds, limit])
            for row in late {
                try Self.discard(row, names, now: now, in: database)
                try database.run("DELETE FROM upload_grant WHERE number = ?", [row["number"] as Int64])
            }
            return unclaimed.count
        }
    }

    private func hasGrants(now: Timestamp) async throws(CatalogError) -> Bool {
        try await read { database in
            try database.row(
                Self.dueGrantsQuery, [false, (now - Self.grantOutlivesAddress).microseconds, 1]) != nil
                || database.row(Self.dueGrantsQuery, [true, (now - Self.lastLookAtGrant).microseconds, 1]) != nil
        }
    }

    private static func discard(
        _ row: Row, _ names: ObjectNames, now: Timestamp, in database: GRDB.Database
    ) throws {
        let grant = try uploadGrant(row)
        // Never what counts as a copy, whatever befell the row of its grant.
        guard
            try database.row(grantedCopyQuery, [grant.pack.blob, grant.store, grant.generation]) == nil
        else { return }
        try discard(
            try names.name(ofPack: grant.pack, grant.generation), in: grant.store, byteCount: grant.sizeBytes,
            notBefore: now, reason: "not claimed", database)
    }

    private static func uploadGrant(_ row: Row) throws -> UploadGrant {
        UploadGrant(
            node: try row.identifier("node"), scope: try row.identifier("scope"), pack: try row.digest("pack"),
            sizeBytes: row["size_bytes"], store: row["store"], generation: row["generation"],
            expiresAt: row.time("expires_at"))
    }

    // MARK: - What the first reading found

    /// Puts the chunks that a pack really has in the place of those that its directory told of.
    ///
    /// - Parameter chunks: extent chunks whose bytes were hashed; none where something was wrong.
    package func prove(_ pack: Int64, chunks: [ChunkPlace]) async throws(CatalogError) {
        try await write { database in
            guard try database.row("SELECT 1 FROM pack WHERE number = ? AND NOT is_swept", [pack]) != nil else {
                return
            }
            // What is wrong with one copy says nothing of another that was read.
            guard try !chunks.isEmpty || database.row(Self.provenCopyQuery, [pack]) == nil else { return }
            try database.run("DELETE FROM chunk WHERE pack = ?", [pack])
            for chunk in chunks {
                try database.run(
                    "INSERT INTO chunk(id, pack, offset, length) VALUES (?, ?, ?, ?)",
                    [chunk.id.blob, pack, chunk.offset, chunk.length])
            }
        }
    }

    // MARK: - Statements

    static let openGrantsQuery = """
        SELECT count(*) FROM (SELECT 1 FROM upload_grant INDEXED BY upload_grant_open
            WHERE node = ? AND NOT is_given_up LIMIT ?)
        """
    static let grantQuery = """
        SELECT * FROM upload_grant INDEXED BY upload_grant_open
        WHERE node = ? AND NOT is_given_up AND pack = ? AND generation = ?
        """
    static let dueGrantsQuery = """
        SELECT * FROM upload_grant INDEXED BY upload_grant_by_end
        WHERE is_given_up = ? AND expires_at <= ? ORDER BY expires_at LIMIT ?
        """
    private static let provenCopyQuery = """
        SELECT 1 FROM pack_replica WHERE pack = ? AND state = 'present' AND hashed_at > 0
        """
    static let grantedCopyQuery = """
        SELECT 1 FROM pack p JOIN pack_replica r ON r.pack = p.number
        WHERE p.id = ? AND r.store = ? AND r.generation = ?
        """
}
