import Foundation
import GRDB
package import MusterModel

/// The commit of a snapshot: one transaction, and the only way a lineage moves.
extension Catalog {
    package struct Head: Hashable, Sendable {
        package let lineage: LineageID
        package let sequence: UInt64
        package let snapshot: SnapshotID
        package let manifestHash: ManifestHash
    }

    /// Everything that a commit writes; the ids come from a manifest whose signature was checked.
    package struct Commit: Sendable {
        package var snapshot: SnapshotID
        package var node: NodeID
        package var scope: ScopeID
        package var database: DatabaseID
        package var databaseName: String
        package var lineage: LineageID
        package var sequence: UInt64
        package var parent: SnapshotID?
        package var parentManifest: ManifestHash?
        /// What the lineage forked from, as text for people; "" otherwise.
        package var forkedFrom = ""
        package var manifestHash: ManifestHash
        package var manifestBytes: Int
        package var createdAt: Timestamp
        package var receivedAt: Timestamp
        package var sizeBytes: Int64
        package var contentRoot: ContentRoot
        package var pageSize: Int
        package var pageCount: Int64
        package var method: String
        package var labels: [String: String] = [:]
        /// All packs that the snapshot needs.
        package var packs: [PackID] = []
        /// The exact bytes that every commit of this manifest is answered with.
        package var receipt: [UInt8] = []
        /// Where the manifest is, and under which generation its receipt will be.
        package var places: [(store: Int64, generation: String, receiptGeneration: String)] = []

        package init(
            snapshot: SnapshotID, node: NodeID, scope: ScopeID, database: DatabaseID, databaseName: String,
            lineage: LineageID, sequence: UInt64, manifestHash: ManifestHash, manifestBytes: Int, createdAt: Timestamp,
            receivedAt: Timestamp, sizeBytes: Int64, contentRoot: ContentRoot, pageSize: Int, pageCount: Int64,
            method: String
        ) {
            (self.snapshot, self.node, self.scope) = (snapshot, node, scope)
            (self.database, self.databaseName) = (database, databaseName)
            (self.lineage, self.sequence) = (lineage, sequence)
            (self.manifestHash, self.manifestBytes) = (manifestHash, manifestBytes)
            (self.createdAt, self.receivedAt) = (createdAt, receivedAt)
            (self.sizeBytes, self.contentRoot) = (sizeBytes, contentRoot)
            (self.pageSize, self.pageCount, self.method) = (pageSize, pageCount, method)
        }
    }

    package enum CommitOutcome: Hashable, Sendable {
        case committed
        /// This manifest was committed before, with this receipt.
        case repeated(receipt: [UInt8], isStored: Bool)
        /// The lineage stands elsewhere; nil where it does not exist.
        case stale(head: Head?)
        case packsMissing([PackID])
        /// The database or lineage belongs to somebody else, or the snapshot id is taken.
        case notOwned
    }

    /// What a commit would be answered without a change: a cheap refusal before anything is stored.
    package func preview(_ commit: Commit) async throws(CatalogError) -> CommitOutcome {
        try await read { try Self.check(commit, in: $0).outcome }
    }

    /// Commits the snapshot if the lineage's head is its parent.
    package func commit(_ commit: Commit) async throws(CatalogError) -> CommitOutcome {
        let labels = Result { try LabelText.encode(commit.labels) }
        return try await write { database in
            let (outcome, packs) = try Self.check(commit, in: database)
            guard outcome == .committed else { return outcome }
            guard try Self.claim(commit.database, named: commit.databaseName, by: commit.node, in: database) else {
                return .notOwned
            }
            if commit.sequence == 0 { try Self.checkCount(of: commit.node, in: database) }
            let added = try Self.bytesAdded(by: packs, in: database) + Int64(commit.manifestBytes)
            let number = try Self.insertSnapshot(commit, added, labels: try labels.get(), into: database)
            try Self.insertPlaces(commit, number, into: database)
            try Self.moveHead(commit, in: database)
            try Self.refer(to: packs, from: commit, in: database)
            try Self.count(commit, added, in: database)
            if !commit.forkedFrom.isEmpty { try Self.raiseFork(commit, in: database) }
            return .committed
        }
    }

