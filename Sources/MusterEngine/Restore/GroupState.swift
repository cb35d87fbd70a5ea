import MusterFormat
import MusterModel

/// Where each page of one group comes from: the full manifest's map, then the base chain's changes, in order.
///
/// `proto/format.md`, "Base chains", is what this does.
struct GroupState: Sendable {
    struct Row: Sendable {
        let place: ChunkPlace
        /// Pages in the extent chunk: what a difference can be from.
        let chunkPageCount: Int
        /// How many of them the extent still takes from it.
        var suppliedPageCount: Int
        var hash: ExtentHash
    }

    /// A scatter or difference chunk.
    struct PageChunk: Sendable, Hashable {
        let kind: ScatterEntry.Kind
        let place: ChunkPlace
        let plainByteCount: Int
        let pageCount: Int
    }

    struct Supply: Sendable, Hashable {
        /// Index into `chunks`.
        let chunk: Int
        /// Of the page in that chunk.
        let position: Int
    }

    let group: Int
    private let pagesPerExtent: Int
    private(set) var rows: [Int: Row] = [:]
    private(set) var chunks: [PageChunk] = []
    private(set) var supplies: [UInt32: Supply] = [:]

    init(group: Int, pagesPerExtent: Int) { (self.group, self.pagesPerExtent) = (group, pagesPerExtent) }

    /// The extents that the group would have in a database of any size.
    private var extents: Range<Int> {
        group * DatabaseGeometry.extentsPerGroup..<(group + 1) * DatabaseGeometry.extentsPerGroup
    }

    private var pages: ClosedRange<UInt32> {
        let first = UInt64(extents.lowerBound * pagesPerExtent) + 1
        let last = UInt64(extents.upperBound * pagesPerExtent)
        // No group begins behind the last page that SQLite allows.
        return UInt32(clamping: first)...UInt32(clamping: last)
    }

    private func pages(of extent: Int) -> ClosedRange<UInt32> {
        let first = UInt64(extent * pagesPerExtent) + 1
        return UInt32(clamping: first)...UInt32(clamping: first + UInt64(pagesPerExtent) - 1)
    }

    mutating func begin(with map: MapGroup, in geometry: DatabaseGeometry) {
        for entry in map.extents { place(entry, in: geometry) }
        append(map.scatter)
    }

    /// Forgets what lies behind the last page of the next manifest of the chain.
    mutating func cut(to geometry: DatabaseGeometry) {
        for (extent, row) in rows {
            guard extent < geometry.extentCount else {
                rows[extent] = nil
                continue
            }
            let pageCount = geometry.pageCount(ofExtent: extent)
            if row.suppliedPageCount > pageCount { rows[extent]?.suppliedPageCount = pageCount }
        }
        if UInt64(pages.upperBound) > geometry.pageCount {
            supplies = supplies.filter { UInt64($0.key) <= geometry.pageCount }
        }
    }

    /// - Returns: the first extent that is said to continue though there is none; nil where all is well.
    mutating func apply(_ changes: MapChanges, in geometry: DatabaseGeometry) -> Int? {
        let extents = extents
        let firstPlaced = changes.placed.firstIndexOfSorted { $0.extent >= extents.lowerBound }
        for entry in changes.placed[firstPlaced...].prefix(while: { extents.contains($0.extent) }) {
            place(entry, in: geometry)
        }
        let firstContinued = changes.continued.firstIndexOfSorted { $0.extent >= extents.lowerBound }
        for entry in changes.continued[firstContinued...].prefix(while: { extents.contains($0.extent) }) {
            guard rows[entry.extent] != nil else { return entry.extent }
            rows[entry.extent]?.hash = entry.hash
        }
        append(changes.scatter)
        return nil
    }

    private mutating func place(_ entry: ExtentEntry, in geometry: DatabaseGeometry) {
        rows[entry.extent] = Row(
            place: entry.place, chunkPageCount: entry.pageCount,
            suppliedPageCount: min(entry.pageCount, geometry.pageCount(ofExtent: entry.extent)), hash: entry.hash)
        guard !supplies.isEmpty else { return }
        for page in pages(of: entry.extent) { supplies[page] = nil }
    }

    private mutating func append(_ scatter: [ScatterEntry]) {
        for entry in scatter {
            let index = chunks.count
            var isUsed = false
            entry.forEachLive(in: pages) { page, position in
                supplies[page] = Supply(chunk: index, position: position)
                isUsed = true
            }
            guard isUsed else { continue }
            chunks.append(
                PageChunk(
                    kind: entry.kind, place: entry.place, plainByteCount: entry.plainByteCount,
                    pageCount: entry.chunkPageCount))
        }
    }

    /// The pages of an extent that other chunks than its own supply.
    func supplied(_ extent: Int, pageCount: Int) -> [(page: UInt32, supply: Supply)] {
        guard !supplies.isEmpty else { return [] }
        return pages(of: extent).prefix(pageCount).compactMap { page in supplies[page].map { (page, $0) } }
    }
}
