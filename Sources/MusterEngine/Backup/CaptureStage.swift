import Foundation
import MusterFormat
import MusterModel
package import MusterSQLite

/// How a database is read.
package enum CaptureWay: Sendable {
    /// Inside one read transaction; nothing is known between snapshots.
    case pinned
    /// By the frames that its follower saw; `isProven`: every change since the ledger's snapshot was collected.
    case followed(Follower, isProven: Bool)
}

/// The first stage: reads a live database and seals what changed, on a thread of its own.
///
/// | way | ledger | what is read |
/// |---|---|---|
/// | pinned | none | everything, inside one read transaction; with a rollback journal in slices |
/// | pinned | usable | the same; what hashes as before is not sealed |
/// | followed | none | everything, beside the writers; then, pinned, what they changed meanwhile |
/// | followed | usable | hashes of everything, to find what changed; then that, as below |
/// | followed, proven | usable | the extents of pages that commits since the ledger's snapshot wrote |
///
/// A page read beside the writers may be old or torn. It is read again under
/// the pin if a frame for it lay in the WAL, not yet in the file, when the
/// round began, or came later: any other page had its newest image in the file
/// already (ENGINE, theorem 2). What was sealed too early is a base like any
/// other for the difference that corrects it.
struct CaptureStage: Sendable {
    /// Plain bytes read and sealed at a time. Each of the few batches on their way takes up to this much memory.
    private static let batchBytes = 4 << 20
    /// More than this is first read beside the writers, so that no transaction is held for long.
    private static let mostPinnedBytes = 256 << 20
    private static let mostRounds = 4

    enum Event: Sendable {
        /// What follows is of a database of this shape, and everything before must be settled first.
        case round(DatabaseGeometry, settled: Settlement)
        case changed([ExtentOutcome], through: Int)
        case pinned(OpenedSource)
        /// The read transaction ended well: with its pages everything is one committed state.
        case closed(at: Timestamp)
    }

    let path: String
    let way: CaptureWay
    let draft: LedgerDraft
    let lanes: SealingLanes
    let options: CaptureOptions
    let clock: any WallClock
    let monotonic: @Sendable () -> Duration
    let observe: @Sendable (PinnedCapture) throws -> Void

    /// Starts the thread. It ends when the source is read, on an error, or when the other side cancels.
    func start() -> Handoff<Event> {
        let handoff = Handoff<Event>(capacity: 1)
        let thread = Thread { handoff.finish(Result { try readAll(into: handoff) }) }
        thread.name = "muster-capture"
        // SQLite and the sealers keep large buffers on the heap, so a modest stack will do.
        thread.stackSize = 1 << 20
        thread.start()
        return handoff
    }

    private func readAll(into handoff: Handoff<Event>) throws {
        switch way {
        case .pinned: try readPinned(handoff)
        case .followed(let follower, let isProven):
            var taken = PageSet()
            do {
                try readFollowed(follower, isProven: isProven, &taken, handoff)
            } catch {
                follower.giveBack(taken)
                throw error
            }
        }
    }

    // MARK: - Pinned

    private func readPinned(_ handoff: Handoff<Event>) throws {
        let beganAt = clock.now()
        let capture = try PinnedCapture.begin(
            path: path, options: options, elapsed: monotonic, shouldStop: { handoff.isCancelled })
        defer { capture.abandon() }
        if capture.method == .rollback {
            capture.abandon()
            return try readSliced(handoff)
        }
        try observe(capture)
        let source = try OpenedSource(capture, beganAt: beganAt, pagesPerExtent: draft.pagesPerExtent(capture.pageSize))
        try begin(source.geometry, handoff, capture)
        try handoff.send(.pinned(source))
        let all = 0..<source.geometry.extentCount
        try emit(all, dirty: nil, isFirst: draft.isBuilding, source.geometry, handoff, capture) {
            try capture.readPages($0, count: $1, into: &$2)
        }
        try capture.finish()
        try handoff.send(.closed(at: clock.now()))
    }

    // MARK: - Followed

