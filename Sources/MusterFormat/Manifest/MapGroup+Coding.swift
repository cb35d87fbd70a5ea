import Foundation
package import MusterModel

extension MapGroup {
    /// The plain bytes of the group's map chunk; equal groups give equal bytes.
    ///
    /// - Parameter geometry: of the manifest that the group is written for.
    package func encoded(in geometry: DatabaseGeometry) throws(FormatError) -> [UInt8] {
        var message = StoredMapGroup()
        message.index = UInt32(index)
        var table = PackTable()
        let first = index * DatabaseGeometry.extentsPerGroup
        let columns = ExtentColumns(extents, in: geometry, &table)
        message.extent = extents.map { UInt32($0.extent - first) }
        message.extentPack = columns.pack
        message.extentOffset = columns.offset
        message.extentLength = columns.length
        message.extentPages = columns.pages
        message.extentChunks = columns.chunks
        message.extentHashes = columns.hashes
        message.scatter = scatter.map { $0.message(&table) }
        message.packs = table.encodedPacks
        message.packEpochs = table.epochs
        return try StoredMessage.encode(message, object: "map of group \(index)")
    }
}

/// Reads the map chunks of one manifest, refusing what does not fit it.
package struct MapDecoder: Sendable {
    static let fieldLimit = Format.maximumPlainChunkBytes / 16

    let part: ManifestPublicPart
    private var geometry: DatabaseGeometry { part.geometry }

    package init(_ part: ManifestPublicPart) { self.part = part }

    /// - Parameter plain: what the map chunk of `reference`, in a full manifest, opened to.
    package func group(from plain: [UInt8], of reference: MapGroupReference) throws(FormatError) -> MapGroup {
        let parser = FieldParser(object: "map of group \(reference.index)")
        let message = try StoredMessage.decode(
            plain, as: StoredMapGroup.self, fieldLimit: Self.fieldLimit, object: parser.object)
        try parser.check(part.isFull, "a delta has no groups")
        try parser.check(
            Int(message.index) == reference.index && reference.index < geometry.groupCount,
            "it is of group \(message.index)")
        let table = try PackTable(
            packs: message.packs, epochs: message.packEpochs, ownPack: reference.place.pack, of: part, parser)
        let range = geometry.extents(ofGroup: reference.index)
        let extents = message.extent.map { range.lowerBound + Int($0) }
        try parser.check(
            extents.elementsEqual(range), "its \(extents.count) extents are not the \(range.count) of the group")
        let columns = ExtentColumns(
            pack: message.extentPack, offset: message.extentOffset, length: message.extentLength,
            pages: message.extentPages, chunks: message.extentChunks, hashes: message.extentHashes)
        let entries = try columns.entries(of: extents, in: geometry, table, parser)
        var hasher = TreeHasher()
        try parser.check(
            hasher.groupHash(of: entries.map(\.hash)) == reference.hash,
            "its extents do not hash to the group's hash")
        var scatter: [ScatterEntry] = []
        for entry in message.scatter {
            scatter.append(try ScatterEntry(entry, table, geometry: geometry, extents: range, parser))
        }
        return MapGroup(index: reference.index, extents: entries, scatter: scatter)
    }
}
