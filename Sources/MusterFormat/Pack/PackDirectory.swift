package import MusterModel

/// The last 16 bytes of a pack, which tell where its directory is.
package struct PackTrailer: Sendable, Hashable {
    package static let byteCount = 16
    /// The shortest seal holds one byte.
    private static let minimumChunkBytes = SealHeader.overheadBytes + 1

    package let chunkCount: Int
    package let directoryRange: Range<Int>

    /// - Parameters:
    ///   - bytes: the pack's last 16.
    ///   - packByteCount: the length of the whole pack.
    package init(_ bytes: [UInt8], packByteCount: Int, pack: PackID) throws(FormatError) {
        let object = "pack \(pack)"
        let minimum = Magic.byteCount + Self.minimumChunkBytes + PackEntry.byteCount + Self.byteCount
        guard packByteCount >= minimum, packByteCount <= Format.maximumPackBytes, bytes.count == Self.byteCount else {
            throw .malformed(object, "no pack has \(packByteCount) bytes")
        }
        var reader = ByteReader(bytes, object: object)
        let count: UInt32 = try reader.takeInteger("chunk count")
        let length: UInt32 = try reader.takeInteger("directory length")
        try reader.takeMagic(.packEnd)
        let mostChunks = (packByteCount - minimum) / (Self.minimumChunkBytes + PackEntry.byteCount) + 1
        guard count >= 1, Int(count) <= mostChunks, Int(length) == Int(count) * PackEntry.byteCount else {
            throw .malformed(object, "a directory of \(count) chunks in \(length) bytes")
        }
        let end = packByteCount - Self.byteCount
        (chunkCount, directoryRange) = (Int(count), end - Int(length)..<end)
    }
}

/// Which chunks are where in one pack; every byte of the pack is accounted for.
package struct PackDirectory: Sendable, Hashable {
    package let pack: PackID
    package let packByteCount: Int
    package let entries: [PackEntry]

    /// - Parameter bytes: those of `trailer.directoryRange`.
    package init(_ bytes: [UInt8], trailer: PackTrailer, pack: PackID) throws(FormatError) {
        var reader = ByteReader(bytes, object: "pack \(pack)")
        let parser = FieldParser(object: reader.object)
        try parser.check(bytes.count == trailer.directoryRange.count, "its directory was not read whole")
        var entries: [PackEntry] = []
        entries.reserveCapacity(trailer.chunkCount)
        var end = Magic.byteCount
        for _ in 0..<trailer.chunkCount {
            let id: ChunkID = try parser.digest(try reader.take(32, "chunk id"), "chunk id")
            let offset: UInt32 = try reader.takeInteger("offset")
            let length: UInt32 = try reader.takeInteger("length")
            try parser.check(Int(offset) == end, "chunk \(id) does not begin where the one before it ends")
            try parser.check(
                (SealHeader.overheadBytes + 1...Self.maximumSealedBytes).contains(Int(length)),
                "chunk \(id) has \(length) bytes")
            entries.append(PackEntry(id: id, offset: Int(offset), byteCount: Int(length)))
            end += Int(length)
        }
        try parser.check(end == trailer.directoryRange.lowerBound, "its chunks do not end at its directory")
        try parser.check(Set(entries.lazy.map(\.id)).count == entries.count, "a chunk is listed twice")
        (self.pack, self.entries) = (pack, entries)
        packByteCount = trailer.directoryRange.upperBound + PackTrailer.byteCount
    }

    private static let maximumSealedBytes = Format.maximumPlainChunkBytes + SealHeader.overheadBytes

    /// Reads the directory of a pack with two reads.
    ///
    /// - Parameter read: returns the bytes of a range of the pack.
    package static func read(
        of pack: PackID, packByteCount: Int, read: (Range<Int>) throws -> [UInt8]
    ) throws -> PackDirectory {
        guard (PackTrailer.byteCount...Format.maximumPackBytes).contains(packByteCount) else {
            throw FormatError.malformed("pack \(pack)", "no pack has \(packByteCount) bytes")
        }
        let trailer = try PackTrailer(
            try read(packByteCount - PackTrailer.byteCount..<packByteCount), packByteCount: packByteCount, pack: pack)
        return try PackDirectory(try read(trailer.directoryRange), trailer: trailer, pack: pack)
    }

    /// Checks, without a key, that every chunk has the id that the directory gives it.
    ///
    /// - Parameter read: returns the bytes of a range of the pack; asked for one chunk at a time.
    package func checkChunks(read: (Range<Int>) throws -> [UInt8]) throws {
        guard try read(0..<Magic.byteCount) == Magic.pack.bytes else {
            throw FormatError.malformed("pack \(pack)", "it does not begin with \(Magic.pack.rawValue)")
        }
        var hasher = SHA256Hasher()
        for entry in entries { try Self.check(try read(entry.range), entry, of: pack, hasher: &hasher) }
    }

    /// Checks one chunk's bytes against its entry.
    package func check(_ bytes: [UInt8], is entry: PackEntry) throws(FormatError) {
        var hasher = SHA256Hasher()
        try Self.check(bytes, entry, of: pack, hasher: &hasher)
    }

    private static func check(
        _ bytes: [UInt8], _ entry: PackEntry, of pack: PackID, hasher: inout SHA256Hasher
    ) throws(FormatError) {
        hasher.update(bytes)
        let actual: ChunkID = hasher.finish()
        let object = "chunk \(entry.id) in pack \(pack)"
        guard actual == entry.id else {
            throw FormatError(object, .wrongHash(expected: entry.id.description, actual: actual.description))
        }
        guard bytes.count == entry.byteCount else { throw .malformed(object, "it was not read whole") }
        guard bytes[0] == Format.version else { throw FormatError(object, .unknownVersion(UInt64(bytes[0]))) }
        guard let kind = SealedKind(rawValue: bytes[1] >> 4), kind != .manifest, bytes[1] & 15 <= 1 else {
            throw .malformed(object, "seal type \(bytes[1])")
        }
    }
}
