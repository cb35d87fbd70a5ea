import Foundation
import GRDB
import MusterModel

/// What a commit that fits changes in its lineage.
struct LineageChange {
    /// Packs by their numbers.
    var added: [Int64] = []
    var dropped: [Int64] = []
    /// Packs that the snapshot needs.
    var liveCount: Int64 = 0
    /// How many manifests a reader needs besides this one.
    var baseSteps: Int64 = 0
}

/// Whether a commit fits what the catalog knows. Reads only.
struct CommitCheck {
    enum Answer {
        case fits(LineageChange)
        case refused(Catalog.CommitOutcome)
    }

    /// Readers go this many steps from base to base (`ManifestChain.maximumLength`): a longer chain is no backup.
    static let longestChain: Int64 = 63
    /// The most missing packs that one answer names.
    private static let namedPacks = 10_000
    /// Of a pack that is about to come: nothing is written with it.
    private static let unnumbered: Int64 = 0

    struct StandingHead {
        let head: Catalog.Head
        let livePacks: Int64
    }

    private struct StandingBase {
        let sequence: Int64
        let packCount: Int64
        let steps: Int64
    }

    private struct KnownPack {
        let number: Int64
        let isWanting: Bool
    }

    private let commit: Catalog.Commit
    private let database: GRDB.Database
    private let lineage: Data
    private let scope: Data
    private let addedSinceParent: Set<PackID>
    private let droppedSinceParent: Set<PackID>
    /// Packs that are about to come, so that they are not missing.
    private let incoming: Set<PackID>

    init(_ commit: Catalog.Commit, incoming: Set<PackID> = [], in database: GRDB.Database) {
        (self.commit, self.incoming, self.database) = (commit, incoming, database)
        (lineage, scope) = (commit.lineage.blob, commit.scope.blob)
        addedSinceParent = Set(commit.packsSinceParent.added)
        droppedSinceParent = Set(commit.packsSinceParent.dropped)
    }

    func run() throws -> Answer {
        if let receipt = try database.row(Self.receiptQuery, [commit.manifestHash.blob]) {
            return .refused(.repeated(receipt: receipt.byteArray("bytes"), isStored: receipt["stored"]))
        }
        guard try isActive() else { return .refused(.nodeEnded) }
        guard try isOwned() else { return .refused(.notOwned) }
        try checkCount()
        let standing = try Self.head(of: commit.lineage, in: database)
        guard follows(standing?.head) else { return .refused(.stale(head: standing?.head)) }
        var change = LineageChange()
        if let refusal = try checkChanges(&change, liveBefore: standing?.livePacks ?? 0) { return .refused(refusal) }
        let refusal = if let base = commit.base { try checkDelta(base, &change) } else { try checkFull(change) }
        if let refusal { return .refused(refusal) }
        return .fits(change)
    }

    static func head(of lineage: LineageID, in database: GRDB.Database) throws -> StandingHead? {
        guard let row = try database.row("SELECT * FROM lineage WHERE id = ?", [lineage.blob]) else { return nil }
        let sequence: Int64 = row["head_sequence"]
        return StandingHead(
            head: Catalog.Head(
                lineage: lineage, sequence: UInt64(sequence), snapshot: try row.identifier("head_snapshot"),
                manifestHash: try row.digest("head_manifest")),
            livePacks: row["live_packs"])
    }

    private func isActive() throws -> Bool {
        try database.value("SELECT state <> 'active' FROM node WHERE id = ?", [commit.node.blob]) != true
    }

    private func isOwned() throws -> Bool {
        let nodeScope: Data? = try database.value("SELECT scope FROM node WHERE id = ?", [commit.node.blob])
        let owner: Data? = try database.value("SELECT node FROM database WHERE id = ?", [commit.database.blob])
        let lineageOf: Data? = try database.value("SELECT database FROM lineage WHERE id = ?", [lineage])
        let taken = try database.row("SELECT 1 FROM snapshot WHERE id = ?", [commit.snapshot.blob])
        return nodeScope == scope && (owner == nil || owner == commit.node.blob)
            && (lineageOf == nil || lineageOf == commit.database.blob) && taken == nil
    }

