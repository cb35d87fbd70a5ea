import CSQLite
import Glibc

/// Reads a file that nobody has open in WAL mode, without SQLite.
///
/// Opening a closed WAL database through SQLite would create `-wal` and `-shm`
/// beside it, and opening an empty file would delete a `-wal` that lies there
/// (pager.c, pagerOpenWalIfPresent). So the file is read through a descriptor
/// of our own under SHARED. In WAL mode that lock does not stop a newcomer, but
/// a newcomer first creates `-wal`, and cannot remove it again while we hold
/// SHARED (its last close needs EXCLUSIVE): `accept()` sees it.
struct DirectReader: ~Copyable {
    let pageSize: Int
    let pageCount: UInt64
    let state: FileState
    let source: DescriptorSource
    private let files: SourceFiles
    private let presence: Presence
    private let surroundings: CaptureSurroundings
    private let startedAt: Duration

    /// - Returns: nil if SQLite has to read this file.
    static func start(
        _ files: SourceFiles, _ surroundings: CaptureSurroundings
    ) throws(CaptureError) -> DirectReader? {
        guard let file = OwnDescriptor(reading: files.path) else { throw SourceFiles.refusal(files.path, errno) }
        let source = DescriptorSource(file, path: files.path)
        let startedAt = surroundings.elapsed()
        let first = try source.look()
        guard isClosed(files, first) else { return nil }
        try lock(source, files, surroundings, since: startedAt)
        // What was seen without the lock does not count.
        let seen = try source.look()
        guard isClosed(files, seen) else { return nil }
        let pageSize = seen.state.sizeBytes == 0 ? 4096 : seen.header?.pageSize
        guard let pageSize else { throw .corrupt(path: files.path, reason: "its header names no possible page size") }
        return DirectReader(
            pageSize: pageSize, pageCount: try count(seen, pageSize, files.path), state: seen.state,
            source: source, files: files,
            presence: Presence(wasAttachedElsewhere: false, wal: FileState(path: files.walPath)),
            surroundings: surroundings, startedAt: startedAt)
    }

    private static func isClosed(_ files: SourceFiles, _ seen: DescriptorSource.Look) -> Bool {
        if seen.state.sizeBytes == 0 { return true }
        guard seen.header?.isWAL == true else { return false }
        return !FileState.exists(files.walPath) && !FileState.exists(files.indexPath)
    }

    private static func lock(
        _ source: DescriptorSource, _ files: SourceFiles, _ surroundings: CaptureSurroundings, since: Duration
    ) throws(CaptureError) {
        while true {
            let code = csqlite_lock_shared(source.descriptor)
            if code == 0 { return }
            guard code == 1 else { throw SourceFiles.refusal(files.path, -code) }
            let waited = surroundings.elapsed() - since
            if surroundings.shouldStop() { throw .stopped(path: files.path) }
            guard waited < surroundings.options.busyBudget else { throw .locked(path: files.path, waited: waited) }
            usleep(10_000)
        }
    }

    /// As SQLite counts (btree.c, lockBtree): the header's count if it is current, otherwise the file's size.
    private static func count(
        _ seen: DescriptorSource.Look, _ pageSize: Int, _ path: String
    ) throws(CaptureError) -> UInt64 {
        guard let header = seen.header else { return 0 }
        let inFile = (seen.state.sizeBytes + UInt64(pageSize) - 1) / UInt64(pageSize)
        let stated = UInt64(header.word(at: 28))
        guard stated != 0, header.changeCounter == header.word(at: 92) else { return inFile }
        guard stated <= inFile else { throw .corrupt(path: path, reason: "it is shorter than its header says") }
        return stated
    }

    var elapsed: @Sendable () -> Duration { surroundings.elapsed }

    func checkBudget() throws(CaptureError) {
        if surroundings.shouldStop() { throw .stopped(path: files.path) }
        let limit = surroundings.options.maximumWALHold
        guard surroundings.elapsed() - startedAt <= limit else { throw .heldTooLong(path: files.path, limit: limit) }
    }

    func read(first: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(CaptureError) {
        try checkBudget()
        let offset = (first - 1) * UInt64(pageSize)
        guard let filled = unsafe source.read(at: offset, into: buffer) else {
            throw .inputOutput(path: files.path, reason: "at byte \(offset)")
        }
        guard offset + UInt64(filled) >= min(state.sizeBytes, offset + UInt64(buffer.count)) else {
            throw .changedDuringCapture(path: files.path)
        }
        unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]).initializeMemory(as: UInt8.self, repeating: 0)
    }

    /// Throws unless everything read since `start` was one unchanged, closed database.
    func accept() throws(CaptureError) {
        let now = FileState(descriptor: source.descriptor)
        let isAlone = state.sizeBytes == 0 || !FileState.exists(files.walPath) && !FileState.exists(files.indexPath)
        guard isAlone, now == state, FileState(path: files.path) == state else {
            throw .changedDuringCapture(path: files.path)
        }
    }

    /// Closes the file, and where an application came and left meanwhile, closes the database for it.
    consuming func leave() {
        let (files, presence, identity) = (files, presence, state.identity)
        _ = consume self
        // A file that was put into the place of ours is another application's business.
        if FileState(path: files.path)?.identity == identity { presence.leaveAsLast(files) }
    }
}

/// A file of ours, or one under a lease, as a source of pages.
final class DescriptorSource: PageSource {
    struct Look {
        let state: FileState
        let header: DatabaseHeader?
    }

    private let file: OwnDescriptor
    private let path: String
    let byteCount: UInt64

    init(_ file: consuming OwnDescriptor, path: String) {
        byteCount = FileState(descriptor: file.number)?.sizeBytes ?? 0
        self.path = path
        self.file = file
    }

    var descriptor: Int32 { file.number }

    func look() throws(CaptureError) -> Look {
        guard let state = FileState(descriptor: file.number), let head = file.bytes(at: 0, count: 100) else {
            throw .inputOutput(path: path, reason: "its header cannot be read")
        }
        return Look(state: state, header: DatabaseHeader(head))
    }

    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        unsafe file.read(at: offset, into: buffer)
    }

    func read(at offset: UInt64, into bytes: inout MutableRawSpan) throws {
        let filled = unsafe bytes.withUnsafeMutableBytes { unsafe file.read(at: offset, into: $0) }
        guard filled == bytes.byteCount else { throw CaptureError.inputOutput(path: path, reason: "at byte \(offset)") }
    }
}
