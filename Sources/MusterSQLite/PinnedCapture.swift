import Synchronization

/// One committed state of a database that others may be using, held still while its pages are read.
///
/// `begin` opens one bounded read transaction, `readPages` streams pages from
/// it, and the image counts only if `finish` returns. The source is not
/// changed: nothing is written, checkpointed or deleted, with the one exception
/// that `Presence.leaveAsLast` names.
///
/// | beside a capture | may run? |
/// |---|---|
/// | readers and writers of other processes, WAL mode | yes; the WAL cannot restart meanwhile |
/// | readers of other processes, rollback modes | yes |
/// | writers of other processes, rollback modes | they wait; bounded by `maximumRollbackHold` |
/// | another capture or fingerprint of this file in this process | no: `alreadyBeingCaptured` |
/// | any other connection or descriptor of this file in this process | no: closing it would drop our locks |
///
/// Calls block; make them on a thread of your own, one at a time (more wait for each other).
package final class PinnedCapture: Sendable {
    package enum Method: String, Sendable {
        case wal
        case rollback
        /// Nobody had it open: read as a file, and accepted only if it stayed so.
        case closedFile = "closed-file"
    }

    /// The real path: symbolic links are resolved.
    package let path: String
    package let method: Method
    package let pageSize: Int
    package let pageCount: UInt64
    /// Taken before the transaction began: a later write may make it differ, none can hide behind it.
    package let fingerprint: SourceFingerprint
    /// Names the state of a closed file to a later `Follower.attach`, if the file's times lie far enough back to
    /// prove by themselves that it was not written since; nil in the other methods.
    package let closedCursor: FollowCursor?

    private enum Reader: ~Copyable {
        case live(LiveReader)
        case direct(DirectReader)
        case ended
    }
    /// Touched only by `withReader` and by the initialisers, before anybody else has the object.
    nonisolated(unsafe) private var reader: Reader
    /// Given back when the reader is closed, not before.
    nonisolated(unsafe) private var lease: CaptureLease?
    private let turn = Mutex(())

    /// Opens the database at `path` and pins the commit that is newest now.
    ///
    /// - Parameters:
    ///   - elapsed: a monotonic clock's reading; only differences count.
    ///   - shouldStop: asked before each read; true ends the capture with `.stopped`.
    package static func begin(
        path: String, options: CaptureOptions = CaptureOptions(), elapsed: @escaping @Sendable () -> Duration,
        shouldStop: @escaping @Sendable () -> Bool = { false }
    ) throws(CaptureError) -> PinnedCapture {
        let files = try SourceFiles(resolving: path)
        let lease = try CaptureLease(files.state().identity, path: files.path)
        let surroundings = CaptureSurroundings(options: options, elapsed: elapsed, shouldStop: shouldStop)
        return try begin(files, surroundings, lease)
    }

    /// - Parameter lease: nil where the caller has it, and keeps it for as long as the capture is open.
    static func begin(
        _ files: SourceFiles, _ surroundings: CaptureSurroundings, _ lease: consuming CaptureLease?
    ) throws(CaptureError) -> PinnedCapture {
        let fingerprint = try SourceFingerprint(files)
        if let direct = try DirectReader.start(files, surroundings) {
            return PinnedCapture(files.path, direct, fingerprint, lease)
        }
        try files.refuseForeignSharedMemory()
        let live = try LiveReader.start(files, surroundings)
        return PinnedCapture(files.path, live, fingerprint, lease)
    }

    private init(
        _ path: String, _ direct: consuming DirectReader, _ fingerprint: SourceFingerprint,
        _ lease: consuming CaptureLease?
    ) {
        (self.path, method, self.fingerprint) = (path, .closedFile, fingerprint)
        (pageSize, pageCount) = (direct.pageSize, direct.pageCount)
        closedCursor = FollowCursor(closed: direct.state, pageSize: direct.pageSize, pageCount: direct.pageCount)
        unsafe reader = .direct(direct)
        unsafe self.lease = lease
    }

    init(
        _ path: String, _ live: consuming LiveReader, _ fingerprint: SourceFingerprint, _ lease: consuming CaptureLease?
    ) {
        (self.path, method, self.fingerprint) = (path, live.isWAL ? .wal : .rollback, fingerprint)
        (pageSize, pageCount) = (live.pageSize, live.pageCount)
        closedCursor = nil
        unsafe reader = .live(live)
        unsafe self.lease = lease
    }

    deinit { abandon() }

    /// Reads `count` pages from page `first` on, counted from 1, as the pinned commit has them.
    ///
    /// - Throws: `.heldTooLong`, `.walGrewTooMuch`, `.stopped` where a budget is spent. After any error the
    ///   capture is of no use: `abandon` it.
    package func readPages(_ first: UInt64, count: Int) throws(CaptureError) -> [UInt8] {
        var bytes: [UInt8] = []
        try readPages(first, count: count, into: &bytes)
        return bytes
    }

    /// The same into a buffer that is used again; it is made to hold exactly the pages read.
    package func readPages(_ first: UInt64, count: Int, into buffer: inout [UInt8]) throws(CaptureError) {
        precondition(first >= 1 && count >= 0 && first - 1 + UInt64(count) <= pageCount, "no such pages")
        let byteCount = count * pageSize
        if buffer.count != byteCount { buffer = [UInt8](repeating: 0, count: byteCount) }
        guard count > 0 else { return }
        try unsafe buffer.withUnsafeMutableBufferPointer { (bytes) throws(CaptureError) in
            // The buffer outlives the call and nobody else has it: it may cross into the lock.
            nonisolated(unsafe) let target = UnsafeMutableRawBufferPointer(bytes)
            try withReader { (reader) throws(CaptureError) in
                switch reader {
                case .live(let live): try unsafe live.read(first: first, into: target)
                case .direct(let direct): try unsafe direct.read(first: first, into: target)
                case .ended: throw .stopped(path: path)
                }
            }
        }
    }

    /// Throws if a budget is spent; ask it while the capture waits for something else.
    package func checkBudget() throws(CaptureError) {
        try withReader { (reader) throws(CaptureError) in
            switch reader {
            case .live(let live): try live.checkBudget()
            case .direct(let direct): try direct.checkBudget()
            case .ended: throw .stopped(path: path)
            }
        }
    }

    /// Ends the transaction; only if this returns, what was read is one commit of the source.
    package func finish() throws(CaptureError) {
        defer { abandon() }
        try withReader { (reader) throws(CaptureError) in
            switch reader {
            case .live(let live): try live.accept()
            case .direct(let direct): try direct.accept()
            case .ended: throw .stopped(path: path)
            }
        }
    }

    /// Ends the transaction and lets go of the source; safe to call twice.
    package func abandon() {
        withReader { reader in
            var ended = Reader.ended
            swap(&reader, &ended)
            switch consume ended {
            case .live(let live): live.leave()
            case .direct(let direct): direct.leave()
            case .ended: break
            }
            unsafe lease = nil
        }
    }

    private func withReader<Success, Failure>(
        _ body: (inout Reader) throws(Failure) -> Success
    ) throws(Failure) -> Success {
        try turn.withLock { (_) throws(Failure) in try unsafe body(&reader) }
    }

    /// What the pinned commit holds, as far as it is cheap to know.
    package func inventory() throws(CaptureError) -> SQLiteInventory {
        let header = pageCount == 0 ? nil : DatabaseHeader(try readPages(1, count: 1))
        return try withReader { (reader) throws(CaptureError) in
            switch reader {
            case .live(let live):
                try orFailed { () throws(SQLiteError) in
                    try SQLiteInventory.take(
                        header: header, pageSize: pageSize, pageCount: pageCount, connection: live.connection,
                        elapsed: live.elapsed)
                }
            case .direct(let direct):
                try orFailed { () throws(SQLiteError) in
                    let image = try DatabaseImage(direct.source)
                    return try SQLiteInventory.take(
                        header: header, pageSize: pageSize, pageCount: pageCount, connection: image.connection,
                        elapsed: direct.elapsed)
                }
            case .ended: throw .stopped(path: path)
            }
        }
    }

    /// For tests: the same image made by SQLite itself, in the same transaction and in memory as a whole.
    ///
    /// - Returns: nil for a closed file, where no connection exists.
    package func referenceImage() throws(CaptureError) -> [UInt8]? {
        try withReader { (reader) throws(CaptureError) in
            switch reader {
            case .live(let live): try orFailed { () throws(SQLiteError) in try live.connection.serialized() }
            case .direct(_): nil
            case .ended: throw .stopped(path: path)
            }
        }
    }
}