    /// Before anything is stored: a new database must have a place among those of its node.
    private func checkCount() throws {
        guard try database.row("SELECT 1 FROM database WHERE id = ?", [commit.database.blob]) == nil else { return }
        let count: Int? = try database.value("SELECT count(*) FROM database WHERE node = ?", [commit.node.blob])
        guard count ?? 0 < Catalog.maximumDatabases else {
            throw CatalogError.tooManyDatabases(limit: Catalog.maximumDatabases)
        }
    }

    private func follows(_ head: Catalog.Head?) -> Bool {
        guard let head else { return commit.sequence == 0 && commit.parentManifest == nil && commit.parent == nil }
        return commit.sequence == head.sequence + 1 && commit.parentManifest == head.manifestHash
            && commit.parent == head.snapshot
    }

    // MARK: - Since the parent

    private func checkChanges(_ change: inout LineageChange, liveBefore: Int64) throws -> Catalog.CommitOutcome? {
        var missing = try wantingPacks()
        for id in commit.packsSinceParent.added {
            let pack = try pack(id)
            if let pack, try isLive(pack.number) {
                return .inconsistent("pack \(id) is added and was needed before")
            }
            if let pack, !pack.isWanting || incoming.contains(id) {
                change.added.append(pack.number)
            } else if incoming.contains(id) {
                change.added.append(Self.unnumbered)
            } else {
                missing.insert(id)
                guard missing.count < Self.namedPacks else { break }
            }
        }
        guard missing.isEmpty else { return .packsMissing(missing.sorted()) }
        for id in commit.packsSinceParent.dropped {
            guard let pack = try pack(id), try isLive(pack.number) else {
                return .inconsistent("pack \(id) is dropped and was not needed before")
            }
            change.dropped.append(pack.number)
        }
        change.liveCount = liveBefore + Int64(change.added.count) - Int64(change.dropped.count)
        return nil
    }

    /// Packs that the snapshot needs from earlier on and of which every copy was lost since: a receipt would be a lie.
    private func wantingPacks() throws -> Set<PackID> {
        let wanting: [PackID] = try database.rows(Self.wantingQuery, [scope, lineage, Self.namedPacks])
            .map { try $0.digest("id") }
        return Set(wanting).subtracting(droppedSinceParent).subtracting(incoming)
    }

    // MARK: - Against the base

    /// The list of a full manifest is what the history comes to: equal in number, and each of them live.
    private func checkFull(_ change: LineageChange) throws -> Catalog.CommitOutcome? {
        guard commit.packs.dropped.isEmpty else { return .inconsistent("a full manifest drops packs") }
        guard Int64(commit.packs.added.count) == change.liveCount else {
            return .inconsistent(
                "it lists \(commit.packs.added.count) packs where its history comes to \(change.liveCount)")
        }
        for id in commit.packs.added {
            guard try isLiveAfter(id) else { return .inconsistent("its history does not come to pack \(id)") }
        }
        return nil
    }

    /// The lists of a delta are the difference between what the base needs and what this snapshot does.
    ///
    /// That each pack listed belongs there is looked up; that none is left out of `added` is seen from the
    /// packs that came since and stayed, and of `dropped` from the number of packs then and now.
    private func checkDelta(
        _ reference: Catalog.Base, _ change: inout LineageChange
    ) throws -> Catalog.CommitOutcome? {
        guard let base = try standingBase(reference) else {
            return .inconsistent("its base is not an earlier snapshot of its lineage with that manifest")
        }
        change.baseSteps = base.steps + 1
        guard change.baseSteps <= Self.longestChain else { return .inconsistent("its chain of bases is too long") }
        if let lost = try database.row(Self.lostBaseQuery, [reference.snapshot.blob]) {
            return .baseMissing(try lost.identifier("id"))
        }
        for id in commit.packs.added {
            guard try isLiveAfter(id), try !wasLive(id, at: base.sequence) else {
                return .inconsistent("pack \(id) did not come since the base")
            }
        }
        for id in commit.packs.dropped {
            guard try wasLive(id, at: base.sequence), try !isLiveAfter(id) else {
                return .inconsistent("pack \(id) did not go since the base")
            }
        }
        let listed = Set(commit.packs.added)
        for id in try newcomers(since: base.sequence) where !listed.contains(id) {
            guard try wasLive(id, at: base.sequence) else {
                return .inconsistent("it leaves out pack \(id), which came since the base")
            }
        }
        let expected = base.packCount + Int64(commit.packs.added.count) - Int64(commit.packs.dropped.count)
        guard expected == change.liveCount else {
            return .inconsistent("it leaves out packs that went since the base")
        }
        return nil
    }

