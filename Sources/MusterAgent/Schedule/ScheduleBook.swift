import MusterModel

/// Who is due when. A value: it asks no clock and starts nothing.
///
/// A database is due `every` after its last attempt began, plus jitter; one that
/// was missed while the agent was down is due at once, once. After a failure the
/// wait doubles, from a tenth of the interval up to the interval itself. One that
/// rests is looked at now and then only, until it is woken. A step costs
/// O(log n), however many databases there are.
struct ScheduleBook {
    /// What is told of a database that rests may get lost: after this long, and up to half as long again, it is
    /// looked at.
    private static let restTime = Duration.seconds(600)

    private struct Entry {
        var schedule: Schedule
        /// When a snapshot is due; one that rests needs none.
        var scheduledAt: Timestamp
        /// When it has its turn.
        var dueAt: Timestamp
        var isRunning = false
        /// It was woken while it was running.
        var isWoken = false
        /// Of the ticket that counts.
        var ticket: UInt64 = 0
    }

    private var entries: [DatabaseID: Entry] = [:]
    private var queue = DueQueue()
    private var tickets: UInt64 = 0
    private var newest: Timestamp?

    /// - Parameter chance: from 0 up to 1, spreads the fleet over the jitter.
    mutating func add(
        _ database: DatabaseID, _ schedule: Schedule, lastAttempt: Attempt?, now: Timestamp, chance: Double
    ) {
        let dueAt = lastAttempt.map { next(schedule, after: $0, chance: chance) } ?? now
        // A clock that was ahead must not put the next snapshot off until then.
        let bounded = min(max(dueAt, now), now + schedule.longestWait)
        put(database, Entry(schedule: schedule, scheduledAt: bounded, dueAt: bounded))
    }

    mutating func remove(_ database: DatabaseID) { entries[database] = nil }

    /// Takes what is due and not running, the longest due first; each is running until `finished`.
    mutating func takeDue(at now: Timestamp, limit: Int = .max) -> [DatabaseID] {
        if let newest, now < newest { turnBack(to: now) }
        newest = now
        var due: [DatabaseID] = []
        while due.count < limit, let first = queue.first, first.dueAt <= now {
            _ = queue.popFirst()
            guard entries[first.database]?.ticket == first.number else { continue }
            entries[first.database]?.isRunning = true
            due.append(first.database)
        }
        return due
    }

    /// - Parameter isResting: whoever writes to it is told of, so it is left alone until then.
    mutating func finished(
        _ database: DatabaseID, _ attempt: Attempt, chance: Double, isResting: Bool = false
    ) {
        guard let entry = entries[database] else { return }
        let scheduledAt = next(entry.schedule, after: attempt, chance: chance)
        let restsUntil = attempt.at + Self.restTime * (1 + chance / 2)
        let dueAt = isResting && !entry.isWoken ? max(scheduledAt, restsUntil) : scheduledAt
        put(database, Entry(schedule: entry.schedule, scheduledAt: scheduledAt, dueAt: dueAt))
    }

    /// Something happened to a database: if it rested, its schedule counts again.
    mutating func wake(_ database: DatabaseID, now: Timestamp) {
        guard var entry = entries[database] else { return }
        guard !entry.isRunning else {
            entries[database]?.isWoken = true
            return
        }
        let dueAt = max(entry.scheduledAt, now)
        guard dueAt < entry.dueAt else { return }
        entry.dueAt = dueAt
        put(database, entry)
    }

    /// How long at least nothing is due, or nil while everything runs.
    func idleTime(at now: Timestamp) -> Duration? { queue.first.map { max(.zero, $0.dueAt - now) } }

    /// Void ones too.
    var ticketCount: Int { queue.count }

    private mutating func put(_ database: DatabaseID, _ entry: Entry) {
        tickets += 1
        entries[database] = entry
        entries[database]?.ticket = tickets
        queue.insert(.init(dueAt: entry.dueAt, database: database, number: tickets))
        if queue.count > 2 * entries.count + 64 { queue = DueQueue(waiting) }
    }

    private var waiting: [DueQueue.Ticket] {
        entries.filter { !$0.value.isRunning }
            .map { .init(dueAt: $0.value.dueAt, database: $0.key, number: $0.value.ticket) }
    }

    /// The clock was set back.
    private mutating func turnBack(to now: Timestamp) {
        for (database, entry) in entries where entry.dueAt > now + entry.schedule.longestWait {
            var bounded = entry
            bounded.dueAt = now + entry.schedule.longestWait
            bounded.scheduledAt = bounded.dueAt
            entries[database] = bounded
        }
        queue = DueQueue(waiting)
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
