import Foundation
import GRDB
package import MusterModel

/// The commit of a snapshot: one transaction, and the only way a lineage moves.
///
/// It costs what changed since the parent, not what the snapshot needs: the packs in
/// `packsSinceParent` are looked up one by one, and everything else is a count or is found by an
/// index. Only a full manifest, which lists all packs, is compared with all of them.
extension Catalog {
    package struct Head: Hashable, Sendable {
        package let lineage: LineageID
        package let sequence: UInt64
        package let snapshot: SnapshotID
        package let manifestHash: ManifestHash
    }

    /// Packs that came and went against an earlier state.
    package struct PackChanges: Hashable, Sendable {
        package var added: [PackID]
        package var dropped: [PackID]

        package init(added: [PackID] = [], dropped: [PackID] = []) { (self.added, self.dropped) = (added, dropped) }
    }

    package struct Base: Hashable, Sendable {
        package var snapshot: SnapshotID
        package var manifestHash: ManifestHash

        package init(snapshot: SnapshotID, manifestHash: ManifestHash) {
            (self.snapshot, self.manifestHash) = (snapshot, manifestHash)
        }
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
        /// What the manifest's map is a change of; nil where it is full.
        package var base: Base?
        /// What the lineage forked from, as text for people; "" otherwise.
        package var forkedFrom = ""
        package var manifestHash: ManifestHash
        package var manifestBytes: Int
        /// Begin and end of the capture by the node's clock.
        package var begunAt: Timestamp
        package var createdAt: Timestamp
        package var receivedAt: Timestamp
        package var sizeBytes: Int64
        /// Of a whole extent; 0 where that does not matter.
        package var extentBytes: Int64 = 0
        package var contentRoot: ContentRoot
        package var pageSize: Int
        package var pageCount: Int64
        package var method: String
        package var labels: [String: String] = [:]
        /// Against the base; without one, all packs that the snapshot needs.
        package var packs = PackChanges()
        package var packsSinceParent = PackChanges()
        /// The exact bytes that every commit of this manifest is answered with.
        package var receipt: [UInt8] = []
        /// Where the manifest is, and under which generation its receipt will be.
        package var places: [(store: Int64, generation: String, receiptGeneration: String)] = []
        /// Stores that are to have a replica besides these.
        package var wantedIn: [Int64] = []

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
            (self.begunAt, self.createdAt, self.receivedAt) = (createdAt, createdAt, receivedAt)
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
        /// Packs that the snapshot needs and of which no store has a good copy.
        case packsMissing([PackID])
        /// A manifest of the base chain of which no store has a good copy.
        case baseMissing(SnapshotID)
        /// The manifest's base or its lists of packs are not what its lineage's history says.
        case inconsistent(String)
        /// The database or lineage belongs to somebody else, or the snapshot id is taken.
        case notOwned
        /// The node was retired or revoked meanwhile.
        case nodeEnded
        /// A store that was to acknowledge it does not hold all of it any more.
        case storeLacks(store: Int64)
    }

    package struct Preview: Sendable {
        package let outcome: CommitOutcome
        /// Of the packs that come with the commit: replicas that are known already.
        package let held: [PackReplica]
    }

    /// What a commit would be answered without a change: a cheap refusal before anything is stored.
    ///
    /// - Parameter incoming: packs that come with the commit, and so need not be there yet.
    package func preview(_ commit: Commit, incoming: [PackID] = []) async throws(CatalogError) -> Preview {
        try await read { database in
            let held = try incoming.flatMap { try Self.replicas(of: $0, in: commit.scope, in: database) }
            let outcome =
                switch try CommitCheck(commit, incoming: Set(incoming), in: database).run() {
                case .refused(let outcome): outcome
                case .fits: CommitOutcome.committed
                }
            return Preview(outcome: outcome, held: held)
        }
    }

    /// Commits the snapshot if the lineage's head is its parent.
    ///
    /// - Parameter packs: durable packs that came with it; they are registered whatever becomes of the commit.
    package func commit(_ commit: Commit, packs: [NewPack] = []) async throws(CatalogError) -> CommitOutcome {
        let names = names
        return try await write { database in
            for pack in packs { try Self.add(pack, names, now: commit.receivedAt, in: database) }
            return try Self.commit(commit, in: database)
        }
    }

