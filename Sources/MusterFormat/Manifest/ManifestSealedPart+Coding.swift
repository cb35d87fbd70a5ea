import Foundation
import MusterModel

extension ManifestSealedPart {
    func encoded(in geometry: DatabaseGeometry, object: String) throws(FormatError) -> [UInt8] {
        var message = StoredManifestSealed()
        message.sourcePath = sourcePath
        switch map {
        case .groups(let groups): message.groups = groups.map(\.message)
        case .changes(let changes): message.changes = Data(try changes.encoded(in: geometry))
        case .changeChunks(let chunks): message.changeChunks = chunks.map(\.message)
        }
        message.inventory = inventory.message
        message.sourceFingerprint = sourceFingerprint
        return try StoredMessage.encode(message, object: object)
    }

    /// - Parameter part: the public part of the same manifest, which this one must fit.
    static func parse(
        _ bytes: [UInt8], of part: ManifestPublicPart, object: String
    ) throws(FormatError) -> ManifestSealedPart {
        let parser = FieldParser(object: object)
        // A reference takes at least its digests.
        let mostReferences =
            part.isFull
            ? min(part.geometry.groupCount, bytes.count / 96) : min(part.geometry.extentCount, bytes.count / 64)
        let message = try StoredMessage.decode(
            bytes, as: StoredManifestSealed.self, fieldLimit: mostReferences + SourceInventory.maximumTables + 64,
            nested: [3], object: object)
        return ManifestSealedPart(
            sourcePath: try parser.text(message.sourcePath, "source_path", byteCount: 0...4096),
            map: try part.isFull ? groups(message, of: part, parser) : changes(message, of: part, parser),
            inventory: try SourceInventory(message.inventory, parser),
            sourceFingerprint: try parser.text(message.sourceFingerprint, "source_fingerprint", byteCount: 0...1024))
    }

    private static func groups(
        _ message: StoredManifestSealed, of part: ManifestPublicPart, _ parser: FieldParser
    ) throws(FormatError) -> ManifestMap {
        try parser.check(!message.hasChanges && message.changeChunks.isEmpty, "a full map with changes")
        var groups: [MapGroupReference] = []
        groups.reserveCapacity(message.groups.count)
        for group in message.groups { groups.append(try MapGroupReference(group, parser)) }
        try parser.check(
            groups.map(\.index).elementsEqual(0..<part.geometry.groupCount),
            "its \(groups.count) groups are not the \(part.geometry.groupCount) of the database")
        for group in groups {
            try parser.check(part.packs.added.contains(group.place.pack), "a group lies in a pack that is not listed")
        }
        var hasher = TreeHasher()
        let root = hasher.contentRoot(of: groups.map(\.hash), in: part.geometry)
        try parser.check(root == part.contentRoot, "its groups do not hash to its content root")
        return .groups(groups)
    }

    private static func changes(
        _ message: StoredManifestSealed, of part: ManifestPublicPart, _ parser: FieldParser
    ) throws(FormatError) -> ManifestMap {
        try parser.check(message.groups.isEmpty, "a delta map with groups")
        try parser.check(
            message.hasChanges == message.changeChunks.isEmpty,
            "a delta map's changes are in one place, not in none or two")
        guard message.changeChunks.isEmpty else {
            var chunks: [MapChangesReference] = []
            chunks.reserveCapacity(message.changeChunks.count)
            for chunk in message.changeChunks { chunks.append(try MapChangesReference(chunk, of: part, parser)) }
            try parser.check(
                zip(chunks, chunks.dropFirst()).allSatisfy { $0.extents.upperBound < $1.extents.lowerBound },
                "its change chunks are not ascending")
            return .changeChunks(chunks)
        }
        try parser.check(
            message.changes.count <= MapChanges.maximumInlineBytes, "\(message.changes.count) bytes of changes")
        return .changes(
            try MapChanges.parse(
                Array(message.changes), of: part, extents: 0..<part.geometry.extentCount, ownPack: nil,
                object: parser.object))
    }
}

