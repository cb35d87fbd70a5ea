import Foundation
import MusterModel

extension ScatterEntry {
    func message(_ table: inout PackTable) -> StoredScatterEntry {
        var message = StoredScatterEntry()
        message.kind = kind == .scatter ? .scatter : .difference
        message.pack = table.index(of: place)
        message.offset = UInt32(place.offset)
        message.length = UInt32(place.byteCount)
        message.chunk = Data(place.chunk.bytes)
        message.plainLength = UInt32(plainByteCount)
        message.pageSteps = Steps.encode(pages.lazy.map { Int($0) })
        message.firstPosition = UInt32(firstPosition)
        message.chunkPages = chunkPageCount == firstPosition + pages.count ? 0 : UInt32(chunkPageCount)
        message.deadSteps = Steps.encode(dead.lazy.map { $0 + 1 })
        return message
    }

    /// - Parameter extents: those that the map speaks of; every supplied page lies in one of them.
    init(
        _ message: StoredScatterEntry, _ table: PackTable, geometry: DatabaseGeometry, extents: Range<Int>,
        _ parser: FieldParser
    ) throws(FormatError) {
        let kind: Kind
        switch message.kind {
        case .scatter: kind = .scatter
        case .difference: kind = .difference
        case .unspecified, .UNRECOGNIZED: throw .malformed(parser.object, "unknown scatter kind")
        }
        let place = try table.place(
            message.pack, offset: message.offset, byteCount: message.length,
            chunk: try parser.digest(message.chunk, "a scatter chunk's id"), parser)
        try parser.check(
            (1...Self.maximumPages).contains(message.pageSteps.count),
            "a scatter chunk of \(message.pageSteps.count) pages")
        let pages = try Steps.decode(message.pageSteps, upTo: DatabaseGeometry.maximumPageCount, "page", parser)
        let dead = try Steps.decode(message.deadSteps, upTo: UInt64(pages.count), "dead page", parser)
        try parser.check(dead.count < pages.count, "chunk \(place.chunk) supplies no page")
        let end = Int(message.firstPosition) + pages.count
        let chunkPageCount = message.chunkPages == 0 ? end : Int(message.chunkPages)
        try parser.check(
            (end...max(end, Self.maximumPages)).contains(chunkPageCount) && chunkPageCount <= Self.maximumPages,
            "pages up to \(end) of chunk \(place.chunk), which has \(chunkPageCount)")
        self.init(
            kind: kind, place: place, plainByteCount: Int(message.plainLength), chunkPageCount: chunkPageCount,
            firstPosition: Int(message.firstPosition), pages: pages.map { UInt32($0) }, dead: dead.map { $0 - 1 })
        try checkSize(geometry, parser)
        try checkPages(geometry, extents, parser)
    }

    private func checkSize(_ geometry: DatabaseGeometry, _ parser: FieldParser) throws(FormatError) {
        let isPlausible =
            switch kind {
            case .scatter:
                plainByteCount == chunkPageCount * geometry.pageSize && plainByteCount <= geometry.extentBytes
            case .difference:
                plainByteCount >= chunkPageCount * DifferenceChunk.leastBytesPerPage
                    && plainByteCount <= Format.maximumPlainChunkBytes
            }
        try parser.check(isPlausible, "chunk \(place.chunk) of \(chunkPageCount) pages has \(plainByteCount) bytes")
    }

    private func checkPages(
        _ geometry: DatabaseGeometry, _ extents: Range<Int>, _ parser: FieldParser
    ) throws(FormatError) {
        let perExtent = UInt64(geometry.pagesPerExtent)
        let before = UInt64(extents.lowerBound) * perExtent
        let last = min(geometry.pageCount, UInt64(extents.upperBound) * perExtent)
        var areInside = true
        forEachLive { page, _ in areInside = areInside && UInt64(page) > before && UInt64(page) <= last }
        try parser.check(areInside, "chunk \(place.chunk) supplies a page outside of the map's extents")
    }
}
