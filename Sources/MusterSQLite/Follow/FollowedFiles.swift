import CSQLite
import Glibc

/// The three files of a database in WAL mode, each opened once, with the locks of SQLite that a follower takes.
///
/// The facts of layout and locks are in `CSQLiteFollow.h`. Closing these
/// descriptors would drop the locks of SQLite connections of this process, so
/// they are handed to `CaptureLease` to be closed when there is none.
@safe
final class FollowedFiles: Sendable, WALBytes {
    let files: SourceFiles
    let identity: FileState.Identity
    private let database: Int32
    private let wal: Int32
    private let index: Int32
    private let walIdentity: FileState.Identity
    private let indexIdentity: FileState.Identity
    private let canWriteIndex: Bool
    /// Mapped as long as the object lives; read and written by atomic calls only.
    nonisolated(unsafe) private let block: UnsafeMutableRawPointer

    /// Opens and maps. Call it under a lease, while a connection of this process is open, or nothing keeps `-shm`
    /// from being cut.
    ///
    /// No link is followed, as SQLite follows none there (os_unix.c, unixOpen): whoever may write to the folder would
    /// choose the file that is written to.
    init(opening files: SourceFiles) throws(CaptureError) {
        guard let database = OwnDescriptor(reading: files.path, followingLinks: false),
            let wal = OwnDescriptor(reading: files.walPath, followingLinks: false),
            let index = OwnDescriptor(updating: files.indexPath)
                ?? OwnDescriptor(reading: files.indexPath, followingLinks: false)
        else { throw SourceFiles.refusal(files.path, lastErrno()) }
        guard let state = FileState(descriptor: database.number), let walState = FileState(descriptor: wal.number),
            let indexState = FileState(descriptor: index.number)
        else { throw SourceFiles.refusal(files.path, lastErrno()) }
        let mode = fcntl(index.number, F_GETFL)
        // A second name may be that of somebody else's file.
        let canWrite = mode >= 0 && mode & O_ACCMODE == O_RDWR && indexState.names == 1
        let attached = csqlite_lock(index.number, CSQLITE_SHARED, Int64(CSQLITE_SHM_ATTACHED), 1)
        var mapped: UnsafeMutableRawPointer?
        guard attached == 0, unsafe csqlite_index_map(index.number, canWrite ? 1 : 0, &mapped) == 0,
            let mapped = unsafe mapped
        else { throw .sharedMemoryUnavailable(path: files.path) }
        unsafe block = mapped
        (self.files, identity, canWriteIndex) = (files, state.identity, canWrite)
        (walIdentity, indexIdentity) = (walState.identity, indexState.identity)
        (self.database, self.wal) = (database.handOver(), wal.handOver())
        self.index = index.handOver()
    }

    deinit {
        // It fails only for a block that was never mapped.
        _ = unsafe csqlite_index_unmap(block)
        CaptureLease.closeWhenFree([database, wal, index], of: identity)
    }

    /// True if the three paths still are the open files, and no links to them.
    func areInPlace() -> Bool {
        FileState(unfollowed: files.path)?.identity == identity
            && FileState(unfollowed: files.walPath)?.identity == walIdentity
            && FileState(unfollowed: files.indexPath)?.identity == indexIdentity
    }

    func databaseState() -> FileState? { FileState(descriptor: database) }

    /// - Returns: nil where the file does not begin with a header of SQLite.
    func databaseHeader() -> DatabaseHeader? {
        var head = [UInt8](repeating: 0, count: DatabaseHeader.byteCount)
        let count = unsafe head.withUnsafeMutableBytes { unsafe OwnDescriptor.read(database, at: 0, into: $0) }
        return count == head.count ? DatabaseHeader(head) : nil
    }

    /// - Returns: how much was there to read, or nil on an I/O error.
    func readDatabase(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        unsafe OwnDescriptor.read(database, at: offset, into: buffer)
    }

    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int32 {
        guard let count = unsafe OwnDescriptor.read(wal, at: offset, into: buffer) else { return csqlite_ioerr_read }
        return count == buffer.count ? SQLITE_OK : csqlite_ioerr_short_read
    }

    // MARK: The wal-index

    /// - Returns: nil if somebody has cut the file beneath the mapping: it must not be looked at.
    func sharedIndex() -> WALIndex? {
        guard csqlite_index_is_whole(index) == 1 else { return nil }
        return unsafe WALIndex(block: UnsafeRawPointer(block))
    }

