import MusterModel

/// A chunk of pages listed by number, as one map speaks of it.
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
    /// How many pages the chunk has.
    package private(set) var chunkPageCount: Int
    /// How many of them come before the first of `pages`.
    package private(set) var firstPosition: Int
    /// An unbroken run of the chunk's pages, ascending; all of them unless the map speaks of a part of the extents.
    package private(set) var pages: [UInt32]
    /// Ascending indices into `pages` of those that this entry does not supply: the extent was placed anew,
    /// the database ends before them, or a later chunk has them. At least one page is supplied.
    package var dead: [Int]

    /// An entry for all pages of the chunk.
    package init(kind: Kind, place: ChunkPlace, plainByteCount: Int, pages: [UInt32], dead: [Int] = []) {
        self.init(
            kind: kind, place: place, plainByteCount: plainByteCount, chunkPageCount: pages.count, firstPosition: 0,
            pages: pages, dead: dead)
    }

    init(
        kind: Kind, place: ChunkPlace, plainByteCount: Int, chunkPageCount: Int, firstPosition: Int, pages: [UInt32],
        dead: [Int]
    ) {
        (self.kind, self.place, self.plainByteCount) = (kind, place, plainByteCount)
        (self.chunkPageCount, self.firstPosition) = (chunkPageCount, firstPosition)
        (self.pages, self.dead) = (pages, dead)
    }

    /// Calls `body` with each page that is supplied, ascending, and its position in the chunk.
    package func forEachLive(
        in range: ClosedRange<UInt32> = 0...UInt32.max, _ body: (_ page: UInt32, _ position: Int) -> Void
    ) {
        let first = pages.firstIndexOfSorted { $0 >= range.lowerBound }
        var nextDead = dead.firstIndexOfSorted { $0 >= first }
        let end = pages.firstIndexOfSorted { $0 > range.upperBound }
        for index in first..<end {
            if nextDead < dead.endIndex, dead[nextDead] == index {
                nextDead += 1
            } else {
                body(pages[index], firstPosition + index)
            }
        }
    }

    /// The same chunk, listing only what lies within `range`, from its first supplied page there to the last.
    ///
    /// - Returns: nil where the entry supplies no page of the range.
    package func restricted(to range: ClosedRange<UInt32>) -> ScatterEntry? {
        var live: ClosedRange<Int>?
        forEachLive(in: range) { _, position in
            let index = position - firstPosition
            live = (live?.lowerBound ?? index)...index
        }
        guard let live else { return nil }
        return ScatterEntry(
            kind: kind, place: place, plainByteCount: plainByteCount, chunkPageCount: chunkPageCount,
            firstPosition: firstPosition + live.lowerBound, pages: Array(pages[live]),
            dead: dead.filter(live.contains).map { $0 - live.lowerBound })
    }
}
