import CSQLite

/// Which frame of the WAL holds the newest image of a page, for pages whose newest image is not in the file.
///
/// Memory: 8 bytes for each such page. While it is built, 1 MiB and a dictionary of those pages besides, which
/// takes up to some 30 bytes for each.
struct WALOverlay {
    private static let headerBytes = 32
    private static let frameHeaderBytes = 24

    /// Sorted; `frames` runs beside it.
    private let pages: [UInt32]
    private let frames: [UInt32]
    let salt: [UInt8]
    private let pageSize: Int

    /// No frame counts: the file alone is the image.
    static let none = WALOverlay(newest: [:], salt: [], pageSize: 0)

    var isEmpty: Bool { pages.isEmpty }

    private init(newest: [UInt32: UInt32], salt: [UInt8], pageSize: Int) {
        pages = newest.keys.sorted()
        frames = pages.map { newest[$0] ?? 0 }
        self.salt = salt
        self.pageSize = pageSize
    }

    /// Reads frames `backfilled + 1` to `header.lastFrame`, checking salts and the running checksum.
    ///
    /// The chain starts from the checksum that the frame before carries (or the WAL header) and has to end in
    /// the one that the wal-index names, so every frame on the way is the one that was committed.
    init(
        wal: SQLiteFile, path: String, header: WALIndexHeader, backfilled: UInt32, pageSize: Int, pageCount: UInt64,
        checkBudget: () throws(CaptureError) -> Void
    ) throws(CaptureError) {
        var cursor = try WALFrameReader(
            wal: wal, path: path, header: header, pageSize: pageSize, startingAfter: backfilled)
        var newest: [UInt32: UInt32] = [:]
        while cursor.frame < header.lastFrame {
            try checkBudget()
            let first = cursor.frame + 1
            for (index, page) in try cursor.readBatch(upTo: header.lastFrame).enumerated()
            where UInt64(page) <= pageCount {
                newest[page] = first + UInt32(index)
            }
        }
        guard cursor.sum == header.frameChecksum, cursor.lastTruncate != 0 else {
            throw .brokenWAL(path: path, reason: "frame \(header.lastFrame) does not end the commit")
        }
        self.init(newest: newest, salt: header.salt, pageSize: pageSize)
    }

    /// Calls `body` with page number and frame number of every page of the overlay in `range`, in order.
    func forEach(
        in range: ClosedRange<UInt64>, _ body: (UInt64, UInt32) throws(CaptureError) -> Void
    ) throws(CaptureError) {
        var index = pages.partitioningIndex { UInt64($0) >= range.lowerBound }
        while index < pages.count, UInt64(pages[index]) <= range.upperBound {
            try body(UInt64(pages[index]), frames[index])
            index += 1
        }
    }

    /// Reads one page's image from its frame, checking that the frame is still that page's.
    func read(
        page: UInt64, frame: UInt32, wal: SQLiteFile, path: String, into buffer: UnsafeMutableRawBufferPointer
    ) throws(CaptureError) {
        let offset = UInt64(Self.headerBytes) + UInt64(frame - 1) * UInt64(Self.frameHeaderBytes + pageSize)
        var head = [UInt8](repeating: 0, count: Self.frameHeaderBytes)
        let headCode = unsafe head.withUnsafeMutableBytes { unsafe wal.read(at: offset, into: $0) }
        let code = unsafe wal.read(at: offset + UInt64(Self.frameHeaderBytes), into: buffer)
        guard headCode == SQLITE_OK, code == SQLITE_OK else {
            throw .inputOutput(path: path + "-wal", reason: "frame \(frame) cannot be read (\(code))")
        }
        guard head[0..<4].elementsEqual(bigEndian32(UInt32(page))), head[8..<16].elementsEqual(salt) else {
            throw .brokenWAL(path: path, reason: "frame \(frame) was overwritten")
        }
    }
}

/// Walks over the frames of a WAL in big reads and proves their chain.
private struct WALFrameReader {
    private static let batchBytes = 1 << 20

    private let wal: SQLiteFile
    private let path: String
    private let salt: [UInt8]
    private let isBigEndian: Bool
    private let pageSize: Int
    private(set) var frame: UInt32
    private(set) var sum: WALChecksum
    /// The size in pages that the last frame commits, 0 inside a transaction.
    private(set) var lastTruncate: UInt32 = 0
    private var buffer: [UInt8]

    private var frameBytes: Int { 24 + pageSize }

    init(
        wal: SQLiteFile, path: String, header: WALIndexHeader, pageSize: Int, startingAfter frame: UInt32
    ) throws(CaptureError) {
        (self.wal, self.path, self.pageSize, self.frame) = (wal, path, pageSize, frame)
        (salt, isBigEndian) = (header.salt, header.isBigEndianChecksum)
        buffer = [UInt8](repeating: 0, count: 0)
        sum = WALChecksum(first: 0, second: 0)
        let head = try Self.read(wal, path, at: 0, count: 32)
        var computed: [UInt32] = [0, 0]
        unsafe csqlite_wal_checksum(isBigEndian ? 1 : 0, head, 24, &computed)
        // fileformat2.html 4.1: magic, version, page size, sequence, salt, checksum.
        let magic: UInt32 = isBigEndian ? 0x377f_0683 : 0x377f_0682
        guard bigEndian32(head, at: 0) == magic, bigEndian32(head, at: 4) == WALIndex.knownVersion,
            Int(bigEndian32(head, at: 8)) == pageSize, head[16..<24].elementsEqual(salt),
            bigEndian32(head, at: 24) == computed[0], bigEndian32(head, at: 28) == computed[1]
        else { throw .brokenWAL(path: path, reason: "its header is another generation's") }
        sum = WALChecksum(first: computed[0], second: computed[1])
        guard frame > 0 else { return }
        let before = try Self.read(wal, path, at: 32 + UInt64(frame - 1) * UInt64(24 + pageSize), count: 24)
        guard before[8..<16].elementsEqual(salt) else {
            throw .brokenWAL(path: path, reason: "frame \(frame) is another generation's")
        }
        sum = WALChecksum(first: bigEndian32(before, at: 16), second: bigEndian32(before, at: 20))
    }

    /// - Returns: the page numbers of the next frames, at least one.
    mutating func readBatch(upTo last: UInt32) throws(CaptureError) -> [UInt32] {
        let count = min(Int(last - frame), max(1, Self.batchBytes / frameBytes))
        buffer = try Self.read(wal, path, at: 32 + UInt64(frame) * UInt64(frameBytes), count: count * frameBytes)
        var pages = [UInt32](repeating: 0, count: count)
        var running = [sum.first, sum.second]
        let good = unsafe csqlite_wal_verify_frames(
            buffer, Int32(count), Int32(pageSize), isBigEndian ? 1 : 0, salt, &running, &pages, &lastTruncate)
        guard Int(good) == count else {
            throw .brokenWAL(path: path, reason: "frame \(frame + UInt32(good) + 1) fails its checksum")
        }
        sum = WALChecksum(first: running[0], second: running[1])
        frame += UInt32(count)
        return pages
    }

    private static func read(
        _ wal: SQLiteFile, _ path: String, at offset: UInt64, count: Int
    ) throws(CaptureError) -> [UInt8] {
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

extension Array {
    /// The first index whose element is `isSecond`; elements that are not come first.
    fileprivate func partitioningIndex(where isSecond: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = low + (high - low) / 2
            if isSecond(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