    package func head(of lineage: LineageID) async throws(CatalogError) -> Head? {
        try await read { try Self.head(of: lineage, in: $0) }
    }

    private static func check(
        _ commit: Commit, in database: GRDB.Database
    ) throws -> (outcome: CommitOutcome, packs: [Int64]) {
        if let row = try Row.fetchOne(
            database,
            sql: """
                SELECT r.bytes, r.stored FROM snapshot s JOIN receipt r ON r.snapshot = s.number
                WHERE s.manifest_hash = ?
                """, arguments: [commit.manifestHash.blob])
        {
            return (.repeated(receipt: row.byteArray("bytes"), isStored: row["stored"]), [])
        }
        guard try isOwned(commit, in: database) else { return (.notOwned, []) }
        let head = try head(of: commit.lineage, in: database)
        let follows =
            if let head {
                commit.sequence == head.sequence + 1 && commit.parentManifest == head.manifestHash
                    && commit.parent == head.snapshot
            } else {
                commit.sequence == 0 && commit.parentManifest == nil && commit.parent == nil
            }
        guard follows else { return (.stale(head: head), []) }
        var packs: [Int64] = []
        var missing: [PackID] = []
        for id in commit.packs {
            if let number = try presentPack(id, commit.scope, in: database) {
                packs.append(number)
            } else {
                missing.append(id)
            }
        }
        return missing.isEmpty ? (.committed, packs) : (.packsMissing(missing), [])
    }

    private static func isOwned(_ commit: Commit, in database: GRDB.Database) throws -> Bool {
        let scope = try Data.fetchOne(
            database, sql: "SELECT scope FROM node WHERE id = ?", arguments: [commit.node.blob])
        let owner = try Data.fetchOne(
            database, sql: "SELECT node FROM database WHERE id = ?", arguments: [commit.database.blob])
        let lineageOf = try Data.fetchOne(
            database, sql: "SELECT database FROM lineage WHERE id = ?", arguments: [commit.lineage.blob])
        let taken = try Row.fetchOne(
            database, sql: "SELECT 1 FROM snapshot WHERE id = ?", arguments: [commit.snapshot.blob])
        return scope == commit.scope.blob && (owner == nil || owner == commit.node.blob)
            && (lineageOf == nil || lineageOf == commit.database.blob) && taken == nil
    }

    private static func head(of lineage: LineageID, in database: GRDB.Database) throws -> Head? {
        let row = try Row.fetchOne(database, sql: "SELECT * FROM lineage WHERE id = ?", arguments: [lineage.blob])
        guard let row else { return nil }
        let sequence: Int64 = row["head_sequence"]
        return Head(
            lineage: lineage, sequence: UInt64(sequence), snapshot: try row.identifier("head_snapshot"),
            manifestHash: try row.digest("head_manifest"))
    }

    /// Bytes of the packs that no commit named before: what this snapshot costs, as we count it and not the node.
    private static func bytesAdded(by packs: [Int64], in database: GRDB.Database) throws -> Int64 {
        let statement = try database.cachedStatement(
            sql: "SELECT size_bytes FROM pack WHERE number = ? AND committed = 0")
        return try packs.reduce(0) { sum, pack in
            sum + (try Int64.fetchOne(statement, arguments: [pack]) ?? 0)
        }
    }

