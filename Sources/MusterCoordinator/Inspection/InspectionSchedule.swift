import Logging
import MusterCatalog
import MusterModel
import Synchronization

/// What the policy wants inspected is begun by itself, evenly over time.
///
/// A database is due from three quarters of its period on, and the last quarter is enough for the whole fleet: so
/// what a run over the fleet brought into step does not stay in step, and nothing is late. Whether something is due
/// follows from the catalog alone. What was tried and did not pass rests before it is tried again.
extension Coordinator {
    private static let leadQuarters = 3
    private static let longestRest = Duration.seconds(86_400)
    private static let longestSettling = Duration.seconds(3600)

    func scheduleInspections(_ pace: InspectionPace) async throws {
        for level in [VerificationLevel.drill, .verify] {
            guard let every = settings.verification.every(level) else {
                try await closeSchedule(of: level, startedBefore: clock.now() + .seconds(1))
                continue
            }
            try await closeSchedule(of: level, startedBefore: clock.now() - Self.rest(every))
            let room = settings.verification.nodesAtOnce - (try await catalog.openInspections())
            guard room > 0 else { continue }
            let now = clock.now()
            let databases = try await pace.databases(now: now) { try await catalog.totals().databases }
            let allowance = min(room, pace.allowance(of: level, databases: databases, every: every, now: now))
            guard allowance > 0 else { continue }
            let due = try await catalog.due(
                Catalog.DueQuery(
                    level: level, passedBefore: now - every * Self.leadQuarters / 4,
                    triedBefore: now - Self.rest(every), heardSince: now - Self.pollPatience,
                    joinedBefore: now - min(Self.longestSettling, every / 4), limit: allowance))
            guard !due.isEmpty else { continue }
            pace.spend(due.count, of: level)
            let run = try await schedule(of: level, now: now)
            try await add(due, to: run, level, filledTo: nil, isLast: false)
            logger.info(
                "inspections scheduled",
                metadata: ["run": "\(run)", "level": "\(level.rawValue)", "snapshots": "\(due.count)"])
        }
    }

    /// How long a database rests after a try that did not pass; as long does one scheduled run take up snapshots, so
    /// that the next try is another run's.
    static func rest(_ every: Duration) -> Duration { min(every / 4, longestRest) }

    private func schedule(of level: VerificationLevel, now: Timestamp) async throws -> RunID {
        if let open = try await catalog.openSchedule(of: level) { return open.run }
        let new = Catalog.NewVerification(
            run: RunID(from: random), level: level, scope: VerificationScope.schedule,
            actor: VerificationScope.schedule)
        try await catalog.begin(new, now: now)
        return new.run
    }

    private func closeSchedule(of level: VerificationLevel, startedBefore limit: Timestamp) async throws {
        guard let open = try await catalog.openSchedule(of: level), open.startedAt < limit else { return }
        try await add([], to: open.run, level, filledTo: nil, isLast: true)
    }
}

/// How many inspections may be begun by now.
final class InspectionPace: Sendable {
    /// A small fleet goes on by one each half minute.
    private static let leastPerSecond = 1.0 / 30
    private static let mostSaved = 1000.0
    private static let countedFor = Duration.seconds(300)

    private struct State {
        var saved: [VerificationLevel: Double] = [:]
        var lookedAt: [VerificationLevel: Timestamp] = [:]
        var databases = 0
        var countedAt: Timestamp?
    }

    private let state = Mutex(State())

    /// How many databases there are; not counted anew each time.
    func databases(now: Timestamp, _ count: () async throws -> Int) async throws -> Int {
        let known = state.withLock { state in
            state.countedAt.map { $0 <= now && now - $0 < Self.countedFor } == true ? state.databases : nil
        }
        if let known { return known }
        let databases = try await count()
        state.withLock { ($0.databases, $0.countedAt) = (databases, now) }
        return databases
    }

    func allowance(of level: VerificationLevel, databases: Int, every: Duration, now: Timestamp) -> Int {
        state.withLock { state in
            let perSecond = max(Self.leastPerSecond, 4 * Double(databases) / max(1, every.inSeconds))
            let elapsed = state.lookedAt[level].map { max(0, (now - $0).inSeconds) } ?? 1 / perSecond
            state.lookedAt[level] = now
            state.saved[level] = min(Self.mostSaved, state.saved[level, default: 0] + elapsed * perSecond)
            return Int(state.saved[level, default: 0])
        }
    }

    func spend(_ count: Int, of level: VerificationLevel) {
        state.withLock { $0.saved[level, default: 0] -= Double(count) }
    }
}