    // MARK: Locks

    /// - Returns: false while a lock is in the way.
    func holdDatabase() throws(CaptureError) -> Bool { try isDone(csqlite_lock_shared(database)) }

    /// A read slot whose mark is unused forbids a restart of the WAL and limits no checkpoint.
    ///
    /// - Returns: nil while no slot can be had.
    func takeGuard() throws(CaptureError) -> Int32? {
        guard let marks = sharedIndex() else { return nil }
        for slot in [Int32](arrayLiteral: 4, 3, 2) where marks.isUnused(slot: slot) {
            guard try lock(CSQLITE_SHARED, Self.readLock(slot)) else { continue }
            // Only under the lock does the mark stay what it is.
            if marks.isUnused(slot: slot) { return slot }
            try unlock(Self.readLock(slot))
        }
        // What stands in a slot that nobody has locked is a leftover. Only EXCLUSIVE allows to change it.
        guard canWriteIndex else { return nil }
        for slot in [Int32](arrayLiteral: 4, 3, 2) where try lock(CSQLITE_EXCLUSIVE, Self.readLock(slot)) {
            unsafe csqlite_index_clear_mark(block, slot)
            if try lock(CSQLITE_SHARED, Self.readLock(slot)) { return slot }
            try unlock(Self.readLock(slot))
        }
        return nil
    }

    func releaseGuard(_ slot: Int32) throws(CaptureError) { try unlock(Self.readLock(slot)) }

    /// Read slot 0 forbids that frames are copied back, and allows a restart once all are.
    ///
    /// - Returns: false if a checkpointer held it all the time.
    func takeZero(waitingMilliseconds: Int32) throws(CaptureError) -> Bool {
        guard waitingMilliseconds > 0 else { return try lock(CSQLITE_SHARED, Self.readLock(0)) }
        return try isDone(csqlite_lock_wait(index, Self.readLock(0), waitingMilliseconds))
    }

    func releaseZero() throws(CaptureError) { try unlock(Self.readLock(0)) }

    enum Holder: Equatable {
        case nobody
        /// 0 or less where the process cannot be named: it is in another container, or a thread of ours.
        case process(Int32)
    }

    func holderOfCheckpointLock() throws(CaptureError) -> Holder {
        try holder(CSQLITE_SHARED, Int64(CSQLITE_LOCK_CHECKPOINT))
    }
    func holderOfWriteLock() throws(CaptureError) -> Holder { try holder(CSQLITE_SHARED, Int64(CSQLITE_LOCK_WRITE)) }
    func isCheckpointCopying() throws(CaptureError) -> Bool {
        try holder(CSQLITE_SHARED, Self.readLock(0)) != .nobody
    }
    func isAttachedElsewhere() throws(CaptureError) -> Bool {
        try holder(CSQLITE_EXCLUSIVE, Int64(CSQLITE_SHM_ATTACHED)) != .nobody
    }

    /// Lets go of every lock; the descriptors stay.
    func releaseAll() throws(CaptureError) {
        _ = try isDone(csqlite_lock(index, CSQLITE_UNLOCK, 0, 0))
        _ = try isDone(csqlite_lock(database, CSQLITE_UNLOCK, 0, 0))
    }

    private static func readLock(_ slot: Int32) -> Int64 { Int64(CSQLITE_LOCK_READ + slot) }

    private func lock(_ kind: CSQLiteLock, _ start: Int64) throws(CaptureError) -> Bool {
        try isDone(csqlite_lock(index, kind, start, 1))
    }

    private func unlock(_ start: Int64) throws(CaptureError) {
        _ = try isDone(csqlite_lock(index, CSQLITE_UNLOCK, start, 1))
    }

    private func holder(_ kind: CSQLiteLock, _ start: Int64) throws(CaptureError) -> Holder {
        var process: Int32 = 0
        let code = unsafe csqlite_lock_holder(index, kind, start, &process)
        return try isDone(min(code, 0)) && code == 0 ? .nobody : .process(process)
    }

    private func isDone(_ code: Int32) throws(CaptureError) -> Bool {
        guard code >= 0 else {
            let reason = unsafe String(cString: strerror(-code))
            throw .followBroken(path: files.path, reason: "its locks cannot be asked for (\(reason))")
        }
        return code == 0
    }
}
