import MusterModel

/// Who is due when. A value: it asks no clock and starts nothing.
///
/// A database is due `every` after its last attempt began, plus jitter; one that
/// was missed while the agent was down is due at once, once. After a failure the
/// wait doubles, from a tenth of the interval up to the interval itself.
struct ScheduleBook {
    private struct Entry {
        var schedule: Schedule
        var dueAt: Timestamp
        var isRunning = false
    }

    private var entries: [DatabaseID: Entry] = [:]

    /// - Parameter chance: from 0 up to 1, spreads the fleet over the jitter.
    mutating func add(
        _ database: DatabaseID, _ schedule: Schedule, lastAttempt: Attempt?, now: Timestamp, chance: Double
    ) {
        let dueAt = lastAttempt.map { next(schedule, after: $0, chance: chance) } ?? now
        entries[database] = Entry(schedule: schedule, dueAt: max(dueAt, now))
    }

    mutating func remove(_ database: DatabaseID) { entries[database] = nil }

    /// Takes what is due and not running; each is running until `finished`.
    mutating func takeDue(at now: Timestamp) -> [DatabaseID] {
        // A clock that was ahead must not put the next snapshot off until then.
        for (database, entry) in entries where entry.dueAt > now + entry.schedule.longestWait {
            entries[database]?.dueAt = now + entry.schedule.longestWait
        }
        let due = entries.filter { !$0.value.isRunning && $0.value.dueAt <= now }
            .sorted { ($0.value.dueAt, $0.key) < ($1.value.dueAt, $1.key) }.map(\.key)
        for database in due { entries[database]?.isRunning = true }
        return due
    }

    mutating func finished(_ database: DatabaseID, _ attempt: Attempt, chance: Double) {
        guard let entry = entries[database] else { return }
        entries[database] = Entry(schedule: entry.schedule, dueAt: next(entry.schedule, after: attempt, chance: chance))
    }

    /// How long nothing is due, or nil while everything runs.
    func idleTime(at now: Timestamp) -> Duration? {
        entries.values.filter { !$0.isRunning }.map(\.dueAt).min().map { max(.zero, $0 - now) }
    }

    private func next(_ schedule: Schedule, after attempt: Attempt, chance: Double) -> Timestamp {
        let jitter = schedule.jitter * chance
        guard attempt.failuresInARow > 0 else { return attempt.at + schedule.every + jitter }
        let doublings = min(attempt.failuresInARow - 1, 10)
        let wait = max(.seconds(1), schedule.every / 10) * (1 << doublings)
        return attempt.at + min(wait, max(schedule.every, .seconds(1))) + jitter
    }
}

extension Schedule {
    /// No attempt is further away than this.
    fileprivate var longestWait: Duration { max(every, .seconds(1)) + jitter }
}
