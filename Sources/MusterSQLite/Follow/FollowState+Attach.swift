import CSQLite
import Glibc
import MusterModel

/// How a follower comes to a database, and whether it saw everything since an earlier one left.
extension FollowState {
    struct Attached {
        var state: FollowState
        let isContinuous: Bool
        /// What was around before we came.
        let presence: Presence
    }

    /// Takes the locks behind a short-lived connection, which recovers the wal-index where that is needed and
    /// proves that others can share the database.
    static func attach(
        _ files: SourceFiles, after cursor: FollowCursor?, options: FollowOptions, elapsed: @Sendable () -> Duration
    ) throws(CaptureError) -> Attached {
        let lease = try CaptureLease(files.state().identity, path: files.path)
        let presence = Presence(before: files)
        try files.refuseWhatHasNoLog()
        try files.refuseForeignSharedMemory()
        let startedAt = elapsed()
        do throws(CaptureError) {
            let followed = try open(files, options, elapsed, since: startedAt)
            let (state, isContinuous) = try begin(followed, after: cursor, options, elapsed, since: startedAt)
            _ = consume lease
            return Attached(state: state, isContinuous: isContinuous, presence: presence)
        } catch {
            // The connection is closed by now, so the files may be looked at.
            guard case .failed(let cause) = error else { throw error }
            throw files.explain(cause, waited: elapsed() - startedAt)
        }
    }

    private static func open(
        _ files: SourceFiles, _ options: FollowOptions, _ elapsed: @Sendable () -> Duration, since: Duration
    ) throws(CaptureError) -> FollowedFiles {
        let busyMilliseconds = max(1, Int32(clamping: options.busyBudget.microseconds / 1000))
        let connection = try orFailed { () throws(SQLiteError) in
            try SQLiteConnection(path: files.path, access: .readOnly, busyTimeoutMilliseconds: busyMilliseconds)
        }
        let mode = try orFailed { () throws(SQLiteError) in
            try connection.executeDespiteSchema("SELECT 1 FROM sqlite_schema LIMIT 1")
            return try connection.text("PRAGMA journal_mode")
        }
        guard mode == "wal" else { throw .notInWALMode(path: files.path) }
        let database = try orFailed { () throws(SQLiteError) in try SQLiteFile.database(of: connection) }
        guard let index = database.mapIndex() else { throw .sharedMemoryUnavailable(path: files.path) }
        if let header = index.settledHeader(), header.version != WALIndex.knownVersion {
            throw .unsupportedWAL(path: files.path, version: header.version)
        }
        let followed = try FollowedFiles(opening: files)
        while try !followed.holdDatabase() {
            try wait(files, options, elapsed() - since)
        }
        guard !database.hasMoved(), followed.areInPlace() else { throw .changedDuringCapture(path: files.path) }
        return followed
    }

    /// - Returns: the machine under the guard, at the newest commit.
    private static func begin(
        _ files: FollowedFiles, after cursor: FollowCursor?, _ options: FollowOptions,
        _ elapsed: @Sendable () -> Duration, since: Duration
    ) throws(CaptureError) -> (FollowState, Bool) {
        guard let pageSize = files.databaseHeader()?.pageSize else {
            throw .corrupt(path: files.files.path, reason: "its header names no possible page size")
        }
        var slot = try files.takeGuard()
        while slot == nil {
            try wait(files.files, options, elapsed() - since)
            slot = try files.takeGuard()
        }
        try awaitCheckpointer(files, elapsed)
        guard let slot, let header = files.sharedIndex()?.settledHeader() else {
            throw .followBroken(path: files.files.path, reason: "its wal-index cannot be read")
        }
        let position = WALPosition(
            salt: header.salt, frame: 0, sum: WALChecksum(first: 0, second: 0), changeCount: 0, isCountKnown: false,
            pageCount: 0)
        var state = FollowState(
            files: files, options: options, pageSize: pageSize, guardSlot: slot, position: position)
        state.frameAtGuard = header.lastFrame
        let now = elapsed()
        if let cursor, cursor.identity == files.identity, cursor.pageSize == pageSize {
            if let resumed = state.resumed(cursor, header, now) ?? state.resumedAfterRestart(cursor, header, now) {
                return (resumed, true)
            }
        }
        try state.beginAnew(header, now)
        return (state, false)
    }

