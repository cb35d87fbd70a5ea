import Foundation
import MusterModel

/// Ascending numbers from 1, as the first one and the step to each next one.
enum Steps {
    static func encode(_ numbers: some Collection<Int>) -> [UInt32] {
        var previous = 0
        return numbers.map { number in
            precondition(number > previous, "numbers that do not ascend from 1")
            defer { previous = number }
            return UInt32(number - previous)
        }
    }

    static func decode(
        _ steps: [UInt32], upTo limit: UInt64, _ what: String, _ parser: FieldParser
    ) throws(FormatError) -> [Int] {
        var number: UInt64 = 0
        var numbers: [Int] = []
        numbers.reserveCapacity(steps.count)
        for step in steps {
            // Both are below 2^33, so nothing overflows.
            number += UInt64(step)
            try parser.check(step > 0, "\(what) \(number) after itself")
            try parser.check(number <= limit, "\(what) \(number) of \(limit)")
            numbers.append(Int(number))
        }
        return numbers
    }
}

/// The rows of extent chunks, column by column, as both kinds of map have them.
struct ExtentColumns {
    var pack: [UInt32] = []
    var offset: [UInt32] = []
    var length: [UInt32] = []
    var pages: [UInt32] = []
    var chunks = Data()
    var hashes = Data()

    init(
        pack: [UInt32], offset: [UInt32], length: [UInt32], pages: [UInt32], chunks: Data, hashes: Data
    ) {
        (self.pack, self.offset, self.length, self.pages) = (pack, offset, length, pages)
        (self.chunks, self.hashes) = (chunks, hashes)
    }

    init(_ entries: [ExtentEntry], in geometry: DatabaseGeometry, _ table: inout PackTable) {
        for entry in entries {
            precondition(entry.extent < geometry.extentCount, "an extent behind the last page")
            pack.append(table.index(of: entry.place))
            offset.append(UInt32(entry.place.offset))
            length.append(UInt32(entry.place.byteCount))
            let isWhole = entry.pageCount == geometry.pageCount(ofExtent: entry.extent)
            pages.append(isWhole ? 0 : UInt32(entry.pageCount))
            chunks.append(contentsOf: entry.place.chunk.bytes)
            hashes.append(contentsOf: entry.hash.bytes)
        }
        if pages.allSatisfy({ $0 == 0 }) { pages = [] }
    }

    /// - Parameter extents: the rows' extents, checked to be in the database.
    func entries(
        of extents: [Int], in geometry: DatabaseGeometry, _ table: PackTable, _ parser: FieldParser
    ) throws(FormatError) -> [ExtentEntry] {
        let chunks: [ChunkID] = try parser.digests(chunks, "chunk ids")
        let hashes: [ExtentHash] = try parser.digests(hashes, "extent hashes")
        let lengths = [pack.count, offset.count, length.count, chunks.count, hashes.count]
        try parser.check(
            lengths.allSatisfy { $0 == extents.count } && (pages.isEmpty || pages.count == extents.count),
            "its columns differ in length")
        var entries: [ExtentEntry] = []
        entries.reserveCapacity(extents.count)
        for (row, extent) in extents.enumerated() {
            let place = try table.place(
                pack[row], offset: offset[row], byteCount: length[row], chunk: chunks[row], parser)
            let stated = pages.isEmpty ? 0 : Int(pages[row])
            try parser.check(stated <= geometry.pagesPerExtent, "an extent chunk of \(stated) pages")
            entries.append(
                ExtentEntry(
                    extent: extent, place: place,
                    pageCount: stated == 0 ? geometry.pageCount(ofExtent: extent) : stated, hash: hashes[row]))
        }
        return entries
    }
}
