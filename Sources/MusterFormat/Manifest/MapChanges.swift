package import MusterModel

/// What changed in the page map since the base: what a delta manifest has in place of groups.
///
/// Applied to the base's map: a placed extent replaces its row and drops every earlier scatter and
/// difference page of the extent; a continued one keeps its chunk and gets a new hash; then the
/// scatter entries are appended.
package struct MapChanges: Sendable, Hashable {
    /// The most plain bytes that lie in the manifest itself; larger changes lie in map chunks.
    package static let maximumInlineBytes = 64 << 10

    /// Extents with another chunk than in the base, ascending.
    package var placed: [ExtentEntry]
    /// Extents whose chunk is that of the base, ascending; none of them is in `placed`.
    package var continued: [ContinuedExtent]
    /// In the order of writing: the later one wins.
    package var scatter: [ScatterEntry]

    package init(
        placed: [ExtentEntry] = [], continued: [ContinuedExtent] = [], scatter: [ScatterEntry] = []
    ) {
        (self.placed, self.continued, self.scatter) = (placed, continued, scatter)
    }

    package var isEmpty: Bool { placed.isEmpty && continued.isEmpty && scatter.isEmpty }
}

/// An extent that has other pages than in the base, but the same extent chunk.
package struct ContinuedExtent: Sendable, Hashable {
    /// Number in the database, from 0.
    package var extent: Int
    /// Of the extent as it is now.
    package var hash: ExtentHash

    package init(extent: Int, hash: ExtentHash) { (self.extent, self.hash) = (extent, hash) }
}

/// Where a map chunk with the changes of some extents is.
package struct MapChangesReference: Sendable, Hashable {
    /// From the first to the last extent that it may speak of.
    package var extents: ClosedRange<Int>
    package var place: ChunkPlace
    package var plainByteCount: Int

    package init(extents: ClosedRange<Int>, place: ChunkPlace, plainByteCount: Int) {
        (self.extents, self.place, self.plainByteCount) = (extents, place, plainByteCount)
    }
}

/// The page map as a manifest holds it.
package enum ManifestMap: Sendable, Hashable {
    /// Of a full manifest: all groups, ascending.
    case groups([MapGroupReference])
    /// Of a delta manifest, in the manifest itself: at most 64 KiB of plain bytes.
    case changes(MapChanges)
    /// Of a delta manifest: at least one, ascending, no extent in two of them.
    case changeChunks([MapChangesReference])
}
