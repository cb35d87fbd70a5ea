import CSQLite
import MusterModel

/// Reads one committed state of a database that others may have open, inside one read transaction.
///
/// **WAL.** The header of the wal-index is read before `BEGIN; SELECT` and
/// after it. If both are equal, the transaction is exactly that commit. Between
/// them `nBackfill` is read: frames up to it are in the database file.
/// - All frames backfilled: the file alone is the image. Nobody may write the
///   file then: on read slot 0 no checkpoint runs; on another slot our mark
///   stops it at a frame that is in the file already (wal.c, walCheckpoint:
///   mxSafe). On slot 0 the WAL may restart beneath us, so it is not looked at.
/// - Some not: slot 0 is impossible (walTryBeginRead takes it only if all are
///   backfilled), so our slot forbids a restart (walRestartLog needs all slots
///   from 1 up) and frames up to the header's last one are immutable. Those
///   after `nBackfill` lie over the file; a checkpoint that copies some of them
///   meanwhile changes nothing.
/// - A restart stores the new header first and resets `nBackfill` after it
///   (walRestartHdr), so a reset value is never seen with two equal old headers.
///
/// **Rollback journal.** The transaction holds SHARED and no writer may touch the file.
struct LiveReader: ~Copyable {
    let pageSize: Int
    let pageCount: UInt64
    let isWAL: Bool
    let connection: SQLiteConnection
    private let files: SourceFiles
    private let database: SQLiteFile
    private let wal: SQLiteFile?
    private let index: WALIndex?
    /// The commit that is held; nil in a rollback mode.
    let header: WALIndexHeader?
    private let overlay: WALOverlay
    /// What was there when the transaction began; bytes after it are zero unless the overlay has them.
    private let fileBytes: UInt64
    private let sidecars: Sidecars
    /// nil beside a follower, which stays when we leave.
    private let presence: Presence?
    private let budget: HoldBudget

    /// Who `-wal` and `-shm` are: replaced ones carry other locks.
    private struct Sidecars: Equatable {
        let wal: FileState.Identity?
        let index: FileState.Identity?

        init(_ files: SourceFiles) {
            wal = FileState(path: files.walPath)?.identity
            index = FileState(path: files.indexPath)?.identity
        }
    }

    /// - Parameter isBesideFollower: true where a `Follower` of this process is attached, which leaves last.
    static func start(
        _ files: SourceFiles, _ surroundings: CaptureSurroundings, isBesideFollower: Bool = false
    ) throws(CaptureError) -> LiveReader {
        let startedAt = surroundings.elapsed()
        let presence = isBesideFollower ? nil : Presence(before: files)
        do throws(CaptureError) {
            return try pin(files, surroundings, presence, startedAt)
        } catch {
            // The connection is closed by now, so the files may be looked at.
            if let presence, presence.wasAttachedElsewhere { presence.leaveAsLast(files) }
            guard case .failed(let cause) = error else { throw error }
            throw files.explain(cause, waited: surroundings.elapsed() - startedAt)
        }
    }

