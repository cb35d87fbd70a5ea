package import MusterModel

/// What a manifest says to the holder of the scope's keys.
package struct ManifestSealedPart: Sendable, Hashable {
    /// At most 4096 bytes.
    package var sourcePath: String
    package var map: ManifestMap
    package var inventory: SourceInventory
    /// Of the source file as it was captured, at most 1024 bytes.
    package var sourceFingerprint: String

    package init(
        sourcePath: String, map: ManifestMap, inventory: SourceInventory, sourceFingerprint: String
    ) {
        (self.sourcePath, self.map) = (sourcePath, map)
        (self.inventory, self.sourceFingerprint) = (inventory, sourceFingerprint)
    }
}

/// Where a sealed chunk is, so that one ranged read fetches it, and which keys open it.
package struct ChunkPlace: Sendable, Hashable {
    package var pack: PackID
    package var offset: Int
    package var byteCount: Int
    package var chunk: ChunkID
    package var keyEpoch: UInt32

    package init(pack: PackID, offset: Int, byteCount: Int, chunk: ChunkID, keyEpoch: UInt32) {
        (self.pack, self.offset, self.byteCount) = (pack, offset, byteCount)
        (self.chunk, self.keyEpoch) = (chunk, keyEpoch)
    }

    package init(_ entry: PackEntry, in pack: PackID, keyEpoch: UInt32) {
        self.init(pack: pack, offset: entry.offset, byteCount: entry.byteCount, chunk: entry.id, keyEpoch: keyEpoch)
    }

    package var range: Range<Int> { offset..<offset + byteCount }

    /// Refuses a place that no pack has.
    func check(_ parser: FieldParser) throws(FormatError) {
        let overhead = SealHeader.overheadBytes
        try parser.check(
            offset >= Magic.byteCount
                && (overhead + 1...Format.maximumPlainChunkBytes + overhead).contains(byteCount)
                && offset + byteCount <= Format.maximumPackBytes,
            "chunk \(chunk) at \(offset) with \(byteCount) bytes is in no pack")
    }
}

/// What the database said about itself when it was captured.
package struct SourceInventory: Sendable, Hashable {
    package static let maximumTables = 10_000
    private static let maximumNameBytes = 1024

    package struct Table: Sendable, Hashable {
        package var name: String
        package var rowEstimate: UInt64

        package init(name: String, rowEstimate: UInt64) { (self.name, self.rowEstimate) = (name, rowEstimate) }
    }

    package var userVersion: Int32
    package var applicationID: UInt32
    /// SHA-256 of the schema's text; nil where it could not be read.
    package var schemaHash: Digest<SchemaKind>?
    /// At most 32 bytes.
    package var journalMode: String
    /// 0 none, 1 full, 2 incremental.
    package var autoVacuum: UInt32
    /// 0 none yet, 1 UTF-8, 2 UTF-16le, 3 UTF-16be.
    package var encoding: UInt32
    /// SQLITE_VERSION_NUMBER of the last writer, from the header.
    package var writerVersion: UInt32
    package private(set) var tables: [Table]
    /// How many there are, listed or not.
    package private(set) var tableCount: Int

    /// Keeps the first 10,000 tables with names of at most 1024 bytes: an odd schema must not stop a backup.
    package init(
        userVersion: Int32, applicationID: UInt32, schemaHash: Digest<SchemaKind>?, journalMode: String,
        autoVacuum: UInt32, encoding: UInt32, writerVersion: UInt32, tables: [Table]
    ) {
        (self.userVersion, self.applicationID, self.schemaHash) = (userVersion, applicationID, schemaHash)
        (self.journalMode, self.autoVacuum) = (journalMode, autoVacuum)
        (self.encoding, self.writerVersion, tableCount) = (encoding, writerVersion, tables.count)
        self.tables = Array(
            tables.lazy.filter { $0.name.utf8.count <= Self.maximumNameBytes }.prefix(Self.maximumTables))
    }

    /// For what was parsed: refuses what the other one would have left out.
    init(parsed other: SourceInventory, tableCount: UInt64, listed: Int, _ parser: FieldParser) throws(FormatError) {
        self = other
        try parser.check(
            tables.count == listed && tableCount >= UInt64(listed) && tableCount <= 1 << 31,
            "\(tableCount) tables, \(listed) of them listed")
        self.tableCount = Int(tableCount)
    }
}

package enum SchemaKind {}
