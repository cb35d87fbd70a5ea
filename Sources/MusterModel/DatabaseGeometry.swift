/// The shape of one captured database: how its pages fall into extents and groups.
///
/// Pages are numbered from 1 and extents and groups from 0. The last extent
/// and the last group may be short. An empty database has no pages.
package struct DatabaseGeometry: Hashable, Sendable {
    /// Extents under one node of the hash tree and in one map chunk.
    package static let extentsPerGroup = 256
    /// The largest page count that SQLite allows (sqlite.org/limits.html, "Maximum Number Of Pages").
    package static let maximumPageCount: UInt64 = 4_294_967_294

    /// Bytes: a power of two from 512 to 65536.
    package let pageSize: Int
    package let pagesPerExtent: Int
    package let pageCount: UInt64

    /// - Returns: nil where a number is out of SQLite's range, so numbers of a peer can be passed as they came.
    package init?(pageSize: Int, pagesPerExtent: Int, pageCount: UInt64) {
        guard (512...65_536).contains(pageSize), pageSize.nonzeroBitCount == 1,
            (1...4096).contains(pagesPerExtent), pageSize * pagesPerExtent <= 1 << 20,
            pageCount <= Self.maximumPageCount
        else { return nil }
        (self.pageSize, self.pagesPerExtent, self.pageCount) = (pageSize, pagesPerExtent, pageCount)
    }

    package var sizeBytes: UInt64 { pageCount * UInt64(pageSize) }
    package var extentBytes: Int { pageSize * pagesPerExtent }
    package var extentCount: Int { Int((pageCount + UInt64(pagesPerExtent) - 1) / UInt64(pagesPerExtent)) }
    package var groupCount: Int { (extentCount + Self.extentsPerGroup - 1) / Self.extentsPerGroup }

    /// - Parameter page: from 1; the extent of a page behind the last one is where it would be.
    package func extent(ofPage page: UInt32) -> Int { (Int(page) - 1) / pagesPerExtent }

    /// How many pages the extent holds; fewer than `pagesPerExtent` only in the last one.
    package func pageCount(ofExtent extent: Int) -> Int {
        let first = UInt64(extent) * UInt64(pagesPerExtent)
        return Int(min(UInt64(pagesPerExtent), pageCount - min(pageCount, first)))
    }
    package func byteCount(ofExtent extent: Int) -> Int { pageCount(ofExtent: extent) * pageSize }
    package func byteOffset(ofExtent extent: Int) -> UInt64 { UInt64(extent) * UInt64(extentBytes) }
    package func extents(ofGroup group: Int) -> Range<Int> {
        let start = group * Self.extentsPerGroup
        return start..<min(start + Self.extentsPerGroup, extentCount)
    }
}