    private func standingBase(_ base: Catalog.Base) throws -> StandingBase? {
        let row = try database.row(
            "SELECT lineage, sequence, manifest_hash, pack_count, base_steps FROM snapshot WHERE id = ?",
            [base.snapshot.blob])
        guard let row, row["lineage"] == lineage, row["manifest_hash"] == base.manifestHash.blob else { return nil }
        return StandingBase(sequence: row["sequence"], packCount: row["pack_count"], steps: row["base_steps"])
    }

    /// Packs that began to be needed after `sequence` and are needed still.
    private func newcomers(since sequence: Int64) throws -> Set<PackID> {
        let living: [PackID] = try database.rows(Self.newcomersQuery, [lineage, sequence])
            .map { try $0.digest("id") }
        return Set(living).subtracting(droppedSinceParent).union(addedSinceParent)
    }

    // MARK: - One pack

    private func pack(_ id: PackID) throws -> KnownPack? {
        // What gc has condemned counts as a pack of which there is no copy.
        try database.row(
            "SELECT number, wanting OR condemned_at IS NOT NULL AS wanting FROM pack WHERE id = ? AND scope = ?",
            [id.blob, scope]
        ).map { KnownPack(number: $0["number"], isWanting: $0["wanting"]) }
    }

    private func isLive(_ pack: Int64) throws -> Bool {
        try database.row(
            "SELECT 1 FROM pack_reference WHERE lineage = ? AND pack = ? AND died IS NULL", [lineage, pack]) != nil
    }

    private func isLiveAfter(_ id: PackID) throws -> Bool {
        if addedSinceParent.contains(id) { return true }
        guard !droppedSinceParent.contains(id), let pack = try pack(id) else { return false }
        return try isLive(pack.number)
    }

    private func wasLive(_ id: PackID, at sequence: Int64) throws -> Bool {
        guard let pack = try pack(id) else { return false }
        return try database.row(
            """
            SELECT 1 FROM pack_reference
            WHERE lineage = ?1 AND pack = ?2 AND born <= ?3 AND (died IS NULL OR died > ?3)
            """, [lineage, pack.number, sequence]) != nil
    }

    // MARK: - Statements

    static let receiptQuery = """
        SELECT r.bytes, r.stored FROM snapshot s JOIN receipt r ON r.snapshot = s.number WHERE s.manifest_hash = ?
        """
    static let wantingQuery = """
        SELECT p.id FROM pack p JOIN pack_reference f ON f.pack = p.number AND f.lineage = ?2 AND f.died IS NULL
        WHERE p.scope = ?1 AND p.wanting LIMIT ?3
        """
    static let newcomersQuery = """
        SELECT p.id FROM pack_reference f JOIN pack p ON p.number = f.pack
        WHERE f.lineage = ? AND f.died IS NULL AND f.born > ?
        """
    static let lostBaseQuery = """
        WITH RECURSIVE chain(number, id, base) AS (
            SELECT number, id, base FROM snapshot WHERE id = ?
            UNION ALL SELECT s.number, s.id, s.base FROM chain c JOIN snapshot s ON s.id = c.base)
        SELECT c.id FROM chain c WHERE NOT EXISTS
            (SELECT 1 FROM manifest_replica r WHERE r.snapshot = c.number AND r.state = 'present')
        LIMIT 1
        """
}
