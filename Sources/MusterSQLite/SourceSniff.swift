import CSQLite
import Glibc

/// What the first bytes of a database file say (sqlite.org/fileformat2.html, 1.3).
struct DatabaseHeader {
    static let byteCount = 100
    private let bytes: [UInt8]

    /// - Returns: nil unless `bytes` begin with a whole SQLite header.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= Self.byteCount, bytes.starts(with: Array("SQLite format 3\0".utf8)) else { return nil }
        self.bytes = Array(bytes.prefix(Self.byteCount))
    }

    func word(at offset: Int) -> UInt32 { bigEndian32(bytes, at: offset) }
    /// 512 to 65536, or nil where the header holds no possible size.
    var pageSize: Int? {
        let stored = Int(bytes[16]) << 8 | Int(bytes[17])
        let size = stored == 1 ? 65_536 : stored
        return (512...65_536).contains(size) && size.nonzeroBitCount == 1 ? size : nil
    }
    /// 1: rollback journal, 2: WAL; anything else is from the future.
    var readVersion: UInt8 { bytes[19] }
    var isWAL: Bool { bytes[18] == 2 && bytes[19] == 2 }
    var changeCounter: UInt32 { word(at: 24) }
}

extension SourceFiles {
    /// Turns SQLite's answer into what a person can act on.
    ///
    /// Call it only while this process has no connection to the file: it opens and closes the file itself.
    func explain(_ error: SQLiteError, waited: Duration) -> CaptureError {
        switch error.primaryCode {
        case SQLITE_BUSY, SQLITE_PROTOCOL, SQLITE_LOCKED:
            isHeldExclusively() ? .exclusivelyLocked(path: path) : .locked(path: path, waited: waited)
        case SQLITE_NOTADB: notADatabase()
        case SQLITE_CORRUPT: .corrupt(path: path, reason: error.reason)
        case SQLITE_IOERR: .inputOutput(path: path, reason: "\(error.reason), SQLite code \(error.code)")
        case SQLITE_PERM, SQLITE_AUTH: .permissionDenied(path: path)
        case SQLITE_READONLY where error.code == csqlite_readonly_rollback: .hotJournal(path: path)
        case SQLITE_READONLY where error.code == csqlite_readonly_moved: .changedDuringCapture(path: path)
        case SQLITE_READONLY, SQLITE_CANTOPEN: cannotOpen(error)
        default: .failed(error)
        }
    }

    /// In WAL mode nobody keeps EXCLUSIVE on the file itself but a connection in exclusive locking mode.
    private func isHeldExclusively() -> Bool {
        guard let file = OwnDescriptor(reading: path), let head = file.bytes(at: 0, count: DatabaseHeader.byteCount),
            DatabaseHeader(head)?.isWAL == true
        else { return false }
        return csqlite_lock_is_held(file.number, Int64(CSQLITE_SHARED_FIRST), Int64(CSQLITE_SHARED_COUNT), 1) == 1
    }

    private func cannotOpen(_ error: SQLiteError) -> CaptureError {
        if let index = OwnDescriptor(reading: indexPath), let bytes = index.bytes(at: 0, count: 4), bytes.count == 4 {
            let version = bytes.enumerated().reduce(UInt32(0)) { $0 | UInt32($1.element) << UInt32(8 * $1.offset) }
            let native = UInt32(littleEndian: version)
            if native != WALIndex.knownVersion, native != 0 { return .unsupportedWAL(path: path, version: native) }
        }
        guard let file = OwnDescriptor(reading: path) else { return Self.refusal(path, errno) }
        let head = file.bytes(at: 0, count: DatabaseHeader.byteCount) ?? []
        let usesWAL = DatabaseHeader(head)?.isWAL == true || FileState.exists(walPath)
        return usesWAL ? .sharedMemoryUnavailable(path: path) : .failed(error)
    }

    private func notADatabase() -> CaptureError {
        guard let file = OwnDescriptor(reading: path), let head = file.bytes(at: 0, count: 4096) else {
            return .inputOutput(path: path, reason: "its first page cannot be read")
        }
        if let header = DatabaseHeader(head) {
            return header.readVersion > 2
                ? .unsupportedWAL(path: path, version: UInt32(header.readVersion))
                : .corrupt(path: path, reason: "its header is damaged")
        }
        return Self.looksRandom(head) ? .encrypted(path: path) : .notADatabase(path: path)
    }

    /// True if the bytes are spread as evenly as a cipher leaves them: above 7.2 bits a byte for a page of 4096.
    ///
    /// Random bytes of that length measure 7.95; text and programs stay below 6.5.
    static func looksRandom(_ bytes: [UInt8]) -> Bool {
        guard bytes.count >= 512 else { return false }
        var counts = [Int](repeating: 0, count: 256)
        for byte in bytes { counts[Int(byte)] += 1 }
        let total = Double(bytes.count)
        let entropy = counts.lazy.filter { $0 > 0 }.map { -Double($0) / total * log2(Double($0) / total) }.reduce(0, +)
        return entropy > 7.2
    }
}
