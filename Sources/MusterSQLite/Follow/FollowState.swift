import CSQLite

/// The follower's machine: which lock is held, up to where the WAL was seen, and which pages that touched.
///
/// **Two locks, hand over hand.** The *guard* (a read slot whose mark is unused)
/// forbids the WAL to restart; the *zero lock* (read slot 0) forbids frames to
/// be copied into the database file. One of them is held at each instant,
/// besides SHARED on the database.
///
/// **No commit is missed.** Frames vanish only by a restart, which needs all of
/// them copied and every read slot but 0 free, or by the last connection's
/// close, which SHARED prevents. Under the guard there is no restart. The zero
/// lock is taken only where all frames are copied and, before the guard is
/// released, all were seen; under it nothing is copied, so the one restart that
/// may come takes away seen frames only, and a second one would need frames to
/// be copied first. The guard is taken again before the zero lock is released.
///
/// **The checks.** Salt, running checksum, and the wal-index's count of commits
/// do not carry this proof. They show that its ground is gone (a lock that its
/// owner lost, a file that somebody overwrote), and then the follower breaks.
///
/// **Stale checkpointers.** SQLite up to 3.51.2 lets a checkpointer that read
/// the wal-index before a restart go on after it, and so damages the database
/// (sqlite.org/wal.html, the WAL-reset bug). Under the zero lock it cannot copy,
/// and the zero lock is released only after `isProbeClear`.
struct FollowState {
    let files: FollowedFiles
    let options: FollowOptions
    let pageSize: Int
    var position: WALPosition

    /// At least one of the two is held until the follower breaks.
    var guardSlot: Int32?
    var holdsZero = false
    /// A restart since the last look is no surprise.
    var mayHaveRestarted = false
    /// What the zero lock was taken on.
    var zero = ZeroHold()
    /// The last frame when the guard was taken.
    var frameAtGuard: UInt32 = 0
    private var probe: (since: Duration, changeCount: UInt32)?

    /// Pages in frames that were seen since they were last taken.
    var pages = PageSet()
    /// The smallest size of the database since then: a page beyond it may have gone and come back without a frame.
    var lowestPageCount: UInt32 = 0
    var hasChanges = false
    var commits: UInt64 = 0
    private(set) var lastChange: Duration?
    private(set) var walBytes: UInt64 = 0
    /// How far the WAL grew that our lock keeps from restarting.
    private(set) var heldWALBytes: UInt64 = 0
    /// A checkpointer copies: the moment at which it ends is the one to take the zero lock.
    private(set) var awaitsCheckpoint = false
    /// A lock or a probe is to be asked for again.
    private(set) var awaitsLock = false

    private var unreadableSince: Duration?
    private var watch = FileWatch()

    struct ZeroHold {
        var salt: [UInt8] = []
        var frame: UInt32 = 0
        /// The database file when nobody could write to it any more, and when that was.
        var file: FileState?
        var since: Duration = .zero
    }

    static let checkpointWaitMilliseconds: Int32 = 20

    init(files: FollowedFiles, options: FollowOptions, pageSize: Int, guardSlot: Int32, position: WALPosition) {
        (self.files, self.options, self.pageSize) = (files, options, pageSize)
        (self.guardSlot, self.position) = (guardSlot, position)
    }

    /// One look: sees new frames, and hands over between the locks.
    mutating func tick(_ now: Duration) throws(CaptureError) {
        (awaitsCheckpoint, awaitsLock) = (false, false)
        try watch.look(at: files, index: sharedIndex(), now)
        guard let header = try header(now) else { return }
        walBytes = header.lastFrame == 0 ? 0 : WALLayout.offset(ofFrame: header.lastFrame, pageSize: pageSize)
        if holdsZero {
            guard try leaveZero(header, now) else { return try checkLimit(header) }
        }
        guard let header = try self.header(now) else { return }
        try consume(header, now)
        let backfilled = try sharedIndex().backfilledFrames()
        if backfilled == header.lastFrame {
            try enterZero(now, waitingMilliseconds: 0)
        } else if try sharedIndex().attemptedFrames() > backfilled, try files.isCheckpointCopying() {
            awaitsCheckpoint = true
            try enterZero(now, waitingMilliseconds: Self.checkpointWaitMilliseconds)
        }
        try checkLimit(header)
    }

