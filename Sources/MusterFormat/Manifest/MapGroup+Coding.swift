import Foundation
import MusterModel

extension MapGroup {
    /// The plain bytes of the group's map chunk; equal groups give equal bytes.
    package func encoded() throws(FormatError) -> [UInt8] {
        var message = StoredMapGroup()
        message.index = UInt32(index)
        var table = PackTable()
        let first = index * DatabaseGeometry.extentsPerGroup
        message.extent = extents.map { UInt32($0.extent - first) }
        message.extentPack = extents.map { table.index(of: $0.place) }
        message.extentOffset = extents.map { UInt32($0.place.offset) }
        message.extentLength = extents.map { UInt32($0.place.byteCount) }
        message.extentChunks = Data(extents.flatMap(\.place.chunk.bytes))
        message.extentHashes = Data(extents.flatMap(\.hash.bytes))
        message.continued = extents.filter(\.continuesBase).map { UInt32($0.extent - first) }
        message.scatter = scatter.map { $0.message(&table) }
        message.packs = Data(table.packs.flatMap(\.bytes))
        message.packEpochs = table.epochs
        return try StoredMessage.encode(message, object: "map of group \(index)")
    }
}

/// Reads the map chunks of one manifest, refusing what does not fit it.
package struct MapDecoder: Sendable {
    private let geometry: DatabaseGeometry
    /// The packs that may be named; nil in a delta, whose base chain names them too.
    private let packs: Set<PackID>?

    package init(_ part: ManifestPublicPart) {
        geometry = part.geometry
        packs = part.isFull ? part.packs.added : nil
    }

    /// - Parameter plain: what the map chunk of `reference` opened to.
    package func group(from plain: [UInt8], of reference: MapGroupReference) throws(FormatError) -> MapGroup {
        let parser = FieldParser(object: "map of group \(reference.index)")
        let message = try StoredMessage.decode(
            plain, as: StoredMapGroup.self, fieldLimit: Format.maximumPlainChunkBytes / 16, object: parser.object)
        try parser.check(
            Int(message.index) == reference.index && reference.index < geometry.groupCount,
            "it is of group \(message.index)")
        let table = try PackTable(message, ownPack: reference.place.pack, allowed: packs, parser)
        let range = geometry.extents(ofGroup: reference.index)
        let extents = try Self.extents(message, range: range, table, parser)
        if packs != nil {
            try parser.check(message.continued.isEmpty, "a full map continues a base")
            try parser.check(extents.count == range.count, "a full map with \(extents.count) of \(range.count) extents")
            var hasher = TreeHasher()
            let hash = hasher.groupHash(of: extents.map(\.hash))
            try parser.check(hash == reference.hash, "its extents do not hash to the group's hash")
        }
        var scatter: [ScatterEntry] = []
        for entry in message.scatter {
            scatter.append(try ScatterEntry(entry, table, geometry: geometry, group: range, parser))
        }
        return MapGroup(index: reference.index, extents: extents, scatter: scatter)
    }

    private static func extents(
        _ message: StoredMapGroup, range: Range<Int>, _ table: PackTable, _ parser: FieldParser
    ) throws(FormatError) -> [ExtentEntry] {
        let chunks: [ChunkID] = try parser.digests(message.extentChunks, "extent_chunks")
        let hashes: [ExtentHash] = try parser.digests(message.extentHashes, "extent_hashes")
        let count = message.extent.count
        let lengths = [
            message.extentPack.count, message.extentOffset.count, message.extentLength.count, chunks.count,
            hashes.count,
        ]
        try parser.check(lengths.allSatisfy { $0 == count }, "its columns differ in length")
        try parser.check(
            zip(message.extent, message.extent.dropFirst()).allSatisfy { $0 < $1 }, "its extents are not ascending")
        try parser.check(Int(message.extent.last ?? 0) < range.count, "an extent lies beyond the group")
        let continued = Set(message.continued)
        try parser.check(
            zip(message.continued, message.continued.dropFirst()).allSatisfy { $0 < $1 }
                && continued.isSubset(of: message.extent), "continued is not an ascending part of its extents")
        var entries: [ExtentEntry] = []
        entries.reserveCapacity(count)
        for row in 0..<count {
            let place = try table.place(
                message.extentPack[row], offset: message.extentOffset[row], byteCount: message.extentLength[row],
                chunk: chunks[row], parser)
            entries.append(
                ExtentEntry(
                    extent: range.lowerBound + Int(message.extent[row]), place: place, hash: hashes[row],
                    continuesBase: continued.contains(message.extent[row])))
        }
        return entries
    }
}

