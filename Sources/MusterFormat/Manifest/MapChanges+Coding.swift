import Foundation
package import MusterModel

extension MapChanges {
    /// The plain bytes, for a manifest's sealed part or for a map chunk; equal changes give equal bytes.
    ///
    /// - Parameter geometry: of the manifest that the changes are written for.
    package func encoded(in geometry: DatabaseGeometry) throws(FormatError) -> [UInt8] {
        try StoredMessage.encode(message(in: geometry), object: "map changes")
    }

    private func message(in geometry: DatabaseGeometry) -> StoredMapChanges {
        var message = StoredMapChanges()
        var table = PackTable()
        let columns = ExtentColumns(placed, in: geometry, &table)
        message.placedSteps = Steps.encode(placed.lazy.map { $0.extent + 1 })
        message.placedPack = columns.pack
        message.placedOffset = columns.offset
        message.placedLength = columns.length
        message.placedPages = columns.pages
        message.placedChunks = columns.chunks
        message.placedHashes = columns.hashes
        message.continuedSteps = Steps.encode(continued.lazy.map { $0.extent + 1 })
        message.continuedHashes = Data(continued.flatMap(\.hash.bytes))
        message.scatter = scatter.map { $0.message(&table) }
        message.packs = table.encodedPacks
        message.packEpochs = table.epochs
        return message
    }

    /// - Parameters:
    ///   - part: the public part of the delta manifest that the changes are of.
    ///   - extents: those that they may speak of; each is in the database.
    ///   - ownPack: the pack of the map chunk; nil where they lie in the manifest.
    static func parse(
        _ plain: [UInt8], of part: ManifestPublicPart, extents: Range<Int>, ownPack: PackID?, object: String
    ) throws(FormatError) -> MapChanges {
        let parser = FieldParser(object: object)
        let message = try StoredMessage.decode(
            plain, as: StoredMapChanges.self, fieldLimit: MapDecoder.fieldLimit, object: object)
        let table = try PackTable(
            packs: message.packs, epochs: message.packEpochs, ownPack: ownPack, of: part, parser)
        let placed = try Self.extents(message.placedSteps, within: extents, parser)
        let continued = try Self.extents(message.continuedSteps, within: extents, parser)
        try parser.check(Set(placed).isDisjoint(with: continued), "an extent is both placed and continued")
        let columns = ExtentColumns(
            pack: message.placedPack, offset: message.placedOffset, length: message.placedLength,
            pages: message.placedPages, chunks: message.placedChunks, hashes: message.placedHashes)
        let hashes: [ExtentHash] = try parser.digests(message.continuedHashes, "continued_hashes")
        try parser.check(hashes.count == continued.count, "its columns differ in length")
        var scatter: [ScatterEntry] = []
        for entry in message.scatter {
            scatter.append(try ScatterEntry(entry, table, geometry: part.geometry, extents: extents, parser))
        }
        return MapChanges(
            placed: try columns.entries(of: placed, in: part.geometry, table, parser),
            continued: zip(continued, hashes).map { ContinuedExtent(extent: $0, hash: $1) }, scatter: scatter)
    }

    private static func extents(
        _ steps: [UInt32], within range: Range<Int>, _ parser: FieldParser
    ) throws(FormatError) -> [Int] {
        let extents = try Steps.decode(steps, upTo: UInt64(range.upperBound), "extent", parser).map { $0 - 1 }
        try parser.check((extents.first ?? range.lowerBound) >= range.lowerBound, "an extent before its range")
        return extents
    }
}

extension MapChanges {
    /// Cuts the changes by extent into parts that fit into a map chunk each.
    ///
    /// - Returns: the parts with the extents that they speak of, ascending; none for no changes.
    /// - Throws: `FormatError`, `tooLarge`, where the changes of one extent alone do not fit.
    package func parts(
        in geometry: DatabaseGeometry, maximumBytes: Int = Format.maximumPlainChunkBytes
    ) throws(FormatError) -> [(extents: ClosedRange<Int>, changes: MapChanges)] {
        var touched = Set(placed.map(\.extent)).union(continued.map(\.extent))
        for entry in scatter {
            entry.forEachLive { page, _ in touched.insert(geometry.extent(ofPage: page)) }
        }
        return try parts(touched.sorted()[...], geometry, maximumBytes)
    }

    private func parts(
        _ touched: ArraySlice<Int>, _ geometry: DatabaseGeometry, _ maximumBytes: Int
    ) throws(FormatError) -> [(extents: ClosedRange<Int>, changes: MapChanges)] {
        guard let first = touched.first, let last = touched.last else { return [] }
        let part = restricted(to: first...last, geometry)
        let byteCount = try part.encoded(in: geometry).count
        if byteCount <= maximumBytes { return [(first...last, part)] }
        guard touched.count > 1 else {
            throw FormatError(
                "map changes of extent \(first)",
                .tooLarge(what: "bytes", count: UInt64(byteCount), limit: UInt64(maximumBytes)))
        }
        let middle = touched.startIndex + touched.count / 2
        return try part.parts(touched[..<middle], geometry, maximumBytes)
            + part.parts(touched[middle...], geometry, maximumBytes)
    }

    private func restricted(to extents: ClosedRange<Int>, _ geometry: DatabaseGeometry) -> MapChanges {
        let pages =
            UInt32(
                extents.lowerBound * geometry.pagesPerExtent + 1)...UInt32(
                min(geometry.pageCount, UInt64(extents.upperBound + 1) * UInt64(geometry.pagesPerExtent)))
        return MapChanges(
            placed: placed.filter { extents.contains($0.extent) },
            continued: continued.filter { extents.contains($0.extent) },
            scatter: scatter.compactMap { $0.restricted(to: pages) })
    }
}

extension MapDecoder {
    /// - Parameter plain: what the map chunk of `reference`, in a delta manifest, opened to.
    package func changes(
        from plain: [UInt8], of reference: MapChangesReference
    ) throws(FormatError) -> MapChanges {
        let object = "map changes of extents \(reference.extents.lowerBound) to \(reference.extents.upperBound)"
        try FieldParser(object: object).check(
            !part.isFull && reference.extents.lowerBound >= 0
                && reference.extents.upperBound < part.geometry.extentCount,
            "they are no changes of this manifest")
        return try MapChanges.parse(
            plain, of: part, extents: Range(reference.extents), ownPack: reference.place.pack, object: object)
    }
}