    func sharedIndex() throws(CaptureError) -> WALIndex {
        guard let index = files.sharedIndex() else { throw broken("its -shm file was cut") }
        return index
    }

    func broken(_ reason: String) -> CaptureError { .followBroken(path: files.files.path, reason: reason) }

    /// - Returns: nil while a writer stores it; one that died in the middle of that leaves it so for good.
    mutating func header(_ now: Duration) throws(CaptureError) -> WALIndexHeader? {
        guard let header = try sharedIndex().settledHeader(attempts: 60) else {
            awaitsLock = true
            let since = unreadableSince ?? now
            unreadableSince = since
            guard now - since <= .seconds(1) else { throw broken("its wal-index stays unreadable") }
            return nil
        }
        unreadableSince = nil
        guard header.version == WALIndex.knownVersion else {
            throw .unsupportedWAL(path: files.files.path, version: header.version)
        }
        return header
    }

    // MARK: Handing over

    /// - Returns: true if the guard is held alone now; false to stay.
    private mutating func leaveZero(_ header: WALIndexHeader, _ now: Duration) throws(CaptureError) -> Bool {
        // After a restart the first commit is what makes it worth while: until then there is nothing to see.
        guard header.lastFrame > 0, header.salt != zero.salt || header.lastFrame != zero.frame else { return false }
        awaitsLock = true
        if guardSlot == nil { guardSlot = try files.takeGuard() }
        guard guardSlot != nil else { return false }
        if !options.faults.contains(.leavesZeroUnasked) {
            guard try isProbeClear(now) else { return false }
        }
        try files.releaseZero()
        (holdsZero, awaitsLock, frameAtGuard) = (false, false, header.lastFrame)
        return true
    }

    /// True if no checkpointer can be at work that read the wal-index before the restart that the zero lock allowed.
    ///
    /// If nobody holds the checkpoint lock at one instant after the restart, whoever takes it later reads the header
    /// after it. One process that holds it together with the write lock, and commits nothing, is a FULL, RESTART or
    /// TRUNCATE checkpoint that waits for our zero lock: it read its header under the write lock, and a restart
    /// needs that lock too.
    mutating func isProbeClear(_ now: Duration) throws(CaptureError) -> Bool {
        guard let header = try header(now) else { return false }
        if header.salt == zero.salt { return true }
        let checkpointer = try files.holderOfCheckpointLock()
        guard case .process(let process) = checkpointer else {
            probe = nil
            return true
        }
        guard try files.holderOfWriteLock() == checkpointer, let asked = probe,
            asked.changeCount == header.changeCount
        else {
            probe = (now, header.changeCount)
            return false
        }
        // Of processes in other containers only "somebody" is known: two of them need longer to look like one.
        guard now - asked.since > .milliseconds(process > 0 ? 4 : 50) else { return false }
        probe = nil
        return true
    }

    /// Takes the zero lock and releases the guard, if all frames are copied and seen.
    private mutating func enterZero(_ now: Duration, waitingMilliseconds: Int32) throws(CaptureError) {
        guard try files.takeZero(waitingMilliseconds: waitingMilliseconds) else { return }
        holdsZero = true
        guard let header = try header(now), try sharedIndex().backfilledFrames() == header.lastFrame else {
            try files.releaseZero()
            holdsZero = false
            return
        }
        // The guard is still held: these frames stay.
        try consume(header, now)
        if let slot = guardSlot { try files.releaseGuard(slot) }
        guardSlot = nil
        (mayHaveRestarted, awaitsCheckpoint, probe) = (true, false, nil)
        zero = ZeroHold(
            salt: header.salt, frame: header.lastFrame, file: files.databaseState(), since: now)
    }

    // MARK: Seeing frames