/// The packs that one map names, each once.
private struct PackTable {
    private(set) var packs: [PackID] = []
    private(set) var epochs: [UInt32] = []
    private var known: [PackID: Int] = [:]

    init() {}

    init(
        _ message: StoredMapGroup, ownPack: PackID, allowed: Set<PackID>?, _ parser: FieldParser
    ) throws(FormatError) {
        let named: [PackID] = try parser.digests(message.packs, "packs")
        epochs = message.packEpochs
        packs = named.map { $0 == MapGroup.ownPack ? ownPack : $0 }
        try parser.check(packs.count == epochs.count, "\(packs.count) packs with \(epochs.count) epochs")
        try parser.check(Set(packs).count == packs.count, "a pack is named twice")
        try parser.check(allowed?.isSuperset(of: packs) ?? true, "it names a pack that the manifest does not list")
    }

    mutating func index(of place: ChunkPlace) -> UInt32 {
        if let index = known[place.pack] {
            precondition(epochs[index] == place.keyEpoch, "all chunks of a pack are of one key epoch")
            return UInt32(index)
        }
        known[place.pack] = packs.count
        packs.append(place.pack)
        epochs.append(place.keyEpoch)
        return UInt32(packs.count - 1)
    }

    func place(
        _ index: UInt32, offset: UInt32, byteCount: UInt32, chunk: ChunkID, _ parser: FieldParser
    ) throws(FormatError) -> ChunkPlace {
        try parser.check(Int(index) < packs.count, "chunk \(chunk) is in pack \(index) of \(packs.count)")
        let place = ChunkPlace(
            pack: packs[Int(index)], offset: Int(offset), byteCount: Int(byteCount), chunk: chunk,
            keyEpoch: epochs[Int(index)])
        try place.check(parser)
        return place
    }
}

extension ScatterEntry {
    fileprivate func message(_ table: inout PackTable) -> StoredScatterEntry {
        var message = StoredScatterEntry()
        message.kind = kind == .scatter ? .scatter : .difference
        message.pack = table.index(of: place)
        message.offset = UInt32(place.offset)
        message.length = UInt32(place.byteCount)
        message.chunk = Data(place.chunk.bytes)
        message.plainLength = UInt32(plainByteCount)
        message.pageSteps = zip(pages, [0] + pages).map { $0 - $1 }
        return message
    }

    fileprivate init(
        _ message: StoredScatterEntry, _ table: PackTable, geometry: DatabaseGeometry, group: Range<Int>,
        _ parser: FieldParser
    ) throws(FormatError) {
        switch message.kind {
        case .scatter: kind = .scatter
        case .difference: kind = .difference
        case .unspecified, .UNRECOGNIZED: throw .malformed(parser.object, "unknown scatter kind")
        }
        place = try table.place(
            message.pack, offset: message.offset, byteCount: message.length,
            chunk: try parser.digest(message.chunk, "a scatter chunk's id"), parser)
        pages = try Self.pages(message.pageSteps, parser)
        plainByteCount = Int(message.plainLength)
        let isPlausible =
            switch kind {
            case .scatter:
                plainByteCount == pages.count * geometry.pageSize && plainByteCount <= geometry.extentBytes
            case .difference:
                (pages.count * 4 + 1...Format.maximumPlainChunkBytes).contains(plainByteCount)
            }
        try parser.check(isPlausible, "chunk \(place.chunk) of \(pages.count) pages has \(plainByteCount) bytes")
        let perExtent = UInt64(geometry.pagesPerExtent)
        let inGroup = UInt64(group.lowerBound) * perExtent + 1...UInt64(group.upperBound) * perExtent
        try parser.check(
            pages.contains { inGroup.contains(UInt64($0)) }, "chunk \(place.chunk) has no page in the group")
    }

    private static func pages(_ steps: [UInt32], _ parser: FieldParser) throws(FormatError) -> [UInt32] {
        try parser.check((1...maximumPages).contains(steps.count), "a scatter chunk of \(steps.count) pages")
        var page: UInt64 = 0
        var pages: [UInt32] = []
        pages.reserveCapacity(steps.count)
        for step in steps {
            page += UInt64(step)
            try parser.check(step > 0 && page <= DatabaseGeometry.maximumPageCount, "page \(page) after itself")
            pages.append(UInt32(page))
        }
        return pages
    }
}
