import CSQLite
import Glibc

/// The mapped wal-index (`-shm`): says how far the WAL is valid and how far it was copied back.
///
/// Layout: sqlite.org/walformat.html; order of reads: `WALIndexHeader` below.
@safe
struct WALIndex {
    static let knownVersion: UInt32 = 3_007_000

    private let block: UnsafeRawPointer

    /// - Parameter block: the first 32 KiB; whoever gives them keeps them mapped.
    init(block: UnsafeRawPointer) { unsafe self.block = block }

    /// - Returns: nil while a writer is storing it, or if one died in the middle of that.
    func header() -> WALIndexHeader? {
        var raw = csqlite_wal_index_header()
        guard unsafe csqlite_wal_index_read(block, &raw) == 1 else { return nil }
        return WALIndexHeader(raw)
    }

    /// Asks again while a writer is storing it.
    func settledHeader(attempts: Int = 1000) -> WALIndexHeader? {
        for attempt in 0..<attempts {
            if let header = header() { return header }
            if attempt < 50 { sched_yield() } else { usleep(100) }
        }
        return nil
    }

    /// How many frames from the WAL's start the database file has already.
    func backfilledFrames() -> UInt32 {
        unsafe csqlite_index_word(block, CSQLITE_INDEX_BACKFILL)
    }

    /// How many frames the checkpoint under way, or the last one, set out to copy.
    func attemptedFrames() -> UInt32 { unsafe csqlite_index_word(block, CSQLITE_INDEX_ATTEMPTED) }

    func isUnused(slot: Int32) -> Bool {
        unsafe csqlite_index_word(block, CSQLITE_INDEX_MARKS + 4 * slot) == CSQLITE_MARK_UNUSED
    }
}

/// One committed state of a WAL: equal headers mean the same commit.
struct WALIndexHeader: Equatable {
    let version: UInt32
    /// Counts commits; only a recovery resets it.
    let changeCount: UInt32
    /// 0 in the wal-index of a recovered empty WAL; the database file knows then.
    let pageSize: Int
    let lastFrame: UInt32
    let pageCount: UInt32
    let isBigEndianChecksum: Bool
    /// The checksum of the last frame.
    let frameChecksum: WALChecksum
    /// The eight bytes that tell one generation of the WAL from the next, as the WAL has them.
    let salt: [UInt8]

    init(_ raw: csqlite_wal_index_header) {
        version = raw.version
        changeCount = raw.changeCount
        // 65536 does not fit 16 bits and is stored as 1 (wal.c, walFramesWrite: szPage).
        pageSize = Int(raw.pageSize & 0xfe00) + Int(raw.pageSize & 1) << 16
        lastFrame = raw.lastFrame
        pageCount = raw.pageCount
        isBigEndianChecksum = raw.isBigEndianChecksum != 0
        frameChecksum = WALChecksum(first: raw.frameChecksum.0, second: raw.frameChecksum.1)
        salt = [
            raw.salt.0, raw.salt.1, raw.salt.2, raw.salt.3, raw.salt.4, raw.salt.5, raw.salt.6, raw.salt.7,
        ]
    }
}

struct WALChecksum: Equatable {
    var first: UInt32
    var second: UInt32
}