    /// A checkpointer that read the wal-index before a restart and is at work since before we came: give it a moment
    /// to end. Later ones know what we know.
    private static func awaitCheckpointer(
        _ files: FollowedFiles, _ elapsed: @Sendable () -> Duration
    ) throws(CaptureError) {
        let start = elapsed()
        while try files.holderOfCheckpointLock() != .nobody, elapsed() - start < .milliseconds(100) { usleep(500) }
    }

    private static func wait(
        _ files: SourceFiles, _ options: FollowOptions, _ waited: Duration
    ) throws(CaptureError) {
        guard waited < options.busyBudget else { throw .locked(path: files.path, waited: waited) }
        usleep(1000)
    }

    // MARK: Continuity

    /// The same generation of the WAL, with the cursor's commit in its place: every later commit is in it too.
    private func resumed(_ cursor: FollowCursor, _ header: WALIndexHeader, _ now: Duration) -> FollowState? {
        let position = cursor.position
        guard position.frame > 0, position.salt == header.salt, header.lastFrame >= position.frame,
            isInPlace(position, header)
        else { return nil }
        var state = self
        (state.position, state.lowestPageCount) = (position, position.pageCount)
        return state.seesAll(header, now) ? state : nil
    }

    /// Another generation of the WAL, of which nothing was copied yet, over a file that nobody wrote since the
    /// cursor's commit was in it as a whole: every later commit is in this generation.
    ///
    /// The count of commits has to say so too: it went on from the cursor's, or began with this wal-index.
    private func resumedAfterRestart(
        _ cursor: FollowCursor, _ header: WALIndexHeader, _ now: Duration
    ) -> FollowState? {
        var state = self
        guard state.isUncopied(), cursor.isWhole(in: files.databaseState()) else { return nil }
        state.position.pageCount = cursor.position.pageCount
        state.lowestPageCount = cursor.position.pageCount
        guard state.seesAll(header, now) else { return nil }
        let isWhole =
            state.commits == UInt64(header.changeCount &- cursor.position.changeCount)
            || state.commits == UInt64(header.changeCount)
        return isWhole ? state : nil
    }

    private func isInPlace(_ position: WALPosition, _ header: WALIndexHeader) -> Bool {
        do throws(CaptureError) {
            let reader = try WALFrameReader(
                wal: files, path: files.files.path, header: header, pageSize: pageSize, startingAfter: position.frame)
            return reader.sum == position.sum
        } catch { return false }
    }

    private func isUncopied() -> Bool { files.sharedIndex()?.backfilledFrames() == 0 }

    private mutating func seesAll(_ header: WALIndexHeader, _ now: Duration) -> Bool {
        do throws(CaptureError) {
            try consume(header, now)
            return true
        } catch { return false }
    }

    /// Anything may have changed: sees the frames that are not copied yet, so that their chain is known to be good.
    private mutating func beginAnew(_ header: WALIndexHeader, _ now: Duration) throws(CaptureError) {
        let backfilled = min(try sharedIndex().backfilledFrames(), header.lastFrame)
        if backfilled > 0 {
            do throws(CaptureError) {
                position.sum = try WALFrameReader(
                    wal: files, path: files.files.path, header: header, pageSize: pageSize,
                    startingAfter: backfilled
                ).sum
            } catch { throw broken("its WAL does not match its index: \(error.summary)") }
            position.frame = backfilled
        }
        try consume(header, now)
        // They were there before us.
        (commits, hasChanges) = (0, true)
    }
}

extension SourceFiles {
    /// Only a database in WAL mode has a log, and only while somebody has it open, or left it in a crash, does the
    /// log exist. Opening a closed one would make its `-wal` and `-shm`.
    fileprivate func refuseWhatHasNoLog() throws(CaptureError) {
        guard let file = OwnDescriptor(reading: path) else { throw Self.refusal(path, errno) }
        guard let header = DatabaseHeader(file.bytes(at: 0, count: DatabaseHeader.byteCount) ?? []) else {
            // Not SQLite's, or empty: SQLite's own answer explains it.
            if (try state()).sizeBytes == 0 { throw .notInWALMode(path: path) }
            return
        }
        guard header.isWAL || header.readVersion > 2 else { throw .notInWALMode(path: path) }
        guard FileState.exists(walPath) || FileState.exists(indexPath) else { throw .notOpen(path: path) }
    }
}
