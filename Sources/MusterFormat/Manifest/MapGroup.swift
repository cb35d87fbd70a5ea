package import MusterModel

/// Where the pages of one group (256 extents) are.
package struct MapGroup: Sendable, Hashable {
    /// Stands for the pack that the map chunk itself lies in, so that one small pack can hold a whole
    /// snapshot: its id cannot be known before the map chunk is written. Parsing replaces it.
    package static let ownPack: PackID = {
        guard let id = PackID(bytes: [UInt8](repeating: 0, count: 32)) else { preconditionFailure("32 bytes") }
        return id
    }()

    package var index: Int
    /// Ascending. Every extent of the group in a full manifest, the changed ones in a delta.
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
    /// Of the extent as it is now, scatter and difference chunks applied.
    package var hash: ExtentHash
    /// In a delta: the chunk is the base's, and the base chain's scatter entries still count for its pages.
    package var continuesBase: Bool

    package init(extent: Int, place: ChunkPlace, hash: ExtentHash, continuesBase: Bool = false) {
        (self.extent, self.place, self.hash) = (extent, place, hash)
        self.continuesBase = continuesBase
    }
}

/// A chunk of pages listed by number.
package struct ScatterEntry: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        /// The pages themselves.
        case scatter
        /// Each page as its difference from the same page in the extent chunk that the map names.
        case difference

        package var sealedKind: SealedKind { self == .scatter ? .scatter : .difference }
    }

    package static let maximumPages = 65_536

    package var kind: Kind
    package var place: ChunkPlace
    package var plainByteCount: Int
    /// All pages of the chunk, ascending, at least one of them in the group. Those outside the group, or
    /// behind the last page, only hold their place.
    package var pages: [UInt32]

    package init(kind: Kind, place: ChunkPlace, plainByteCount: Int, pages: [UInt32]) {
        (self.kind, self.place, self.plainByteCount, self.pages) = (kind, place, plainByteCount, pages)
    }
}
