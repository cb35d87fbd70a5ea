import MusterFormat
import MusterModel
import MusterSQLite

/// Extents whose pages were just read, back to back in one buffer.
struct ExtentBatch {
    /// Ascending.
    let extents: [Int]
    let pages: [UInt8]
    let geometry: DatabaseGeometry
    /// Pages that may have changed; nil if any may.
    let dirty: PageSet?
}

/// What a snapshot has to say of one extent.
struct ExtentOutcome: Sendable {
    enum Content: Sendable {
        case whole(SealedChunk)
        /// Pages by position, each as its difference from the same page of the extent's chunk.
        case differences([PagePiece])
        /// Pages by position, as they are.
        case pages([PagePiece])
    }

    let extent: Int
    let hash: ExtentHash
    let pageHashes: [PageHash]
    let content: Content
}

/// One page of an extent, or its difference.
struct PagePiece: Sendable {
    let page: Int
    let bytes: [UInt8]
}

/// When pages are sent by themselves and when the extent is sent anew.
enum EmissionPolicy {
    /// Most pages of an extent that may come from scatter chunks.
    static func mostScatterPages(_ geometry: DatabaseGeometry) -> Int { min(4, geometry.pagesPerExtent / 4) }

    /// Most chunks that the pages of an extent may come from besides its own: each takes some 64 bytes of a map, whose
    /// 256 extents have to fit into one chunk. Pages of 4 KiB and more are not more than this.
    static let mostSupplyingChunks = 16

    /// Most bytes of differences over an extent: beyond, sending it anew costs less in the long run.
    static func mostDifferenceBytes(chunkBytes: Int) -> Int { 256 + chunkBytes / 4 }

    /// More changed pages than this are not worth a try.
    static func mostChangedPages(_ geometry: DatabaseGeometry) -> Int { max(1, geometry.pagesPerExtent / 2) }
}
