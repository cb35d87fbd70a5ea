package import MusterModel

/// Where one sealed chunk is in a pack.
package struct PackEntry: Sendable, Hashable {
    static let byteCount = 40
    package let id: ChunkID
    package let offset: Int
    package let byteCount: Int

    package var range: Range<Int> { offset..<offset + byteCount }
}

/// A whole pack in memory, ready to be stored under its id.
package struct Pack: Sendable {
    package let id: PackID
    package let bytes: [UInt8]
    package let entries: [PackEntry]
}

/// Collects sealed chunks into one pack.
package struct PackBuilder: Sendable {
    private var bytes: [UInt8] = Magic.pack.bytes
    package private(set) var entries: [PackEntry] = []
    private var known: [ChunkID: Int] = [:]

    package init() {}

    package var isEmpty: Bool { entries.isEmpty }

    /// How long the pack would be if it were finished now.
    package var byteCount: Int { bytes.count + entries.count * PackEntry.byteCount + PackTrailer.byteCount }

    /// True once another chunk would only make a large pack larger: finish it and begin the next.
    package var isFull: Bool { byteCount >= Format.targetPackBytes }

    /// Adds a chunk, or finds it where it is already.
    ///
    /// All chunks of one pack are sealed under one key epoch. The pack must not be full: so it stays below 64 MiB.
    ///
    /// - Returns: where the chunk is in this pack.
    @discardableResult
    package mutating func append(_ chunk: SealedChunk) -> PackEntry {
        if let index = known[chunk.id] { return entries[index] }
        precondition(!isFull, "a full pack takes no more chunks")
        let entry = PackEntry(id: chunk.id, offset: bytes.count, byteCount: chunk.bytes.count)
        bytes += chunk.bytes
        known[chunk.id] = entries.count
        entries.append(entry)
        return entry
    }

    /// Writes the directory behind the chunks; there must be at least one.
    package consuming func finish() -> Pack {
        precondition(!entries.isEmpty, "a pack holds at least one chunk")
        bytes.reserveCapacity(byteCount)
        for entry in entries {
            bytes += entry.id.bytes
            bytes += littleEndianBytes(UInt32(entry.offset))
            bytes += littleEndianBytes(UInt32(entry.byteCount))
        }
        bytes += littleEndianBytes(UInt32(entries.count))
        bytes += littleEndianBytes(UInt32(entries.count * PackEntry.byteCount))
        bytes += Magic.packEnd.bytes
        return Pack(id: SHA256Hasher.hash(bytes), bytes: bytes, entries: entries)
    }
}