    private func readFollowed(
        _ follower: Follower, isProven: Bool, _ taken: inout PageSet, _ handoff: Handoff<Event>
    ) throws {
        var work = PageSet()
        // Pages behind these were not compared: the file did not have them.
        var compared: UInt64?
        if draft.isBuilding {
            taken.formUnion(try follower.beginRound())
            let geometry = try geometry(follower)
            try begin(geometry, handoff)
            try emit(0..<geometry.extentCount, dirty: nil, isFirst: true, geometry, handoff, nil) {
                try follower.readFile($0, count: $1, into: &$2)
            }
        } else if !isProven {
            taken.formUnion(try follower.beginRound())
            (work, compared) = try differing(follower, handoff)
        }
        for round in 0... {
            let beganAt = clock.now()
            let pin = try follower.pin(options: options, shouldStop: { handoff.isCancelled })
            defer { pin.capture.abandon() }
            work.formUnion(pin.dirty)
            taken.formUnion(pin.dirty)
            if let compared {
                work.insert(after: UInt32(clamping: compared), upTo: UInt32(clamping: pin.capture.pageCount))
            }
            let source = try OpenedSource(
                pin, beganAt: beganAt, pagesPerExtent: draft.pagesPerExtent(pin.capture.pageSize), isProven: isProven)
            let extents = extents(of: work, source.geometry)
            if extents.count * source.geometry.extentBytes > Self.mostPinnedBytes, round < Self.mostRounds {
                pin.capture.abandon()
                work = try readBesideWriters(follower, work, &taken, handoff)
                continue
            }
            try observe(pin.capture)
            try begin(source.geometry, handoff, pin.capture)
            try handoff.send(.pinned(source))
            try emit(extents, dirty: work, isFirst: false, source.geometry, handoff, pin.capture) {
                try pin.capture.readPages($0, count: $1, into: &$2)
            }
            try pin.capture.finish()
            try handoff.send(.closed(at: clock.now()))
            return
        }
    }

    /// Reads and sends what changed without holding anything; what changes meanwhile is collected for the next pin.
    private func readBesideWriters(
        _ follower: Follower, _ pages: PageSet, _ taken: inout PageSet, _ handoff: Handoff<Event>
    ) throws -> PageSet {
        var work = pages
        let late = try follower.beginRound()
        work.formUnion(late)
        taken.formUnion(late)
        let geometry = try geometry(follower)
        // Before the ledger is told of the new shape, which says what came and went.
        let extents = extents(of: work, geometry)
        try begin(geometry, handoff)
        // Every page is hashed as it was read: what the record has of a page may be newer than the file.
        try emit(extents, dirty: nil, isFirst: false, geometry, handoff, nil) {
            try follower.readFile($0, count: $1, into: &$2)
        }
        return PageSet()
    }

    /// Pages of the extents that do not hash as the ledger has them.
    ///
    /// - Returns: the pages, and how many were compared.
    private func differing(
        _ follower: Follower, _ handoff: Handoff<Event>
    ) throws -> (PageSet, compared: UInt64) {
        let geometry = try geometry(follower)
        var work = PageSet()
        try eachBatch(0..<geometry.extentCount, dirty: nil, geometry) {
            try follower.readFile($0, count: $1, into: &$2)
        } body: { batch in
            if handoff.isCancelled { throw CancellationError() }
            for extent in try lanes.compare(batch, try draft.records(batch.extents)) {
                let first = UInt32(extent * geometry.pagesPerExtent + 1)
                for page in 0..<geometry.pageCount(ofExtent: extent) { work.insert(first + UInt32(page)) }
            }
        }
        return (work, geometry.pageCount)
    }

    /// Hashes of pages of one size tell nothing of pages of another.
    func checkPageSize(_ size: Int) throws {
        let known = draft.state.geometry
        guard draft.isBuilding || known.pageCount == 0 || known.pageSize == size else {
            throw SourceReplaced(before: "pages of \(known.pageSize) bytes", now: "pages of \(size) bytes")
        }
    }

    private func geometry(_ follower: Follower) throws -> DatabaseGeometry {
        let size = follower.pageSize
        try checkPageSize(size)
        return try DatabaseGeometry(
            pageSize: size, pagesPerExtent: draft.pagesPerExtent(size), pageCount: try follower.filePageCount,
            path: path)
    }