    package func head(of lineage: LineageID) async throws(CatalogError) -> Head? {
        try await read { try CommitCheck.head(of: lineage, in: $0)?.head }
    }

    private static func commit(_ commit: Commit, in database: GRDB.Database) throws -> CommitOutcome {
        let change: LineageChange
        switch try CommitCheck(commit, in: database).run() {
        case .refused(let outcome): return outcome
        case .fits(let fitting): change = fitting
        }
        // Replicas may have been given up since the stores were chosen.
        for place in commit.places {
            let standing = try standing(of: commit, incoming: [], in: place.store, database)
            guard try isTaking(place.store, database), standing.hasBase, standing.hasKeys, standing.lacking.isEmpty
            else {
                return .storeLacks(store: place.store)
            }
        }
        guard try claim(commit.database, named: commit.databaseName, by: commit.node, in: database) else {
            return .notOwned
        }
        if commit.sequence == 0, commit.forkedFrom.isEmpty { try tellOfReplacement(commit, in: database) }
        let bytesAdded = try bytesAdded(by: change.added, in: database) + Int64(commit.manifestBytes)
        try judge(commit, change.added, bytesAdded, in: database)
        let number = try insertSnapshot(commit, change, bytesAdded, into: database)
        try insertPlaces(commit, number, into: database)
        try moveHead(commit, change, in: database)
        try refer(change, from: commit, in: database)
        try count(commit, isFirst: commit.sequence == 0, bytesAdded, in: database)
        if !commit.forkedFrom.isEmpty { try raiseFork(commit, in: database) }
        return .committed
    }

    /// Bytes of the packs that nothing else needs: what this snapshot costs, as we count it and not the node.
    static func bytesAdded(by packs: [Int64], in database: GRDB.Database) throws -> Int64 {
        try packs.reduce(0) { sum, pack in
            sum
                + (try database.value(
                    "SELECT size_bytes FROM pack WHERE number = ? AND committed = 0", [pack]) ?? 0)
        }
    }

