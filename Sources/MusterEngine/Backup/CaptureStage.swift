import Foundation
import MusterFormat
import MusterModel
import MusterSQLite

/// The first stage: reads a live database inside one read transaction and seals it, on a thread of its own.
struct CaptureStage: Sendable {
    /// Plain bytes read and sealed at a time. Each of the few batches on their way takes up to this much memory.
    private static let batchBytes = 4 << 20

    enum Event: Sendable {
        case opened(OpenedSource)
        case sealed([SealedExtent])
        /// The read transaction ended well: what came before is one committed state.
        case closed(at: Timestamp)
    }

    let path: String
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
        let beganAt = clock.now()
        let capture = try PinnedCapture.begin(
            path: path, options: options, elapsed: monotonic, shouldStop: { handoff.isCancelled })
        defer { capture.abandon() }
        try observe(capture)
        let source = try OpenedSource(capture, beganAt: beganAt)
        try handoff.send(.opened(source))
        let geometry = source.geometry
        let extentsPerBatch = max(1, Self.batchBytes / geometry.extentBytes)
        var pages: [UInt8] = []
        for first in stride(from: 0, to: geometry.extentCount, by: extentsPerBatch) {
            let firstPage = UInt64(first) * UInt64(geometry.pagesPerExtent) + 1
            let count = min(UInt64(extentsPerBatch * geometry.pagesPerExtent), geometry.pageCount - firstPage + 1)
            try capture.readPages(firstPage, count: Int(count), into: &pages)
            // The lock is held while the network is waited for, so its budget counts then too.
            try handoff.send(.sealed(try lanes.seal(pages, from: first, geometry))) { try capture.checkBudget() }
        }
        try capture.finish()
        try handoff.send(.closed(at: clock.now()))
    }
}

/// What the manifest says of the source besides its pages.
struct OpenedSource: Sendable {
    let geometry: DatabaseGeometry
    let method: PinnedCapture.Method
    let inventory: SQLiteInventory
    let fingerprint: SourceFingerprint
    let beganAt: Timestamp

    init(_ capture: PinnedCapture, beganAt: Timestamp) throws {
        let geometry = DatabaseGeometry(
            pageSize: capture.pageSize, pagesPerExtent: Format.pagesPerExtent(pageSize: capture.pageSize),
            pageCount: capture.pageCount)
        guard let geometry else {
            throw CaptureError.corrupt(
                path: capture.path, reason: "\(capture.pageCount) pages of \(capture.pageSize) bytes")
        }
        self.geometry = geometry
        method = capture.method
        inventory = try capture.inventory()
        fingerprint = capture.fingerprint
        self.beganAt = beganAt
    }
}
