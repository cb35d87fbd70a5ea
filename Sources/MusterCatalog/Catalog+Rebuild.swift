import Foundation
import GRDB
package import MusterModel

/// Putting back what the stores say, after the catalog was lost.
///
/// Nothing is refused here that the coordinator once acknowledged: what a receipt names is a snapshot, even where a
/// pack of it is nowhere any more. Such a pack counts as wanting, as it would have in the catalog that was lost.
extension Catalog {
    /// A snapshot whose receipt and manifest were verified.
    package struct Restored: Sendable {
        /// `places` are the stores that hold its manifest.
        package var commit: Commit
        /// Those of them that lack its receipt: it is written there again.
        package var withoutReceipt: [Int64]
        /// What began to be needed with this snapshot, and where it is: as many replicas as were found, or none.
        package var packs: [NewPack]
        /// All packs that the snapshot needs; nil where the snapshot before it in its lineage was put back too.
        package var live: [PackID]?
        /// How far it is from a full manifest.
        package var baseSteps: Int64

        package init(
            commit: Commit, withoutReceipt: [Int64], packs: [NewPack], live: [PackID]?, baseSteps: Int64
        ) {
            (self.commit, self.withoutReceipt, self.packs) = (commit, withoutReceipt, packs)
            (self.live, self.baseSteps) = (live, baseSteps)
        }
    }

    /// Puts snapshots back, in the order of their receipts and in one transaction.
    ///
    /// - Throws: `CatalogError.damaged` where `live` is nil and the snapshot before is not there.
    package func restore(_ snapshots: [Restored]) async throws(CatalogError) {
        let names = names
        try await write { database in
            for snapshot in snapshots { try Self.restore(snapshot, names, in: database) }
        }
    }

