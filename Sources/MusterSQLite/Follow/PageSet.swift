/// Numbers of pages, counted from 1: a bit each where they lie close together.
///
/// Blocks of 4096 pages; what a hostile WAL can make it cost is in proportion to that WAL's size.
package struct PageSet: Sendable, Equatable {
    private static let pagesPerBlock: UInt32 = 4096
    private static let fullBlock = [UInt64](repeating: .max, count: 64)

    /// No block is empty, so equal sets are equal values. Full blocks share one array.
    private var blocks: [UInt32: [UInt64]] = [:]

    package init() {}

    package var isEmpty: Bool { blocks.isEmpty }

    package var count: Int {
        blocks.values.reduce(0) { total, words in total + words.reduce(0) { $0 + $1.nonzeroBitCount } }
    }

    package func contains(_ page: UInt32) -> Bool {
        let (block, bit) = Self.place(page)
        return blocks[block].map { $0[bit / 64] & 1 << UInt64(bit % 64) != 0 } ?? false
    }

    package mutating func insert(_ page: UInt32) {
        let (block, bit) = Self.place(page)
        blocks[block, default: [UInt64](repeating: 0, count: 64)][bit / 64] |= 1 << UInt64(bit % 64)
    }

    /// Inserts every page after `last` up to and with `end`.
    package mutating func insert(after last: UInt32, upTo end: UInt32) {
        guard last < end else { return }
        let firstBlock = last / Self.pagesPerBlock
        let lastBlock = (end - 1) / Self.pagesPerBlock
        for block in firstBlock...lastBlock {
            let start = block == firstBlock ? Int(last % Self.pagesPerBlock) : 0
            let stop = block == lastBlock ? Int((end - 1) % Self.pagesPerBlock) : 4095
            guard start > 0 || stop < 4095 else {
                blocks[block] = Self.fullBlock
                continue
            }
            for bit in start...stop { insert(block * Self.pagesPerBlock + UInt32(bit) + 1) }
        }
    }

    package mutating func formUnion(_ other: PageSet) {
        blocks.merge(other.blocks) { mine, theirs in zip(mine, theirs).map { $0 | $1 } }
    }

    /// Removes every page after `pageCount`.
    package mutating func remove(above pageCount: UInt64) {
        guard let pageCount = UInt32(exactly: pageCount) else { return }
        let block = pageCount / Self.pagesPerBlock
        let bit = Int(pageCount % Self.pagesPerBlock)
        blocks = blocks.filter { $0.key <= block }
        guard var words = blocks[block] else { return }
        for index in words.indices where 64 * (index + 1) > bit {
            words[index] &= 64 * index >= bit ? 0 : (1 << UInt64(bit - 64 * index)) - 1
        }
        blocks[block] = words.allSatisfy { $0 == 0 } ? nil : words
    }

    /// Calls `body` with each page in ascending order.
    package func forEach<Failure>(_ body: (UInt32) throws(Failure) -> Void) throws(Failure) {
        for block in blocks.keys.sorted() {
            for (index, word) in (blocks[block] ?? []).enumerated() {
                var rest = word
                while rest != 0 {
                    let bit = rest.trailingZeroBitCount
                    rest &= rest - 1
                    try body(block * Self.pagesPerBlock + UInt32(64 * index + bit) + 1)
                }
            }
        }
    }

    /// The extents, counted from 0, that hold a page of the set, in ascending order.
    package func extents(pagesPerExtent: Int) -> [Int] {
        precondition(pagesPerExtent > 0, "an extent holds a page")
        var extents: [Int] = []
        forEach { page in
            let extent = Int(page - 1) / pagesPerExtent
            if extents.last != extent { extents.append(extent) }
        }
        return extents
    }

    private static func place(_ page: UInt32) -> (block: UInt32, bit: Int) {
        precondition(page > 0, "pages are counted from 1")
        return ((page - 1) / pagesPerBlock, Int((page - 1) % pagesPerBlock))
    }
}
