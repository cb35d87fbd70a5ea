import CSQLite

/// The bytes of a WAL: of SQLite's own open file, or of a descriptor of ours.
protocol WALBytes {
    /// - Returns: `SQLITE_OK`, `SQLITE_IOERR_SHORT_READ` where the file ends inside the range, or another code.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int32
}

extension SQLiteFile: WALBytes {}

/// Where things are in a WAL (sqlite.org/fileformat2.html, 4.1).
enum WALLayout {
    static let headerBytes = 32
    static let frameHeaderBytes = 24

    /// - Parameter frame: counted from 1.
    static func offset(ofFrame frame: UInt32, pageSize: Int) -> UInt64 {
        UInt64(headerBytes) + UInt64(frame - 1) * UInt64(frameHeaderBytes + pageSize)
    }
}

/// Walks over the frames of a WAL in big reads and proves their chain.
struct WALFrameReader<Bytes: WALBytes> {
    struct Batch {
        /// The page that each frame holds.
        var pages: [UInt32]
        /// The size in pages that each frame commits, 0 inside a transaction.
        var commits: [UInt32]
    }

    private let wal: Bytes
    private let path: String
    private let salt: [UInt8]
    private let isBigEndian: Bool
    private let pageSize: Int
    private(set) var frame: UInt32
    private(set) var sum = WALChecksum(first: 0, second: 0)
    private(set) var endsCommit = false

    private var frameBytes: Int { WALLayout.frameHeaderBytes + pageSize }

    init(
        wal: Bytes, path: String, header: WALIndexHeader, pageSize: Int, startingAfter frame: UInt32
    ) throws(CaptureError) {
        (self.wal, self.path, self.pageSize, self.frame) = (wal, path, pageSize, frame)
        (salt, isBigEndian) = (header.salt, header.isBigEndianChecksum)
        let head = try read(at: 0, count: WALLayout.headerBytes)
        var computed: [UInt32] = [0, 0]
        unsafe csqlite_wal_checksum(isBigEndian ? 1 : 0, head, 24, &computed)
        // fileformat2.html 4.1: magic, version, page size, sequence, salt, checksum.
        let magic: UInt32 = isBigEndian ? 0x377f_0683 : 0x377f_0682
        guard bigEndian32(head, at: 0) == magic, bigEndian32(head, at: 4) == WALIndex.knownVersion,
            Int(bigEndian32(head, at: 8)) == pageSize, head[16..<24].elementsEqual(salt),
            bigEndian32(head, at: 24) == computed[0], bigEndian32(head, at: 28) == computed[1]
        else { throw .brokenWAL(path: path, reason: "its header is another generation's") }
        sum = WALChecksum(first: computed[0], second: computed[1])
        if frame > 0 { sum = try frameHead(frame).sum }
    }

    struct FrameHead {
        let page: UInt32
        let commit: UInt32
        /// Of the WAL up to this frame, as the frame says.
        let sum: WALChecksum
    }

    /// What the header of one frame of this generation says; its page is not looked at.
    func frameHead(_ frame: UInt32) throws(CaptureError) -> FrameHead {
        let head = try read(at: WALLayout.offset(ofFrame: frame, pageSize: pageSize), count: WALLayout.frameHeaderBytes)
        guard head[8..<16].elementsEqual(salt) else {
            throw .brokenWAL(path: path, reason: "frame \(frame) is another generation's")
        }
        return FrameHead(
            page: bigEndian32(head, at: 0), commit: bigEndian32(head, at: 4),
            sum: WALChecksum(first: bigEndian32(head, at: 16), second: bigEndian32(head, at: 20)))
    }

    /// - Returns: the next frames, at least one.
    mutating func readBatch(upTo last: UInt32) throws(CaptureError) -> Batch {
        let count = min(Int(last - frame), max(1, (1 << 20) / frameBytes))
        let buffer = try read(
            at: WALLayout.offset(ofFrame: frame + 1, pageSize: pageSize), count: count * frameBytes)
        var batch = Batch(
            pages: [UInt32](repeating: 0, count: count), commits: [UInt32](repeating: 0, count: count))
        var running = [sum.first, sum.second]
        let good = unsafe csqlite_wal_verify_frames(
            buffer, Int32(count), Int32(pageSize), isBigEndian ? 1 : 0, salt, &running, &batch.pages, &batch.commits)
        guard Int(good) == count else {
            throw .brokenWAL(path: path, reason: "frame \(frame + UInt32(good) + 1) fails its checksum")
        }
        sum = WALChecksum(first: running[0], second: running[1])
        frame += UInt32(count)
        endsCommit = batch.commits.last != 0
        return batch
    }

    private func read(at offset: UInt64, count: Int) throws(CaptureError) -> [UInt8] {
        var code = SQLITE_OK
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialised in
            let target = unsafe UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count)
            code = unsafe wal.read(at: offset, into: target)
            initialised = code == SQLITE_OK || code == csqlite_ioerr_short_read ? count : 0
        }
        if code == csqlite_ioerr_short_read {
            throw .brokenWAL(path: path, reason: "it ends before byte \(offset + UInt64(count))")
        }
        guard code == SQLITE_OK else {
            throw .inputOutput(path: path + "-wal", reason: "SQLite code \(code) at byte \(offset)")
        }
        return bytes
    }
}

func bigEndian32(_ bytes: [UInt8], at offset: Int) -> UInt32 {
    bytes[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
}

func bigEndian32(_ value: UInt32) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
}