    /// Puts back a node that wrote a key record.
    package func restore(_ node: Node) async throws(CatalogError) {
        try await write { database in
            try database.run(
                """
                INSERT INTO node(id, name, scope, signing_key, key_object, state, ended_at, joined_at, agent_version)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
                [
                    node.id.blob, node.name, node.scope.blob, Data(node.signingKey), node.keyObject,
                    node.state.rawValue, node.endedAt?.microseconds, node.joinedAt.microseconds, node.agentVersion,
                ])
        }
    }

    /// Puts back a certificate, with what is known of its end.
    package func restore(_ certificate: Certificate, revokedAt: Timestamp?) async throws(CatalogError) {
        try await write { database in
            try database.run(
                "DELETE FROM certificate WHERE fingerprint = ?", [certificate.fingerprint.blob])
            try Self.insert(certificate, into: database)
            if let revokedAt {
                try database.run(
                    "UPDATE certificate SET revoked_at = ? WHERE fingerprint = ?",
                    [revokedAt.microseconds, certificate.fingerprint.blob])
            }
        }
    }

    /// Nothing of these databases is given up before their nodes have said how they are scheduled, or a backup does: without
    /// that, each snapshot of a flood would take one of the places that a policy keeps.
    package func awaitSchedules() async throws(CatalogError) {
        try await write { try $0.run("UPDATE database SET awaits_schedule = 1", []) }
    }

    /// How far that snapshot is from a full manifest; nil where there is none with that manifest.
    package func baseSteps(of snapshot: SnapshotID, manifest: ManifestHash) async throws(CatalogError) -> Int64? {
        try await read { database in
            try database.value(
                "SELECT base_steps FROM snapshot WHERE id = ? AND manifest_hash = ?", [snapshot.blob, manifest.blob])
        }
    }

    /// A committed pack, for reading its directory again.
    package struct PackEntry: Hashable, Sendable {
        package let number: Int64
        package let id: PackID
        package let sizeBytes: Int64
        package let replicas: [PackReplica]
    }

    /// Packs that some store holds, by number.
    package func packs(after number: Int64, limit: Int) async throws(CatalogError) -> [PackEntry] {
        try await read { database in
            try database.rows(
                "SELECT number, id, size_bytes, scope FROM pack WHERE number > ? ORDER BY number LIMIT ?",
                [number, limit]
            ).map { row in
                let id: PackID = try row.digest("id")
                let replicas = try Self.replicas(of: id, in: try row.identifier("scope"), in: database)
                return PackEntry(number: row["number"], id: id, sizeBytes: row["size_bytes"], replicas: replicas)
            }
        }
    }

    /// A snapshot of which packs are in no store.
    package struct Torn: Hashable, Sendable {
        package let snapshot: SnapshotID
        package let packs: Int
    }

    /// Those that are not marked. One that was forgotten is among them where its manifest stays, as others are based on it,
    /// and so its receipt: nothing in a store tells it from one that has lost its packs.
    package func torn(limit: Int) async throws(CatalogError) -> [Torn] {
        try await read { database in
            try database.rows(Self.tornQuery, [limit]).map {
                Torn(snapshot: try $0.identifier("id"), packs: $0["packs"])
            }
        }
    }

    static let tornQuery = """
        SELECT s.id, count(*) AS packs FROM pack p INDEXED BY pack_lost
        CROSS JOIN pack_reference f ON f.pack = p.number
        CROSS JOIN snapshot s ON s.lineage = f.lineage AND s.sequence >= f.born
            AND (f.died IS NULL OR s.sequence < f.died)
        WHERE p.wanting AND p.committed AND s.expired_at IS NULL GROUP BY s.number ORDER BY s.number LIMIT ?
        """

    /// Which chunks lie in packs, for the question what need not be sent again.
    package func add(chunks: [(pack: Int64, chunks: [ChunkPlace])]) async throws(CatalogError) {
        try await write { database in
            for entry in chunks {
                for chunk in entry.chunks {
                    try database.run(
                        "INSERT INTO chunk(id, pack, offset, length) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                        [chunk.id.blob, entry.pack, chunk.offset, chunk.length])
                }
            }
        }
    }

    private static func restore(_ snapshot: Restored, _ names: ObjectNames, in database: GRDB.Database) throws {
        let commit = snapshot.commit
        for pack in snapshot.packs { try add(pack, names, now: commit.receivedAt, in: database) }
        var change = try snapshot.live.map { try gap($0, commit, in: database) } ?? contiguous(commit, in: database)
        change.baseSteps = snapshot.baseSteps
        guard try claim(commit.database, named: commit.databaseName, by: commit.node, in: database) else {
            throw CatalogError.damaged(column: "database.node")
        }
        let isNew = try database.row("SELECT 1 FROM lineage WHERE id = ?", [commit.lineage.blob]) == nil
        let bytesAdded = try bytesAdded(by: change.added, in: database) + Int64(commit.manifestBytes)
        let number = try insertSnapshot(commit, change, bytesAdded, into: database)
        try insertPlaces(commit, number, into: database)
        // One of the copies was read; a scrub reads them all.
        try database.run("UPDATE manifest_replica SET hashed_at = 0 WHERE snapshot = ?", [number])
        try database.run("UPDATE receipt SET stored = 1 WHERE snapshot = ?", [number])
        for store in snapshot.withoutReceipt {
            try database.run(
                "UPDATE manifest_replica SET receipt_state = 'missing' WHERE snapshot = ? AND store = ?",
                [number, store])
            try want(.snapshot, number, in: store, now: commit.receivedAt, database)
        }
        try moveHead(commit, change, in: database)
        try refer(change, from: commit, in: database)
        try count(commit, isFirst: isNew, bytesAdded, in: database)
        for store in commit.places.map(\.store) {
            // What a store with the snapshot before lacks of that was looked at with it.
            var hasParent = false
            if snapshot.live == nil, let parent = commit.parent {
                hasParent = try hasWhole(parent, in: store, database)
            }
            try heal(commit.lineage, hasParent ? change.added : nil, in: store, now: commit.receivedAt, database)
        }
        if !commit.forkedFrom.isEmpty, isNew { try raiseFork(commit, in: database) }
    }

    private static func contiguous(_ commit: Commit, in database: GRDB.Database) throws -> LineageChange {
        let standing = try CommitCheck.head(of: commit.lineage, in: database)
        guard standing?.head.manifestHash == commit.parentManifest else {
            throw CatalogError.damaged(column: "lineage.head_manifest")
        }
        var change = LineageChange()
        change.added = try commit.packsSinceParent.added.map { try number(of: $0, commit.scope, in: database) }
        change.dropped = try commit.packsSinceParent.dropped.map { try number(of: $0, commit.scope, in: database) }
        change.liveCount =
            (standing?.livePacks ?? 0) + Int64(change.added.count) - Int64(change.dropped.count)
        return change
    }

    /// Where the snapshot before is missing, the change is what the references of the lineage lack.
    private static func gap(
        _ live: [PackID], _ commit: Commit, in database: GRDB.Database
    ) throws -> LineageChange {
        let wanted = Set(try live.map { try number(of: $0, commit.scope, in: database) })
        let standing: [Int64] = try database.rows(
            "SELECT pack FROM pack_reference WHERE lineage = ? AND died IS NULL", [commit.lineage.blob]
        ).map { $0["pack"] }
        var change = LineageChange()
        change.added = wanted.subtracting(standing).sorted()
        change.dropped = Set(standing).subtracting(wanted).sorted()
        change.liveCount = Int64(wanted.count)
        return change
    }

    /// The pack's number. One that no store was found to hold gets a row too: it is wanting.
    private static func number(of id: PackID, _ scope: ScopeID, in database: GRDB.Database) throws -> Int64 {
        let number: Int64? = try database.value(
            "SELECT number FROM pack WHERE id = ? AND scope = ?", [id.blob, scope.blob])
        guard let number else { throw CatalogError.damaged(column: "pack.id") }
        return number
    }

    /// A store that has the manifest and lacks a pack is to get it: nobody else would look.
    ///
    /// - Parameter packs: that may be lacking; nil for all that the lineage needs now.
    private static func heal(
        _ lineage: LineageID, _ packs: [Int64]?, in store: Int64, now: Timestamp, _ database: GRDB.Database
    ) throws {
        let lacking =
            try packs?.filter { pack in
                try database.row("SELECT 1 FROM pack_replica WHERE pack = ? AND store = ?", [pack, store]) == nil
            } ?? database.rows(lackingLiveQuery, [lineage.blob, store]).map { $0["number"] as Int64 }
        for pack in lacking { try want(.pack, pack, in: store, now: now, database) }
    }
}