    static func insertSnapshot(
        _ commit: Commit, _ change: LineageChange, _ bytesAdded: Int64, into database: GRDB.Database
    ) throws -> Int64 {
        try database.run(
            """
            INSERT INTO snapshot(id, node, database, lineage, sequence, parent, base, base_steps, manifest_hash,
                manifest_bytes, created_at, received_at, moment, size_bytes, stored_bytes, content_root, page_size, page_count,
                pack_count, method, labels)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                commit.snapshot.blob, commit.node.blob, commit.database.blob, commit.lineage.blob,
                Int64(commit.sequence), commit.parent?.blob, commit.base?.snapshot.blob, change.baseSteps,
                commit.manifestHash.blob, commit.manifestBytes, commit.createdAt.microseconds,
                commit.receivedAt.microseconds, try moment(of: commit, in: database), commit.sizeBytes, bytesAdded,
                commit.contentRoot.blob,
                commit.pageSize, commit.pageCount, change.liveCount, commit.method,
                try LabelText.encode(commit.labels),
            ])
        let number = database.lastInsertedRowID
        for (key, value) in commit.labels {
            try database.run("INSERT INTO label VALUES (?, ?, ?)", [key, value, number])
        }
        return number
    }

    /// A node may say any time: it cannot put a snapshot before or among those that came earlier, nor into the future.
    private static func moment(of commit: Commit, in database: GRDB.Database) throws -> Int64 {
        let before: Int64? = try database.value(
            "SELECT newest_received_at FROM database WHERE id = ?", [commit.database.blob])
        // The first of a database counts from its receipt: a new name for a database must not reach into the past.
        let earliest = before ?? commit.receivedAt.microseconds
        return min(commit.receivedAt.microseconds, max(commit.createdAt.microseconds, earliest))
    }

    static func insertPlaces(_ commit: Commit, _ number: Int64, into database: GRDB.Database) throws {
        try database.run(
            "INSERT INTO receipt(snapshot, bytes, stored) VALUES (?, ?, 0)", [number, Data(commit.receipt)])
        for place in commit.places {
            try database.run(
                """
                INSERT INTO manifest_replica(snapshot, store, generation, receipt_generation, state, receipt_state,
                    hashed_at)
                VALUES (?, ?, ?, ?, 'present', 'present', ?)
                """,
                [number, place.store, place.generation, place.receiptGeneration, commit.receivedAt.microseconds])
        }
        for store in commit.wantedIn { try want(.snapshot, number, in: store, now: commit.receivedAt, database) }
    }

    static func moveHead(_ commit: Commit, _ change: LineageChange, in database: GRDB.Database) throws {
        try database.run(
            """
            INSERT INTO lineage(id, database, head_sequence, head_snapshot, head_manifest, live_packs, forked_from,
                started_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT(id) DO UPDATE SET head_sequence = excluded.head_sequence,
                head_snapshot = excluded.head_snapshot, head_manifest = excluded.head_manifest,
                live_packs = excluded.live_packs
            """,
            [
                commit.lineage.blob, commit.database.blob, Int64(commit.sequence), commit.snapshot.blob,
                commit.manifestHash.blob, change.liveCount, commit.forkedFrom, commit.receivedAt.microseconds,
            ])
    }

    /// Ends the references of packs that this snapshot no longer needs and begins those it is the first to need.
    static func refer(_ change: LineageChange, from commit: Commit, in database: GRDB.Database) throws {
        let sequence = Int64(commit.sequence)
        for pack in change.dropped {
            try database.run(
                "UPDATE pack_reference SET died = ? WHERE lineage = ? AND pack = ? AND died IS NULL",
                [sequence, commit.lineage.blob, pack])
        }
        for pack in change.added {
            try database.run(
                "INSERT INTO pack_reference(lineage, pack, born) VALUES (?, ?, ?)",
                [commit.lineage.blob, pack, sequence])
            try database.run(
                "UPDATE pack SET committed = 1, counted_in = ? WHERE number = ? AND committed = 0",
                [commit.database.blob, pack])
        }
    }

    /// - Parameter isFirst: a lineage begins with it.
    static func count(
        _ commit: Commit, isFirst: Bool, _ bytesAdded: Int64, in database: GRDB.Database
    ) throws {
        try database.run(
            """
            UPDATE database SET name = ?, snapshot_count = snapshot_count + 1, lineage_count = lineage_count + ?,
                stored_bytes = stored_bytes + ?, size_bytes = ?, newest_snapshot = ?, newest_received_at = ?,
                newest_created_at = ?, changed = 0,
                unprotected_since = CASE WHEN unprotected_since > ? THEN unprotected_since END
            WHERE id = ?
            """,
            [
                commit.databaseName, isFirst ? 1 : 0, bytesAdded, commit.sizeBytes,
                commit.snapshot.blob, commit.receivedAt.microseconds, commit.createdAt.microseconds,
                commit.begunAt.microseconds, commit.database.blob,
            ])
    }

    /// A database that has a history begins another one, and no clone is to blame.
    private static func tellOfReplacement(_ commit: Commit, in database: GRDB.Database) throws {
        let lineages = try Int.fetchOne(
            database, sql: "SELECT lineage_count FROM database WHERE id = ?", arguments: [commit.database.blob])
        guard let lineages, lineages > 0 else { return }
        // The newest one counts.
        try database.run(
            "UPDATE alarm SET cleared_at = ? WHERE database = ? AND kind = ? AND cleared_at IS NULL",
            [commit.receivedAt.microseconds, commit.database.blob, AlarmKind.replaced.rawValue])
        try raise(
            Alarm(
                kind: .replaced, node: commit.node, database: commit.database,
                summary: "the file of database '\(commit.databaseName)' was replaced: a new lineage began",
                hint: "If nobody restored or replaced it, find out what did; the snapshots of before are kept.",
                since: commit.receivedAt),
            in: database)
    }

    static func raiseFork(_ commit: Commit, in database: GRDB.Database) throws {
        try raise(
            Alarm(
                kind: .fork, node: commit.node, database: commit.database,
                summary: "database '\(commit.databaseName)' has two histories: a lineage forked from "
                    + commit.forkedFrom,
                hint: "Look for a second agent with this node's keys (a cloned machine); both histories are kept "
                    + "until 'muster alarm clear fork' says that somebody looked.",
                since: commit.receivedAt),
            in: database)
    }
}
