import CSQLite

/// Which frame of the WAL holds the newest image of a page, for pages whose newest image is not in the file.
///
/// Memory: 8 bytes for each such page. While it is built, 1 MiB and a dictionary of those pages besides, which
/// takes up to some 30 bytes for each.
struct WALOverlay {
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
            for (index, page) in try cursor.readBatch(upTo: header.lastFrame).pages.enumerated()
            where UInt64(page) <= pageCount {
                newest[page] = first + UInt32(index)
            }
        }
        guard cursor.sum == header.frameChecksum, cursor.endsCommit else {
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
        let offset = WALLayout.offset(ofFrame: frame, pageSize: pageSize)
        var head = [UInt8](repeating: 0, count: WALLayout.frameHeaderBytes)
        let headCode = unsafe head.withUnsafeMutableBytes { unsafe wal.read(at: offset, into: $0) }
        let code = unsafe wal.read(at: offset + UInt64(WALLayout.frameHeaderBytes), into: buffer)
        guard headCode == SQLITE_OK, code == SQLITE_OK else {
            throw .inputOutput(path: path + "-wal", reason: "frame \(frame) cannot be read (\(code))")
        }
        guard head[0..<4].elementsEqual(bigEndian32(UInt32(page))), head[8..<16].elementsEqual(salt) else {
            throw .brokenWAL(path: path, reason: "frame \(frame) was overwritten")
        }
    }
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
