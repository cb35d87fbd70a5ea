import MusterFormat
package import MusterModel

/// What the ledger knows of one extent as the newest snapshot has it.
package struct ExtentRecord: Sendable, Equatable {
    /// A page that does not come from the extent's own chunk.
    package struct Supply: Sendable, Equatable {
        /// Position of the page in the extent, from 0.
        package var page: Int
        /// Number of the scatter or difference chunk in the ledger.
        package var scatter: UInt32
        /// Bytes of the difference, or of the raw page.
        package var byteCount: Int

        package init(page: Int, scatter: UInt32, byteCount: Int) {
            (self.page, self.scatter, self.byteCount) = (page, scatter, byteCount)
        }
    }

    package var extent: Int
    /// The newest snapshot whose map had to say something new of it.
    package var changed: UInt64
    /// The snapshot that placed its chunk where it is.
    package var placed: UInt64
    /// Number of the pack in the ledger.
    package var pack: UInt32
    package var offset: Int
    package var byteCount: Int
    package var chunk: ChunkID
    /// Pages in the chunk: the extent may have grown or shrunk since.
    package var chunkPages: Int
    /// Of the extent as it is now.
    package var hash: ExtentHash
    package var pageHashes: [PageHash]
    /// Ascending by page.
    package var supplies: [Supply]

    package init(
        extent: Int, changed: UInt64, placed: UInt64, pack: UInt32, offset: Int, byteCount: Int, chunk: ChunkID,
        chunkPages: Int, hash: ExtentHash, pageHashes: [PageHash], supplies: [Supply] = []
    ) {
        (self.extent, self.changed, self.placed) = (extent, changed, placed)
        (self.pack, self.offset, self.byteCount, self.chunk) = (pack, offset, byteCount, chunk)
        (self.chunkPages, self.hash, self.pageHashes, self.supplies) = (chunkPages, hash, pageHashes, supplies)
    }
}

/// The record's bytes in the state file, without the columns that the file searches by (extent, changed, pack).
extension ExtentRecord {
    /// placed, offset, length, pages in the chunk, pages, supplies; chunk id, hash; page hashes; supplies.
    package var body: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(88 + 32 * pageHashes.count + 12 * supplies.count)
        append(UInt32(truncatingIfNeeded: placed), to: &bytes)
        append(UInt32(truncatingIfNeeded: placed >> 32), to: &bytes)
        for number in [offset, byteCount, chunkPages, pageHashes.count, supplies.count] {
            append(UInt32(number), to: &bytes)
        }
        bytes += chunk.bytes
        bytes += hash.bytes
        for hash in pageHashes { bytes += hash.bytes }
        for supply in supplies {
            append(UInt32(supply.page), to: &bytes)
            append(supply.scatter, to: &bytes)
            append(UInt32(supply.byteCount), to: &bytes)
        }
        return bytes
    }

    private func append(_ value: UInt32, to bytes: inout [UInt8]) {
        bytes.append(UInt8(truncatingIfNeeded: value))
        bytes.append(UInt8(truncatingIfNeeded: value >> 8))
        bytes.append(UInt8(truncatingIfNeeded: value >> 16))
        bytes.append(UInt8(truncatingIfNeeded: value >> 24))
    }

    /// - Returns: nil where `body` is not a record's.
    package init?(extent: Int, changed: UInt64, pack: UInt32, body: [UInt8]) {
        guard body.count >= 92 else { return nil }
        func word(_ offset: Int) -> UInt32 {
            UInt32(body[offset]) | UInt32(body[offset + 1]) << 8 | UInt32(body[offset + 2]) << 16
                | UInt32(body[offset + 3]) << 24
        }
        let (pageCount, supplyCount) = (Int(word(20)), Int(word(24)))
        guard (1...4096).contains(pageCount), supplyCount <= pageCount,
            body.count == 92 + 32 * pageCount + 12 * supplyCount,
            let chunk = ChunkID(bytes: body[28..<60]), let hash = ExtentHash(bytes: body[60..<92])
        else { return nil }
        self.init(
            extent: extent, changed: changed, placed: UInt64(word(0)) | UInt64(word(4)) << 32, pack: pack,
            offset: Int(word(8)), byteCount: Int(word(12)), chunk: chunk, chunkPages: Int(word(16)), hash: hash,
            pageHashes: (0..<pageCount).compactMap { PageHash(bytes: body[92 + 32 * $0..<124 + 32 * $0]) })
        let start = 92 + 32 * pageCount
        supplies = (0..<supplyCount).map { index in
            let offset = start + 12 * index
            return Supply(page: Int(word(offset)), scatter: word(offset + 4), byteCount: Int(word(offset + 8)))
        }
    }
}
