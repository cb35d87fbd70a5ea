import MusterFormat
import MusterModel
import MusterSQLite

/// How long a capture may have kept writers of a rollback-journal database waiting.
package struct WriterWait: Equatable, Sendable {
    /// The longest time that SHARED was held.
    package var longest: Duration = .zero
    /// In all, and how many bytes were read in that time.
    var held: Duration = .zero
    var bytesRead = 0
    /// False: the database was read in slices, and nothing was committed meanwhile.
    package var heldThroughout = false
}

/// A database with a rollback journal: nothing tells what changed, and while it is read nobody writes.
///
/// So it is read in slices, each in a read transaction of its own: a writer waits for one slice at most. All slices
/// are one commit if each saw the same `CommitMark`. Where somebody committed meanwhile, what was read is kept as
/// something to compare with, and it is read again; after three rounds the lock is held for one whole comparison.
/// What that finds is sealed and sent after the lock is released, as far as it fits into memory.
extension CaptureStage {
    private static let mostSlicedRounds = 3

    func readSliced(_ handoff: Handoff<Event>) throws {
        let series = try CaptureSeries(
            path: path, options: options, elapsed: monotonic, shouldStop: { handoff.isCancelled })
        var wait = WriterWait()
        for round in 0..<Self.mostSlicedRounds {
            let isFirst = round == 0 && draft.isBuilding
            if try readRound(series, isFirst: isFirst, &wait, handoff) { return }
        }
        try readHeld(series, wait, handoff)
    }

    /// Runs `body` in a short read transaction.
    private func slice<Success>(
        _ series: CaptureSeries, _ wait: inout WriterWait, _ body: (PinnedCapture) throws -> Success
    ) throws -> Success {
        let capture = try series.next()
        defer { capture.abandon() }
        // Another journal mode has other rules: the next attempt follows those.
        guard capture.method == .rollback else { throw CaptureError.changedDuringCapture(path: path) }
        let beganAt = monotonic()
        let answer = try body(capture)
        try capture.finish()
        let held = monotonic() - beganAt
        (wait.longest, wait.held) = (max(wait.longest, held), wait.held + held)
        return answer
    }

    /// - Parameter isFirst: into an empty ledger, which takes all of it whatever is committed meanwhile.
    /// - Returns: false if somebody committed meanwhile.
    private func readRound(
        _ series: CaptureSeries, isFirst: Bool, _ wait: inout WriterWait, _ handoff: Handoff<Event>
    ) throws -> Bool {
        let mark = try slice(series, &wait) { try $0.commitMark() }
        let geometry = try geometry(mark)
        try begin(geometry, handoff)
        var isOneCommit = true
        do {
            try emit(0..<geometry.extentCount, dirty: nil, isFirst: isFirst, geometry, handoff, nil) {
                (first, count, buffer) in
                let isSame = try slice(series, &wait) { capture in
                    try read(capture, first, count, &buffer, geometry)
                    return try capture.commitMark() == mark
                }
                wait.bytesRead += buffer.count
                isOneCommit = isOneCommit && isSame
                if !isOneCommit, !isFirst { throw CommittedMeanwhile() }
            }
        } catch is CommittedMeanwhile {
            return false
        }
        guard isOneCommit else { return false }
        let beganAt = clock.now()
        let source = try slice(series, &wait) { capture -> OpenedSource? in
            guard try capture.commitMark() == mark else { return nil }
            try observe(capture)
            return try OpenedSource(capture, beganAt: beganAt, pagesPerExtent: geometry.pagesPerExtent)
        }
        guard let source else { return false }
        try close(source, at: clock.now(), wait, handoff)
        return true
    }

    /// Pages that the commit of this slice does not have are zeros: another round follows then.
    private func read(
        _ capture: PinnedCapture, _ first: UInt64, _ count: Int, _ buffer: inout [UInt8], _ geometry: DatabaseGeometry
    ) throws {
        guard capture.pageSize == geometry.pageSize else { throw CaptureError.changedDuringCapture(path: path) }
        let there = Int(min(UInt64(count), capture.pageCount - min(capture.pageCount, first - 1)))
        if there > 0 { try capture.readPages(first, count: there, into: &buffer) } else { buffer = [] }
        buffer += [UInt8](repeating: 0, count: (count - there) * geometry.pageSize)
    }

