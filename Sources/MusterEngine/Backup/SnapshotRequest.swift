package import MusterFormat
package import MusterModel

/// What a snapshot is to be: whose, of what, and after which.
package struct SnapshotRequest: Sendable {
    package var snapshot: SnapshotID
    package var node: NodeID
    package var database: DatabaseID
    package var databaseName: String
    package var path: String
    package var lineage: LineageID
    package var sequence: UInt64
    /// The previous snapshot of the lineage; nil at sequence 0.
    package var parent: Ancestor?
    /// Packs that the parent needs; nil where the ledger describes the parent and so knows what changed since.
    package var parentPacks: Set<PackID>?
    /// The head that this lineage left, in its first snapshot after a fork.
    package var forkedFrom: ForkOrigin?
    package var labels: [String: String]
    /// Makes no snapshot where every page is found to be as the ledger has it.
    package var skipsUnchanged = false

    package init(
        snapshot: SnapshotID, node: NodeID, database: DatabaseID, databaseName: String, path: String,
        lineage: LineageID, sequence: UInt64, parent: Ancestor?, parentPacks: Set<PackID>?,
        forkedFrom: ForkOrigin?, labels: [String: String]
    ) {
        (self.snapshot, self.node, self.database) = (snapshot, node, database)
        (self.databaseName, self.path, self.lineage) = (databaseName, path, lineage)
        (self.sequence, self.parent, self.parentPacks) = (sequence, parent, parentPacks)
        (self.forkedFrom, self.labels) = (forkedFrom, labels)
    }
}

/// An earlier manifest, by snapshot and hash.
package struct Ancestor: Hashable, Sendable {
    package let snapshot: SnapshotID
    package let manifestHash: ManifestHash

    package init(snapshot: SnapshotID, manifestHash: ManifestHash) {
        (self.snapshot, self.manifestHash) = (snapshot, manifestHash)
    }
}

/// The head of another lineage that a new one comes from.
package struct ForkOrigin: Hashable, Sendable {
    package let lineage: LineageID
    package let head: Ancestor

    package init(lineage: LineageID, head: Ancestor) { (self.lineage, self.head) = (lineage, head) }
}

/// How snapshots are sealed: the node's keys and the bounds of the work.
package struct SealingSettings: Sendable {
    package var keys: ScopeKeys
    package var signingKey: SigningKey
    /// Cores that hash, compress and seal.
    package var lanes: Int
    /// Of zstd, 1 to 19.
    package var compressionLevel = 3
    package var targetPackBytes = Format.targetPackBytes
    /// Packs under way to the coordinator; each may take a target pack's size of memory.
    package static let packsInFlight = 3
    /// A last pack up to this size travels inside the commit.
    package var inlinePackBytes = 256 << 10
    /// Where pushed packs are kept near; nil keeps none.
    package var cache: PackCache?

    package init(keys: ScopeKeys, signingKey: SigningKey, lanes: Int, cache: PackCache? = nil) {
        (self.keys, self.signingKey, self.lanes, self.cache) = (keys, signingKey, max(1, lanes), cache)
    }
}

/// A snapshot whose packs are on the other side; the signed manifest is still to be committed.
package struct PreparedSnapshot: Sendable {
    package let manifest: [UInt8]
    package let manifestHash: ManifestHash
    /// Packs that the manifest names and that travel inside the commit.
    package let inlinePacks: [[UInt8]]
    package let packsSinceParent: PackChanges
    package let geometry: DatabaseGeometry
    /// Device, inode and page size of the source.
    package let identity: String
    /// What the source looked like when the capture began; "" where it proves nothing.
    package let fingerprint: String
    package let capturedAt: Timestamp
    package let figures: SnapshotFigures
    /// The release of SQLite that wrote the source last; 0 where its header does not say.
    package let writerVersion: UInt32
    /// As in the manifest's sealed part, both.
    package let journalMode: String
    package let schemaHash: [UInt8]
    /// nil where writers went on while it was read.
    package let writerWait: WriterWait?
    /// To be settled together with the receipt.
    package let ledger: LedgerChange
}

/// A database that was read and found to be as its newest snapshot has it.
package struct UnchangedSource: Sendable {
    package let fingerprint: String
    package let readAt: Timestamp
    package let cursor: [UInt8]?
}

/// What became of a request.
package enum SnapshotOutcome: Sendable {
    case prepared(PreparedSnapshot)
    case unchanged(UnchangedSource)
}

/// Device, inode or page size are not those of the lineage: another file stands under the name.
package struct SourceReplaced: Error {
    package let before: String
    package let now: String

    package init(before: String, now: String) { (self.before, self.now) = (before, now) }
}

/// What a snapshot cost.
package struct SnapshotFigures: Equatable, Sendable {
    package var chunkCount = 0
    /// Chunks that were already on the other side.
    package var presentChunkCount = 0
    /// Sealed bytes that this snapshot added.
    package var addedBytes: UInt64 = 0
    /// Sealed bytes that it needs.
    package var storedBytes: UInt64 = 0
}

package struct SnapshotProgress: Equatable, Sendable {
    package var pagesSealed: UInt64
    package var pageCount: UInt64
    package var bytesSent: UInt64
}
