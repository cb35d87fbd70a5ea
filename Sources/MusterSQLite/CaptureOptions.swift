/// How long and how much a capture may cost the application.
package struct CaptureOptions: Sendable {
    /// How long to wait for a lock before giving up.
    package var busyBudget: Duration = .seconds(5)
    /// How long a read transaction may keep the WAL from being restarted.
    package var maximumWALHold: Duration = .seconds(30 * 60)
    /// How long a SHARED lock may keep writers of a rollback-journal database waiting.
    package var maximumRollbackHold: Duration = .seconds(60)
    /// How much of what changed is kept in memory while that lock is held, to be sealed after it.
    package var maximumKeptBytes = 32 << 20
    /// How far the `-wal` file may grow while it cannot be restarted.
    package var maximumWALGrowthBytes: UInt64 = 1 << 30
    package init() {}
}

/// What a capture asks from outside: time and whether to go on.
struct CaptureSurroundings: Sendable {
    let options: CaptureOptions
    /// A monotonic reading; only differences count.
    let elapsed: @Sendable () -> Duration
    let shouldStop: @Sendable () -> Bool
}
