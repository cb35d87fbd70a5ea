package import MusterModel

/// Where the pages of one group (256 extents) are: the plain form of one map chunk of a full manifest.
package struct MapGroup: Sendable, Hashable {
    /// Stands for the pack that the map chunk itself lies in, so that one small pack can hold a whole
    /// snapshot: its id cannot be known before the map chunk is written. Parsing replaces it.
    package static let ownPack: PackID = {
        guard let id = PackID(bytes: [UInt8](repeating: 0, count: 32)) else { preconditionFailure("32 bytes") }
        return id
    }()

    package var index: Int
    /// Every extent of the group, ascending.
    package var extents: [ExtentEntry]
    /// In the order of writing: the later one wins.
    package var scatter: [ScatterEntry]

    package init(index: Int, extents: [ExtentEntry], scatter: [ScatterEntry] = []) {
        (self.index, self.extents, self.scatter) = (index, extents, scatter)
    }
}

/// The extent chunk of one extent.
package struct ExtentEntry: Sendable, Hashable {
    /// Number in the database, from 0.
    package var extent: Int
    package var place: ChunkPlace
    /// Pages in the chunk, at least 1. The extent may have more of them by now, which scatter and
    /// difference chunks supply, or fewer.
    package var pageCount: Int
    /// Of the extent as it is now, scatter and difference chunks applied.
    package var hash: ExtentHash

    package init(extent: Int, place: ChunkPlace, pageCount: Int, hash: ExtentHash) {
        (self.extent, self.place, self.pageCount, self.hash) = (extent, place, pageCount, hash)
    }
}

/// Where the sealed map chunk of a group is, and what the group's extents hash to.
package struct MapGroupReference: Sendable, Hashable {
    package var index: Int
    package var place: ChunkPlace
    package var plainByteCount: Int
    package var hash: GroupHash

    package init(index: Int, place: ChunkPlace, plainByteCount: Int, hash: GroupHash) {
        (self.index, self.place, self.plainByteCount, self.hash) = (index, place, plainByteCount, hash)
    }
}
