import Foundation
import MusterModel

extension ManifestSealedPart {
    func encoded(object: String) throws(FormatError) -> [UInt8] {
        var message = StoredManifestSealed()
        message.sourcePath = sourcePath
        message.groups = groups.map(\.message)
        message.inventory = inventory.message
        message.sourceFingerprint = sourceFingerprint
        return try StoredMessage.encode(message, object: object)
    }

    /// - Parameter part: the public part of the same manifest, which this one must fit.
    static func parse(
        _ bytes: [UInt8], of part: ManifestPublicPart, object: String
    ) throws(FormatError) -> ManifestSealedPart {
        let parser = FieldParser(object: object)
        // A group's reference takes at least its three digests.
        let mostGroups = min(part.geometry.groupCount, bytes.count / 96)
        let message = try StoredMessage.decode(
            bytes, as: StoredManifestSealed.self, fieldLimit: mostGroups + SourceInventory.maximumTables + 64,
            nested: [3], object: object)
        var groups: [MapGroupReference] = []
        groups.reserveCapacity(message.groups.count)
        for group in message.groups { groups.append(try MapGroupReference(group, parser)) }
        let sealedPart = ManifestSealedPart(
            sourcePath: try parser.text(message.sourcePath, "source_path", byteCount: 0...4096), groups: groups,
            inventory: try SourceInventory(message.inventory, parser),
            sourceFingerprint: try parser.text(message.sourceFingerprint, "source_fingerprint", byteCount: 0...1024))
        try sealedPart.checkGroups(against: part, parser)
        return sealedPart
    }

    private func checkGroups(against part: ManifestPublicPart, _ parser: FieldParser) throws(FormatError) {
        let geometry = part.geometry
        try parser.check(
            zip(groups, groups.dropFirst()).allSatisfy { $0.index < $1.index }, "its groups are not ascending")
        try parser.check((groups.last?.index ?? -1) < geometry.groupCount, "a group lies beyond the last page")
        guard part.isFull else { return }
        try parser.check(groups.count == geometry.groupCount, "a full map of \(groups.count) groups")
        for group in groups {
            try parser.check(part.packs.added.contains(group.place.pack), "a group lies in a pack that is not listed")
        }
        var hasher = TreeHasher()
        let root = hasher.contentRoot(of: groups.map(\.hash), in: geometry)
        try parser.check(root == part.contentRoot, "its groups do not hash to its content root")
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
