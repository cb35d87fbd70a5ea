/// Sees from outside that the files of a followed database are no longer the ones that were opened, or were written
/// by something other than SQLite.
struct FileWatch {
    /// The database file at a moment at which no checkpoint was under way.
    private struct Rest: Equatable {
        let salt: [UInt8]
        let backfilled: UInt32
        let sizeBytes: UInt64
        let modifiedNanoseconds: Int64
    }

    private var lastLook: Duration?
    private var rest: Rest?

    /// Looks once a second.
    ///
    /// SQLite writes to the file only while it copies frames: what was attempted is stored first, what was done
    /// last (wal.c, walCheckpoint). If both numbers are equal and stay what they were, nobody copied, and a file that
    /// was written meanwhile was overwritten in place.
    mutating func look(at files: FollowedFiles, index: WALIndex, _ now: Duration) throws(CaptureError) {
        if let last = lastLook, now - last < .seconds(1) { return }
        lastLook = now
        let path = files.files.path
        guard files.areInPlace() else {
            throw .followBroken(path: path, reason: "one of its files was replaced or removed")
        }
        let before = rest
        rest = restNow(files, index)
        guard let before, let rest, before.salt == rest.salt, before.backfilled == rest.backfilled else { return }
        guard before == rest else { throw .followBroken(path: path, reason: "its file was overwritten in place") }
    }

    private func restNow(_ files: FollowedFiles, _ index: WALIndex) -> Rest? {
        guard let header = index.header() else { return nil }
        let backfilled = index.backfilledFrames()
        guard index.attemptedFrames() <= backfilled, let state = files.databaseState(),
            index.backfilledFrames() == backfilled, index.attemptedFrames() <= backfilled, index.header() == header
        else { return nil }
        return Rest(
            salt: header.salt, backfilled: backfilled, sizeBytes: state.sizeBytes,
            modifiedNanoseconds: state.modifiedNanoseconds)
    }
}