extension MapChangesReference {
    fileprivate init(
        _ message: StoredMapChangesReference, of part: ManifestPublicPart, _ parser: FieldParser
    ) throws(FormatError) {
        let (first, last) = (Int(message.firstExtent), Int(message.lastExtent))
        try parser.check(
            first <= last && last < part.geometry.extentCount, "a change chunk of extents \(first) to \(last)")
        extents = first...last
        place = ChunkPlace(
            pack: try parser.digest(message.pack, "a change chunk's pack"), offset: Int(message.offset),
            byteCount: Int(message.sealedLength), chunk: try parser.digest(message.chunk, "a change chunk's id"),
            keyEpoch: message.keyEpoch)
        try place.check(parser)
        try parser.check(!part.packs.dropped.contains(place.pack), "a change chunk lies in a pack that was dropped")
        plainByteCount = Int(message.plainLength)
        try parser.check(
            (1...SealedKind.map.maximumPlainBytes).contains(plainByteCount), "a map chunk of \(plainByteCount) bytes")
    }

    fileprivate var message: StoredMapChangesReference {
        var message = StoredMapChangesReference()
        message.firstExtent = UInt32(extents.lowerBound)
        message.lastExtent = UInt32(extents.upperBound)
        message.pack = Data(place.pack.bytes)
        message.offset = UInt32(place.offset)
        message.sealedLength = UInt32(place.byteCount)
        message.plainLength = UInt32(plainByteCount)
        message.chunk = Data(place.chunk.bytes)
        message.keyEpoch = place.keyEpoch
        return message
    }
}

extension MapGroupReference {
    fileprivate init(_ message: StoredMapGroupReference, _ parser: FieldParser) throws(FormatError) {
        index = Int(message.index)
        place = ChunkPlace(
            pack: try parser.digest(message.pack, "a group's pack"), offset: Int(message.offset),
            byteCount: Int(message.sealedLength), chunk: try parser.digest(message.chunk, "a group's chunk"),
            keyEpoch: message.keyEpoch)
        try place.check(parser)
        plainByteCount = Int(message.plainLength)
        try parser.check(
            (1...SealedKind.map.maximumPlainBytes).contains(plainByteCount), "a map chunk of \(plainByteCount) bytes")
        hash = try parser.digest(message.groupHash, "a group's hash")
    }

    fileprivate var message: StoredMapGroupReference {
        var message = StoredMapGroupReference()
        message.index = UInt32(index)
        message.pack = Data(place.pack.bytes)
        message.offset = UInt32(place.offset)
        message.sealedLength = UInt32(place.byteCount)
        message.plainLength = UInt32(plainByteCount)
        message.chunk = Data(place.chunk.bytes)
        message.keyEpoch = place.keyEpoch
        message.groupHash = Data(hash.bytes)
        return message
    }
}

extension SourceInventory {
    fileprivate init(_ message: StoredInventory, _ parser: FieldParser) throws(FormatError) {
        try parser.check(message.autoVacuum <= 2 && message.encoding <= 3, "auto_vacuum or encoding is out of range")
        let inventory = SourceInventory(
            userVersion: message.userVersion, applicationID: message.applicationID,
            schemaHash: message.schemaHash.isEmpty ? nil : try parser.digest(message.schemaHash, "schema_hash"),
            journalMode: try parser.text(message.journalMode, "journal_mode", byteCount: 0...32),
            autoVacuum: message.autoVacuum, encoding: message.encoding, writerVersion: message.writerVersion,
            tables: message.tables.map { Table(name: $0.name, rowEstimate: $0.rowEstimate) })
        try self.init(
            parsed: inventory, tableCount: message.tableCount, listed: message.tables.count, parser)
    }

    fileprivate var message: StoredInventory {
        var message = StoredInventory()
        message.userVersion = userVersion
        message.applicationID = applicationID
        message.schemaHash = schemaHash.map { Data($0.bytes) } ?? Data()
        message.journalMode = journalMode
        message.autoVacuum = autoVacuum
        message.encoding = encoding
        message.writerVersion = writerVersion
        message.tables = tables.map { table in
            var message = StoredTableEstimate()
            message.name = table.name
            message.rowEstimate = table.rowEstimate
            return message
        }
        message.tableCount = UInt64(tableCount)
        return message
    }
}