    /// Those of the pages, and those whose number of pages is not what the ledger has.
    private func extents(of pages: PageSet, _ geometry: DatabaseGeometry) -> [Int] {
        var extents = Set(pages.extents(pagesPerExtent: geometry.pagesPerExtent).filter { $0 < geometry.extentCount })
        let before = draft.state.geometry.pageCount
        if before != geometry.pageCount, geometry.pageCount > 0 {
            let shorter = min(before, geometry.pageCount)
            let first = Int((max(shorter, 1) - 1) / UInt64(geometry.pagesPerExtent))
            for extent in first..<geometry.extentCount { extents.insert(extent) }
        }
        return extents.sorted()
    }

    // MARK: - Batches

    /// Waits until the other side has settled what it was given, so that records can be read again.
    func begin(
        _ geometry: DatabaseGeometry, _ handoff: Handoff<Event>, _ capture: PinnedCapture? = nil
    ) throws {
        try checkPageSize(geometry.pageSize)
        let settlement = Settlement()
        try handoff.send(.round(geometry, settled: settlement)) { try capture?.checkBudget() }
        try settlement.wait {
            try capture?.checkBudget()
            return handoff.isCancelled
        }
    }

    typealias Read = (_ first: UInt64, _ count: Int, _ into: inout [UInt8]) throws -> Void

    func emit(
        _ extents: some Collection<Int>, dirty: PageSet?, isFirst: Bool, _ geometry: DatabaseGeometry,
        _ handoff: Handoff<Event>, _ capture: PinnedCapture?, _ read: Read
    ) throws {
        try eachBatch(extents, dirty: dirty, geometry, read) { try emit($0, isFirst: isFirst, handoff, capture) }
    }

    func emit(
        _ batch: ExtentBatch, isFirst: Bool, _ handoff: Handoff<Event>, _ capture: PinnedCapture?
    ) throws {
        // The first pass into a new ledger finds nothing there.
        let records = isFirst ? [:] : try draft.records(batch.extents)
        let outcomes = try lanes.emit(batch, records, draft.state)
        // The lock is held while the network is waited for, so its budget counts then too.
        try handoff.send(.changed(outcomes, through: batch.extents.last ?? 0)) { try capture?.checkBudget() }
    }

    func eachBatch(
        _ extents: some Collection<Int>, dirty: PageSet?, _ geometry: DatabaseGeometry, _ read: Read,
        body: (ExtentBatch) throws -> Void
    ) throws {
        let perBatch = max(1, Self.batchBytes / geometry.extentBytes)
        var (pages, piece): ([UInt8], [UInt8]) = ([], [])
        var rest = extents[...]
        while !rest.isEmpty {
            let batch = Array(rest.prefix(perBatch))
            rest = rest.dropFirst(perBatch)
            let runs = batch.runs()
            if runs.count == 1 {
                try read(geometry.firstPage(ofExtent: batch[0]), geometry.pageCount(of: runs[0]), &pages)
            } else {
                pages.removeAll(keepingCapacity: true)
                for run in runs {
                    try read(geometry.firstPage(ofExtent: run.lowerBound), geometry.pageCount(of: run), &piece)
                    pages += piece
                }
            }
            try body(ExtentBatch(extents: batch, pages: pages, geometry: geometry, dirty: dirty))
        }
    }
}

extension DatabaseGeometry {
    /// - Throws: `CaptureError` where no database has such a shape.
    init(pageSize: Int, pagesPerExtent: Int, pageCount: UInt64, path: String) throws {
        let geometry = DatabaseGeometry(pageSize: pageSize, pagesPerExtent: pagesPerExtent, pageCount: pageCount)
        guard let geometry else {
            throw CaptureError.corrupt(path: path, reason: "\(pageCount) pages of \(pageSize) bytes")
        }
        self = geometry
    }

    fileprivate func firstPage(ofExtent extent: Int) -> UInt64 { UInt64(extent) * UInt64(pagesPerExtent) + 1 }

    fileprivate func pageCount(of extents: Range<Int>) -> Int {
        (extents.count - 1) * pagesPerExtent + pageCount(ofExtent: extents.upperBound - 1)
    }
}

extension [Int] {
    /// Ascending numbers as ranges without a gap.
    fileprivate func runs() -> [Range<Int>] {
        reduce(into: []) { runs, number in
            if let last = runs.last, last.upperBound == number {
                runs[runs.count - 1] = last.lowerBound..<number + 1
            } else {
                runs.append(number..<number + 1)
            }
        }
    }
}
