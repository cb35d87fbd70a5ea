package import MusterModel

/// How the pages of a snapshot were read.
package enum CaptureMethod: String, Sendable, CaseIterable, Codable {
    /// All pages inside one read transaction.
    case pinned
    /// The frames of the WAL, seen one after the other.
    case followed
    /// A closed WAL database, read from its file.
    case closed
}

/// What is known about the time between a snapshot and its parent.
package enum Continuity: String, Sendable, CaseIterable, Codable {
    /// Every commit since the parent was seen.
    case proven
    /// The pages were read and compared; commits between are not known.
    case scanned
    /// The database went back behind its parent.
    case regressed
}

/// Another snapshot's manifest, by name and by content.
package struct ManifestReference: Sendable, Hashable {
    package var snapshot: SnapshotID
    package var manifest: ManifestHash

    package init(snapshot: SnapshotID, manifest: ManifestHash) {
        (self.snapshot, self.manifest) = (snapshot, manifest)
    }
}

/// The head of another lineage that this lineage left.
package struct ForkPoint: Sendable, Hashable {
    package var lineage: LineageID
    package var head: ManifestReference

    package init(lineage: LineageID, head: ManifestReference) { (self.lineage, self.head) = (lineage, head) }
}

/// Which packs came and went.
package struct PackChanges: Sendable, Hashable {
    package var added: Set<PackID>
    package var dropped: Set<PackID>

    package init(added: Set<PackID>, dropped: Set<PackID> = []) { (self.added, self.dropped) = (added, dropped) }
}

/// What a manifest says to everybody, the coordinator and the stores included.
package struct ManifestPublicPart: Sendable, Hashable {
    package var snapshot: SnapshotID
    package var node: NodeID
    package var database: DatabaseID
    /// 1 to 255 bytes of any characters; escape it where it is shown.
    package var databaseName: String
    package var lineage: LineageID
    /// From 0, without a gap, in the lineage.
    package var sequence: UInt64
    /// The previous snapshot; nil at sequence 0 and only there.
    package var parent: ManifestReference?
    /// What the map is a change of; nil in a full manifest.
    package var base: ManifestReference?
    package var forkedFrom: ForkPoint?
    package var scope: ScopeID
    /// Of the keys that seal the sealed part.
    package var keyEpoch: UInt32
    /// By the agent's clock, so for people only.
    package var capturedBegin: Timestamp
    package var capturedEnd: Timestamp
    package var geometry: DatabaseGeometry
    package var contentRoot: ContentRoot
    /// Against the base; a full manifest adds every pack that it needs.
    package var packs: PackChanges
    /// Against the parent; at sequence 0 equal to `packs`.
    package var packsSinceParent: PackChanges
    /// At most 64; keys of 1 to 64 bytes, values of at most 256.
    package var labels: [String: String]
    package var captureMethod: CaptureMethod
    package var continuity: Continuity
    /// Bytes of the packs that came since the parent.
    package var sealedBytesAdded: UInt64
    /// Bytes of all sealed chunks that the snapshot needs.
    package var storedBytes: UInt64

    package init(
        snapshot: SnapshotID, node: NodeID, database: DatabaseID, databaseName: String, lineage: LineageID,
        sequence: UInt64, parent: ManifestReference?, base: ManifestReference?, forkedFrom: ForkPoint? = nil,
        scope: ScopeID, keyEpoch: UInt32, capturedBegin: Timestamp, capturedEnd: Timestamp,
        geometry: DatabaseGeometry, contentRoot: ContentRoot, packs: PackChanges, packsSinceParent: PackChanges,
        labels: [String: String], captureMethod: CaptureMethod, continuity: Continuity,
        sealedBytesAdded: UInt64, storedBytes: UInt64
    ) {
        (self.snapshot, self.node, self.database) = (snapshot, node, database)
        (self.databaseName, self.lineage, self.sequence) = (databaseName, lineage, sequence)
        (self.parent, self.base, self.forkedFrom) = (parent, base, forkedFrom)
        (self.scope, self.keyEpoch) = (scope, keyEpoch)
        (self.capturedBegin, self.capturedEnd) = (capturedBegin, capturedEnd)
        (self.geometry, self.contentRoot) = (geometry, contentRoot)
        (self.packs, self.packsSinceParent, self.labels) = (packs, packsSinceParent, labels)
        (self.captureMethod, self.continuity) = (captureMethod, continuity)
        (self.sealedBytesAdded, self.storedBytes) = (sealedBytesAdded, storedBytes)
    }

    /// True if the map is whole, so that no other manifest is needed to restore.
    package var isFull: Bool { base == nil }
}