    private static func insertSnapshot(
        _ commit: Commit, _ bytesAdded: Int64, labels: String, into database: GRDB.Database
    ) throws -> Int64 {
        try database.execute(
            sql: """
                INSERT INTO snapshot(id, node, database, lineage, sequence, parent, manifest_hash, manifest_bytes,
                    created_at, received_at, size_bytes, stored_bytes, content_root, page_size, page_count,
                    pack_count, method, labels)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                commit.snapshot.blob, commit.node.blob, commit.database.blob, commit.lineage.blob,
                Int64(commit.sequence), commit.parent?.blob, commit.manifestHash.blob, commit.manifestBytes,
                commit.createdAt.microseconds, commit.receivedAt.microseconds, commit.sizeBytes, bytesAdded,
                commit.contentRoot.blob, commit.pageSize, commit.pageCount, commit.packs.count, commit.method, labels,
            ])
        let number = database.lastInsertedRowID
        for (key, value) in commit.labels {
            try database.execute(sql: "INSERT INTO label VALUES (?, ?, ?)", arguments: [key, value, number])
        }
        return number
    }

    private static func insertPlaces(_ commit: Commit, _ number: Int64, into database: GRDB.Database) throws {
        try database.execute(
            sql: "INSERT INTO receipt(snapshot, bytes, stored) VALUES (?, ?, 0)",
            arguments: [number, Data(commit.receipt)])
        for place in commit.places {
            try database.execute(
                sql: """
                    INSERT INTO manifest_replica(snapshot, store, generation, receipt_generation, state)
                    VALUES (?, ?, ?, ?, 'present')
                    """,
                arguments: [number, place.store, place.generation, place.receiptGeneration])
        }
    }

    private static func moveHead(_ commit: Commit, in database: GRDB.Database) throws {
        try database.execute(
            sql: """
                INSERT INTO lineage(id, database, head_sequence, head_snapshot, head_manifest, forked_from, started_at)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT(id) DO UPDATE SET head_sequence = excluded.head_sequence,
                    head_snapshot = excluded.head_snapshot, head_manifest = excluded.head_manifest
                """,
            arguments: [
                commit.lineage.blob, commit.database.blob, Int64(commit.sequence), commit.snapshot.blob,
                commit.manifestHash.blob, commit.forkedFrom, commit.receivedAt.microseconds,
            ])
    }

    /// Ends the references of packs that this snapshot no longer needs and begins those it is the first to need.
    private static func refer(to packs: [Int64], from commit: Commit, in database: GRDB.Database) throws {
        let sequence = Int64(commit.sequence)
        let live = Set(
            try Int64.fetchAll(
                database, sql: "SELECT pack FROM pack_reference WHERE lineage = ? AND died IS NULL",
                arguments: [commit.lineage.blob]))
        let needed = Set(packs)
        for pack in live.subtracting(needed) {
            try database.execute(
                sql: "UPDATE pack_reference SET died = ? WHERE lineage = ? AND pack = ? AND died IS NULL",
                arguments: [sequence, commit.lineage.blob, pack])
        }
        for pack in needed.subtracting(live) {
            try database.execute(
                sql: "INSERT INTO pack_reference(lineage, pack, born) VALUES (?, ?, ?)",
                arguments: [commit.lineage.blob, pack, sequence])
            try database.execute(
                sql: "UPDATE pack SET committed = 1 WHERE number = ? AND committed = 0", arguments: [pack])
        }
    }

    private static func count(_ commit: Commit, _ bytesAdded: Int64, in database: GRDB.Database) throws {
        try database.execute(
            sql: """
                UPDATE database SET name = ?, snapshot_count = snapshot_count + 1, lineage_count = lineage_count + ?,
                    stored_bytes = stored_bytes + ?, size_bytes = ?, newest_snapshot = ?, newest_received_at = ?,
                    changed = 0
                WHERE id = ?
                """,
            arguments: [
                commit.databaseName, commit.sequence == 0 ? 1 : 0, bytesAdded, commit.sizeBytes,
                commit.snapshot.blob, commit.receivedAt.microseconds, commit.database.blob,
            ])
    }

    private static func raiseFork(_ commit: Commit, in database: GRDB.Database) throws {
        try raise(
            Alarm(
                kind: "fork", node: commit.node, database: commit.database,
                summary: "database '\(commit.databaseName)' has two histories: a lineage forked from "
                    + commit.forkedFrom,
                hint: "Look for a second agent with this node's keys (a cloned machine); both histories are kept.",
                since: commit.receivedAt),
            in: database)
    }
}
