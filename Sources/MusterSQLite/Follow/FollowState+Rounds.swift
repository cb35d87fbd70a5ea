/// What a snapshot asks of the machine: which pages changed, and one exact state.
///
/// **A plain read of the file is good** for every page that is in no frame
/// between what was copied back when it began (`nBackfill`) and the commit that
/// is pinned in the end: only frames after `nBackfill` can be written into the
/// file meanwhile, and the newest image of any other page was there already. So
/// a round begins with the pages in frames after `nBackfill`, and with what is
/// seen from then on they are all that must be read again, exactly.
extension FollowState {
    /// The pages that changed since they were last taken; starts to collect anew.
    ///
    /// A database that shrank and grew again may have pages without a frame (pager.c, sqlite3PagerDontWrite), which
    /// are zero now: everything beyond the smallest size counts as changed.
    private mutating func takePages() -> PageSet {
        var taken = pages
        taken.insert(after: lowestPageCount, upTo: position.pageCount)
        taken.remove(above: UInt64(position.pageCount))
        (pages, lowestPageCount) = (PageSet(), position.pageCount)
        return taken
    }

    mutating func beginRound(_ now: Duration) throws(CaptureError) -> PageSet {
        try tick(now)
        let taken = takePages()
        if !options.faults.contains(.forgetsUncopied) { try collectUncopied(now) }
        return taken
    }

    /// Collects the pages in frames that were seen and are not in the file yet.
    private mutating func collectUncopied(_ now: Duration) throws(CaptureError) {
        // Under the zero lock all frames were copied when it was taken. Only where more were seen since, in front of
        // a pinned transaction, are there some; then nothing restarts before they are copied.
        if holdsZero, position.salt == zero.salt, position.frame == zero.frame { return }
        guard position.frame > 0 else { return }
        guard let header = try header(now) else { throw broken("its wal-index cannot be read") }
        // Restarted since the last look: every frame of the new generation is yet to be seen.
        guard header.salt == position.salt else { return }
        let backfilled = try sharedIndex().backfilledFrames()
        guard backfilled < position.frame else { return }
        do throws(CaptureError) {
            let reader = try WALFrameReader(
                wal: files, path: files.files.path, header: header, pageSize: pageSize, startingAfter: backfilled)
            for frame in backfilled + 1...position.frame {
                let head = try reader.frameHead(frame)
                pages.insert(max(1, head.page))
                if head.commit != 0 { lowestPageCount = min(lowestPageCount, head.commit) }
            }
        } catch {
            throw broken("frames of its WAL are gone: \(error.summary)")
        }
    }

    mutating func giveBack(_ taken: PageSet) {
        pages.formUnion(taken)
        hasChanges = true
    }

    /// Begins a read transaction and sees everything up to exactly its commit.
    ///
    /// What keeps the frames: the guard; or, under the zero lock, the transaction itself, which holds a read slot
    /// from 1 up as long as there are frames that were not copied (see `LiveReader`).
    mutating func pin(_ surroundings: CaptureSurroundings) throws(CaptureError) -> FollowedPin {
        let sources = files.files
        let lease = try CaptureLease(files.identity, path: sources.path)
        let fingerprint = try SourceFingerprint(sources)
        let live = try LiveReader.start(sources, surroundings, isBesideFollower: true)
        let now = surroundings.elapsed()
        guard let header = live.header, live.pageSize == pageSize, files.areInPlace() else {
            throw broken("one of its files was replaced or removed")
        }
        let pageCount = live.pageCount
        try consume(header, now)
        position.pageCount = UInt32(clamping: pageCount)
        let capture = PinnedCapture(sources.path, live, fingerprint, lease)
        let dirty = takePages()
        hasChanges = false
        return FollowedPin(capture: capture, dirty: dirty, cursor: cursor(settledFile(now)))
    }

    /// Names the last commit that was seen.
    ///
    /// - Parameter file: the database file, if it holds that commit as a whole and a later write will show in it.
    func cursor(_ file: FileState?) -> FollowCursor {
        FollowCursor(position, pageSize: pageSize, identity: files.identity, file: file)
    }

    /// The database file, if all that was seen is in it and a later write cannot have the same times.
    ///
    /// File systems stamp in steps of up to 10 ms (the kernel's tick). Under the zero lock nobody writes: if the
    /// times are still the same 20 ms after it was taken, whatever is written later gets later ones.
    func settledFile(_ now: Duration) -> FileState? {
        guard holdsZero, position.salt == zero.salt, position.frame == zero.frame,
            now - zero.since >= .milliseconds(20), let file = zero.file, files.databaseState() == file
        else { return nil }
        return file
    }
}
