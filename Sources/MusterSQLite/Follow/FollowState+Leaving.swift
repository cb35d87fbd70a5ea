import CSQLite
import Glibc

/// How a follower goes: as if it had not been there, and so that it can tell later whether anything happened since.
extension FollowState {
    /// Releases every lock.
    func release() {
        // Closing the descriptors, which follows, releases them too.
        try? files.releaseAll()
    }

    /// Closes the database as SQLite's last connection does, if nobody else has it open.
    ///
    /// The closing connection is opened while our locks are held, so that it finds the wal-index as it is and copies
    /// only what is not copied yet; our descriptors stay open until it is gone, or its locks would go with them.
    ///
    /// - Returns: the database file, if it now holds exactly the last commit that was seen and a later write will
    ///   show in it; otherwise nil.
    func leaveAsLast(_ presence: Presence) -> FileState? {
        let sources = files.files
        do throws(CaptureError) {
            let lease = try CaptureLease(files.identity, path: sources.path)
            // A file that was put into the place of ours is another application's business.
            guard files.areInPlace(), presence.isOursToClose(sources), try !files.isAttachedElsewhere() else {
                release()
                return nil
            }
            let newcomers = NewcomerWatch(sources)
            try orFailed { () throws(SQLiteError) in try presence.closeAsLast(sources) { release() } }
            let file = try untouchedFile(newcomers)
            release()
            _ = consume lease
            return file
        } catch {
            // Somebody of this process reads it at the moment, or it cannot be closed: -wal stays as after a crash.
            release()
            return nil
        }
    }

    /// Proves that nobody committed anything since the last look.
    ///
    /// - In the life of the wal-index that ended: its last header, which our mapping still shows, would count it.
    /// - Later: a newcomer makes `-wal` and `-shm` anew, which the watch sees, and cannot remove them as long as we
    ///   hold SHARED. After 20 ms a write can no longer leave the file with the times that it has (see
    ///   `settledFile`).
    private func untouchedFile(_ newcomers: borrowing NewcomerWatch) throws(CaptureError) -> FileState? {
        guard let header = files.sharedIndex()?.header(), header.salt == position.salt,
            header.lastFrame == position.frame, header.changeCount == position.changeCount, position.isCountKnown,
            try files.holdDatabase(), newcomers.sawNobody, let file = files.databaseState()
        else { return nil }
        usleep(20_000)
        guard newcomers.sawNobody, files.databaseState() == file, FileState(path: files.files.path) == file else {
            return nil
        }
        return file
    }
}

/// Sees whether somebody opens a database that was closed.
private struct NewcomerWatch: ~Copyable {
    private let files: SourceFiles
    /// Below 0: cannot watch.
    private let watch: Int32

    init(_ files: SourceFiles) {
        self.files = files
        let folder = files.path.prefix(through: files.path.lastIndex(of: "/") ?? files.path.startIndex)
        watch = unsafe csqlite_watch_directory(String(folder))
    }

    deinit { if watch >= 0 { close(watch) } }

    var sawNobody: Bool {
        guard watch >= 0, !FileState.exists(files.walPath), !FileState.exists(files.indexPath) else { return false }
        let name = files.path.suffix(from: files.path.lastIndex(of: "/") ?? files.path.startIndex).dropFirst()
        return unsafe csqlite_watch_saw(watch, name + "-wal") == 0
    }
}
