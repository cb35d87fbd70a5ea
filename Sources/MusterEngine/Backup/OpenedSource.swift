import MusterFormat
import MusterModel
import MusterSQLite

/// What the manifest says of the source besides its pages.
struct OpenedSource: Sendable {
    let geometry: DatabaseGeometry
    let method: CaptureMethod
    let continuity: Continuity
    let inventory: SQLiteInventory
    let fingerprint: SourceFingerprint
    let beganAt: Timestamp
    /// Where the follower stands.
    let cursor: FollowCursor?
    /// nil where writers go on while it is read.
    var writerWait: WriterWait?

    init(_ capture: PinnedCapture, beganAt: Timestamp, pagesPerExtent: Int) throws {
        let isSettled = capture.fingerprint.isSettled(at: beganAt)
        try self.init(
            capture, capture.method == .closedFile ? .closed : .pinned, .scanned, beganAt, pagesPerExtent,
            isSettled ? capture.closedCursor : nil)
    }

    init(_ pin: FollowedPin, beganAt: Timestamp, pagesPerExtent: Int, isProven: Bool) throws {
        try self.init(
            pin.capture, .followed, isProven ? .proven : .scanned, beganAt, pagesPerExtent, pin.cursor)
    }

    private init(
        _ capture: PinnedCapture, _ method: CaptureMethod, _ continuity: Continuity, _ beganAt: Timestamp,
        _ pagesPerExtent: Int, _ cursor: FollowCursor?
    ) throws {
        geometry = try DatabaseGeometry(
            pageSize: capture.pageSize, pagesPerExtent: pagesPerExtent, pageCount: capture.pageCount,
            path: capture.path)
        (self.method, self.continuity, self.cursor) = (method, continuity, cursor)
        inventory = try capture.inventory()
        fingerprint = capture.fingerprint
        self.beganAt = beganAt
    }
}