    // MARK: - Held throughout

    private func readHeld(_ series: CaptureSeries, _ before: WriterWait, _ handoff: Handoff<Event>) throws {
        var wait = before
        let expected = try geometry(try slice(series, &wait) { try $0.commitMark() })
        try checkHold(expected, before)
        // What is under way is settled before the lock is taken.
        try begin(expected, handoff)
        wait.heldThroughout = true
        var kept = KeptBatches(limitBytes: options.maximumKeptBytes)
        let beganAt = clock.now()
        let source = try slice(series, &wait) { capture in
            let source = try OpenedSource(
                capture, beganAt: beganAt, pagesPerExtent: draft.pagesPerExtent(capture.pageSize))
            try observe(capture)
            try begin(source.geometry, handoff, capture)
            try eachBatch(0..<source.geometry.extentCount, dirty: nil, source.geometry) {
                try capture.readPages($0, count: $1, into: &$2)
            } body: { batch in
                let differing = try lanes.compare(batch, try draft.records(batch.extents))
                guard !differing.isEmpty, !kept.keep(batch.only(differing)) else { return }
                // More than fits: the rest is sealed and sent under the lock, as long as its budget lasts.
                for batch in kept.takeAll() { try emit(batch, isFirst: false, handoff, capture) }
                try emit(batch.only(differing), isFirst: false, handoff, capture)
            }
            return source
        }
        // Commits from here on are not in the image, however long it takes to send it.
        let endedAt = clock.now()
        for batch in kept.takeAll() { try emit(batch, isFirst: false, handoff, nil) }
        try close(source, at: endedAt, wait, handoff)
    }

    /// Nobody is made to wait for what cannot come to an end.
    private func checkHold(_ geometry: DatabaseGeometry, _ wait: WriterWait) throws {
        guard wait.bytesRead > 0 else { return }
        let bytes = Double(geometry.pageCount) * Double(geometry.pageSize)
        let expected = wait.held.inSeconds * bytes / Double(wait.bytesRead)
        guard expected <= options.maximumRollbackHold.inSeconds else {
            throw CaptureError.heldTooLong(path: path, limit: options.maximumRollbackHold)
        }
    }

    private func close(
        _ source: OpenedSource, at endedAt: Timestamp, _ wait: WriterWait, _ handoff: Handoff<Event>
    ) throws {
        var source = source
        source.writerWait = wait
        try handoff.send(.pinned(source))
        try handoff.send(.closed(at: endedAt))
    }

    private func geometry(_ mark: CommitMark) throws -> DatabaseGeometry {
        try checkPageSize(mark.pageSize)
        return try DatabaseGeometry(
            pageSize: mark.pageSize, pagesPerExtent: draft.pagesPerExtent(mark.pageSize), pageCount: mark.pageCount,
            path: path)
    }
}

/// A slice saw another commit than the first one.
private struct CommittedMeanwhile: Error {}

/// Extents read under a lock, to be sealed after it is released.
private struct KeptBatches {
    let limitBytes: Int
    private var batches: [ExtentBatch] = []
    private var byteCount = 0
    /// Extents are sent in ascending order: after one did not fit none is kept.
    private var isFull = false

    init(limitBytes: Int) { self.limitBytes = limitBytes }

    /// - Returns: false if it does not fit.
    mutating func keep(_ batch: ExtentBatch) -> Bool {
        isFull = isFull || byteCount + batch.pages.count > limitBytes
        guard !isFull else { return false }
        batches.append(batch)
        byteCount += batch.pages.count
        return true
    }

    mutating func takeAll() -> [ExtentBatch] {
        defer { (batches, byteCount) = ([], 0) }
        return batches
    }
}

extension ExtentBatch {
    /// - Parameter chosen: some of its extents, ascending.
    fileprivate func only(_ chosen: [Int]) -> ExtentBatch {
        guard chosen.count < extents.count else { return self }
        let wanted = Set(chosen)
        var pages: [UInt8] = []
        for (index, extent) in extents.enumerated() where wanted.contains(extent) {
            let start = index * geometry.extentBytes
            pages += self.pages[start..<min(start + geometry.extentBytes, self.pages.count)]
        }
        return ExtentBatch(extents: chosen, pages: pages, geometry: geometry, dirty: dirty)
    }
}