    /// Sees every frame up to `header`'s last one, which may be older than the newest.
    ///
    /// The caller holds what keeps them: the guard, or a read transaction at that commit.
    mutating func consume(_ header: WALIndexHeader, _ now: Duration) throws(CaptureError) {
        guard header.pageSize == 0 || header.pageSize == pageSize else { throw broken("its page size has changed") }
        if options.faults.contains(.startsAtBackfill) { try skipToBackfill(header) }
        if header.salt != position.salt {
            guard mayHaveRestarted || position.frame == 0 else {
                throw broken("its WAL restarted in spite of our lock")
            }
            (position.salt, position.frame) = (header.salt, 0)
        }
        guard header.lastFrame >= position.frame else { throw broken("commits of its WAL are gone") }
        let isSame = header.lastFrame == position.frame
        guard !isSame || position.frame == 0 || header.frameChecksum == position.sum else {
            throw broken("the last commit of its WAL is another one")
        }
        let seen = try isSame ? 0 : readFrames(header)
        mayHaveRestarted = holdsZero
        guard !position.isCountKnown || seen == header.changeCount &- position.changeCount else {
            throw broken(
                "its WAL holds \(seen) new commits, its index counts \(header.changeCount &- position.changeCount)")
        }
        (position.changeCount, position.isCountKnown) = (header.changeCount, true)
        position.pageCount = header.pageCount > 0 ? header.pageCount : pagesInFile()
        guard seen > 0 else { return }
        commits += UInt64(seen)
        (lastChange, hasChanges) = (now, true)
    }

    /// - Returns: how many commits there were.
    private mutating func readFrames(_ header: WALIndexHeader) throws(CaptureError) -> UInt32 {
        do throws(CaptureError) {
            var reader = try WALFrameReader(
                wal: files, path: files.files.path, header: header, pageSize: pageSize, startingAfter: position.frame)
            guard position.frame == 0 || reader.sum == position.sum else {
                throw broken("frame \(position.frame) of its WAL is another one")
            }
            var seen: UInt32 = 0
            while reader.frame < header.lastFrame {
                let batch = try reader.readBatch(upTo: header.lastFrame)
                for page in batch.pages { pages.insert(page) }
                for commit in batch.commits where commit != 0 {
                    seen += 1
                    lowestPageCount = min(lowestPageCount, commit)
                }
            }
            guard reader.sum == header.frameChecksum, reader.endsCommit else {
                throw broken("its WAL does not end as its index says")
            }
            (position.frame, position.sum) = (reader.frame, reader.sum)
            return seen
        } catch {
            if case .followBroken = error { throw error }
            throw broken(error.summary)
        }
    }

    /// For tests: forgets what lies between the position and what was copied back.
    private mutating func skipToBackfill(_ header: WALIndexHeader) throws(CaptureError) {
        let backfilled = try sharedIndex().backfilledFrames()
        guard header.salt == position.salt, backfilled > position.frame, backfilled <= header.lastFrame else { return }
        let reader = try WALFrameReader(
            wal: files, path: files.files.path, header: header, pageSize: pageSize, startingAfter: backfilled)
        (position.frame, position.sum, position.isCountKnown) = (backfilled, reader.sum, false)
    }

    /// A recovered empty WAL leaves the count out (wal.c, walIndexRecover).
    func pagesInFile() -> UInt32 {
        UInt32(clamping: (files.databaseState()?.sizeBytes ?? 0) / UInt64(pageSize))
    }

    // MARK: Limits

    /// Notes how far the WAL grew where it is our lock that kept it from restarting, and throws if that is too far.
    ///
    /// Under the zero lock it is: nothing can be copied. Under the guard it is if frames were copied that came after
    /// the guard was taken; where another reader holds them back, letting go would change nothing.
    private mutating func checkLimit(_ header: WALIndexHeader) throws(CaptureError) {
        heldWALBytes = 0
        let start = holdsZero ? (header.salt == zero.salt ? zero.frame : 0) : frameAtGuard
        guard header.lastFrame > start else { return }
        let grown = UInt64(header.lastFrame - start) * UInt64(WALLayout.frameHeaderBytes + pageSize)
        let isOurs = try sharedIndex().backfilledFrames() > start
        guard holdsZero || isOurs else { return }
        heldWALBytes = grown
        guard grown > options.maximumWALBytes else { return }
        throw broken("its WAL grew by \(grown) bytes because of our lock")
    }
}
