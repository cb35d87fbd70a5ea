/// What a read transaction may cost the application: how long it holds, and how far the WAL grows meanwhile.
struct HoldBudget {
    let path: String
    /// nil in a rollback journal mode.
    let wal: SQLiteFile?
    let surroundings: CaptureSurroundings
    let startedAt: Duration
    /// The size of the WAL right after the transaction began.
    let walBytes: UInt64

    func check() throws(CaptureError) {
        if surroundings.shouldStop() { throw .stopped(path: path) }
        let options = surroundings.options
        let limit = wal != nil ? options.maximumWALHold : options.maximumRollbackHold
        guard surroundings.elapsed() - startedAt <= limit else { throw .heldTooLong(path: path, limit: limit) }
        guard let wal else { return }
        let size = try orFailed { () throws(SQLiteError) in try wal.sizeBytes() }
        guard size <= walBytes + options.maximumWALGrowthBytes else {
            throw .walGrewTooMuch(path: path, limitBytes: options.maximumWALGrowthBytes)
        }
    }
}
