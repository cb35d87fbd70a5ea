package import MusterModel

/// One database that this agent protects.
package struct ProtectedDatabase: Equatable, Sendable {
    package let id: DatabaseID
    package let name: String
    package let path: String
    package let schedule: Schedule
    /// True while an operator wants the agent to keep its hands off: no snapshot, no lock, no look at the file.
    package var isPaused: Bool
    /// Since when the file of a database that a pattern found has been missing.
    package let vanishedAt: Timestamp?
    /// How long its changes may go without a receipt before that is an alarm; nil for what the fleet has.
    package var freshness: Duration?

    package init(
        id: DatabaseID, name: String, path: String, schedule: Schedule, isPaused: Bool = false,
        vanishedAt: Timestamp? = nil, freshness: Duration? = nil
    ) {
        (self.id, self.name, self.path, self.schedule) = (id, name, path, schedule)
        (self.isPaused, self.vanishedAt, self.freshness) = (isPaused, vanishedAt, freshness)
    }

    /// True if the agent works on it: a paused one is left alone, a vanished one has no file.
    package var isActive: Bool { !isPaused && vanishedAt == nil }
}

/// When snapshots of a database are due: `every` after the last one, plus up to `jitter`.
package struct Schedule: Equatable, Sendable {
    package static let shortest = Duration.milliseconds(100)
    package let every: Duration
    package let jitter: Duration

    /// - Returns: nil for an interval below 100 ms or a negative jitter.
    package init?(every: Duration, jitter: Duration? = nil) {
        // Without a word from the operator a tenth of the interval spreads a fleet's load, never more than a minute.
        let jitter = jitter ?? min(every / 10, .seconds(60))
        guard every >= Self.shortest, jitter >= .zero else { return nil }
        (self.every, self.jitter) = (every, jitter)
    }
}