    private static func pin(
        _ files: SourceFiles, _ surroundings: CaptureSurroundings, _ presence: Presence?, _ startedAt: Duration
    ) throws(CaptureError) -> LiveReader {
        let busyMilliseconds = max(1, Int32(clamping: surroundings.options.busyBudget.microseconds / 1000))
        let connection = try orFailed { () throws(SQLiteError) in
            try SQLiteConnection(path: files.path, access: .readOnly, busyTimeoutMilliseconds: busyMilliseconds)
        }
        let database = try orFailed { () throws(SQLiteError) in try SQLiteFile.database(of: connection) }
        let pin = try Pin(connection, database, files, surroundings, startedAt)
        let wal: SQLiteFile? = try orFailed { () throws(SQLiteError) in
            try pin.wal == nil ? nil : SQLiteFile.journal(of: connection)
        }
        let budget = HoldBudget(
            path: files.path, wal: wal, surroundings: surroundings, startedAt: startedAt,
            walBytes: try orFailed { () throws(SQLiteError) in try wal?.sizeBytes() ?? 0 })
        let size = try orFailed { () throws(SQLiteError) in try connection.integer("PRAGMA page_size") } ?? 0
        let count = try orFailed { () throws(SQLiteError) in try connection.integer("PRAGMA page_count") } ?? 0
        let (pageSize, pageCount) = (Int(size), UInt64(max(0, count)))
        let overlay = try pin.overlay(files, wal, pageSize: pageSize, pageCount: pageCount) {
            () throws(CaptureError) in try budget.check()
        }
        let fileBytes = try orFailed { () throws(SQLiteError) in try database.sizeBytes() }
        return LiveReader(
            pageSize: pageSize, pageCount: pageCount, isWAL: wal != nil, connection: connection, files: files,
            database: database, wal: wal, index: pin.wal?.index, header: pin.wal?.header, overlay: overlay,
            fileBytes: fileBytes,
            sidecars: Sidecars(files), presence: presence, budget: budget)
    }

    var elapsed: @Sendable () -> Duration { budget.surroundings.elapsed }

    /// Throws when the capture has cost the application enough.
    func checkBudget() throws(CaptureError) { try budget.check() }

    /// - Parameter buffer: whole pages, none after the last.
    func read(first: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(CaptureError) {
        try checkBudget()
        let offset = (first - 1) * UInt64(pageSize)
        let inFile = Int(min(UInt64(buffer.count), max(fileBytes, offset) - offset))
        try unsafe readFile(at: offset, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<inFile]))
        // As SQLite sees pages that no file has (pager.c, readDbPage: a short read is zeros).
        unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[inFile...]).initializeMemory(as: UInt8.self, repeating: 0)
        guard let wal, !overlay.isEmpty else { return }
        let last = first + UInt64(buffer.count / pageSize) - 1
        try overlay.forEach(in: first...last) { (page, frame) throws(CaptureError) in
            let start = Int(page - first) * pageSize
            let target = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[start..<start + pageSize])
            try unsafe overlay.read(page: page, frame: frame, wal: wal, path: files.path, into: target)
        }
    }

    private func readFile(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(CaptureError) {
        // SQLite itself never asks for more than its largest page (os_unix.c, seekAndRead: cnt fits 17 bits).
        for start in stride(from: 0, to: buffer.count, by: 65_536) {
            let end = min(start + 65_536, buffer.count)
            let code = unsafe database.read(
                at: offset + UInt64(start), into: UnsafeMutableRawBufferPointer(rebasing: buffer[start..<end]))
            guard code == SQLITE_OK else {
                let reason = code == csqlite_ioerr_short_read ? "it became shorter" : "SQLite code \(code)"
                throw .inputOutput(path: files.path, reason: "\(reason) at byte \(offset + UInt64(start))")
            }
        }
    }

    /// Throws unless the locks that the proof stands on were ours to the end.
    func accept() throws(CaptureError) {
        guard !database.hasMoved(), !isWAL || sidecars == Sidecars(files) else {
            throw .changedDuringCapture(path: files.path)
        }
        guard let index, !overlay.isEmpty else { return }
        guard index.settledHeader()?.salt == overlay.salt else {
            throw .brokenWAL(path: files.path, reason: "it was restarted while frames of it were held")
        }
    }

    /// Closes the connection, and where the application has left meanwhile, closes the database for it.
    consuming func leave() {
        let (files, presence, isWAL) = (files, presence, isWAL)
        let closing = connection
        _ = consume closing
        if isWAL, let presence { presence.leaveAsLast(files) }
    }
}

/// Marks SQLite's answers, so that they are explained once the connection is closed.
func orFailed<Success: ~Copyable>(
    _ body: () throws(SQLiteError) -> Success
) throws(CaptureError) -> Success {
    do throws(SQLiteError) { return try body() } catch { throw .failed(error) }
}
