import Logging
import MusterCatalog
import MusterModel
import ServiceLifecycle

/// Does the coordinator's own part of verification runs.
///
/// One snapshot of each run after the other, so that a long run keeps no short one waiting. Runs over snapshots that
/// somebody named are done beside all others, which keep the scrub's pace. Runs are in the
/// catalog, so after a restart it goes on where it stopped.
struct InspectionService: Service {
    private static let patience = Duration.seconds(60)
    /// What cannot be inspected for a reason that may pass is tried so often before its run ends without it.
    private static let mostTries = 10

    let coordinator: Coordinator

    func run() async throws {
        await withDiscardingTaskGroup { group in
            for isOfSnapshots in [true, false] { group.addTask { await run(isOfSnapshots: isOfSnapshots) } }
        }
    }

    private func run(isOfSnapshots: Bool) async {
        // Nobody rings it: it only keeps time, and ends at shutdown.
        let rest = Bell<Bool>()
        var tries: [SnapshotID: Int] = [:]
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            let ticket = await coordinator.inspections.ticket(true)
            if let pause = await round(isOfSnapshots: isOfSnapshots, &tries) {
                // Whoever rings for a new run does not make the catalog better.
                await rest.wait(true, after: 0, atMost: pause)
            } else {
                await coordinator.inspections.wait(true, after: ticket, atMost: Self.patience)
            }
        }
    }

    /// Inspects all that can be.
    ///
    /// - Returns: how long to rest, where the catalog failed.
    func round(isOfSnapshots: Bool, _ tries: inout [SnapshotID: Int]) async -> Duration? {
        let work = isOfSnapshots ? CatalogTroubles.Work.namedInspection : .inspection
        do {
            try await inspectAll(isOfSnapshots: isOfSnapshots, &tries)
            coordinator.troubles.end(work)
        } catch let error as CatalogError {
            return coordinator.note(error, in: work)
        } catch {
            // The runs stay open and are gone on with; nothing of them is lost.
            coordinator.logger.warning("inspection postponed", metadata: ["reason": "\(error)"])
        }
        return nil
    }

    /// Round after round, one snapshot of each run.
    ///
    /// What cannot be looked at now is passed over, so that what is behind it is looked at; the next call comes back to
    /// it. Where the catalog itself fails, it is no snapshot's fault, and the round ends.
    private func inspectAll(isOfSnapshots: Bool, _ tries: inout [SnapshotID: Int]) async throws {
        var positions: [RunID: Int64] = [:]
        var didWork = true
        while didWork {
            didWork = false
            for run in try await coordinator.catalog.unfinishedRuns()
            where run.level < .verify && run.isOfSnapshots == isOfSnapshots {
                guard !Task.isShuttingDownGracefully, !Task.isCancelled else { return }
                guard let next = try await coordinator.catalog.nextWaiting(in: run.run, after: positions[run.run])
                else { continue }
                (didWork, positions[run.run]) = (true, next.position)
                let inspector = SnapshotInspector(
                    coordinator: coordinator, run: run.run, level: run.level, isPaced: !isOfSnapshots)
                do {
                    try await inspector.inspect(next.snapshot)
                    tries[next.snapshot] = nil
                } catch let error as CatalogError where !error.isOfOneRow {
                    throw error
                } catch let error as any ActionableError {
                    try await note(error, of: next.snapshot, in: run.run, &tries)
                }
            }
        }
    }

    /// Closes as unfinished what will not be inspected however often it is tried.
    private func note(
        _ error: any ActionableError, of snapshot: SnapshotID, in run: RunID, _ tries: inout [SnapshotID: Int]
    ) async throws {
        coordinator.logger.warning(
            "snapshot not inspected", metadata: ["snapshot": "\(snapshot)", "reason": "\(error.summary)"])
        tries[snapshot, default: 0] += 1
        // A row that no version wrote stays as it is.
        guard tries[snapshot, default: 0] >= Self.mostTries || error is CatalogError else { return }
        tries[snapshot] = nil
        try await coordinator.catalog.conclude(
            snapshot, in: run, .unfinished(reason: error.summary), now: coordinator.clock.now())
    }
}

extension Coordinator {
    private static let derivedAtOnce = 500

    /// Goes on with what the scrub of the stores says of the databases: some of them at a time, and round.
    func deriveScrubs(_ last: inout DatabaseID?) async throws {
        guard try await mayWrite() else { return }
        last = try await catalog.deriveScrubs(after: last, limit: Self.derivedAtOnce)
    }

    /// Begins a run over snapshots that failed, now that what they need seems to be whole again.
    func inspectAgain(_ candidates: [Catalog.Candidate], _ level: VerificationLevel) async throws {
        let run = RunID(from: random)
        let new = Catalog.NewVerification(
            run: run, level: level, scope: VerificationScope.repair, actor: VerificationScope.repair)
        try await fillings.fill(run) {
            try await catalog.begin(new, now: clock.now())
            try await add(candidates, to: run, level, filledTo: nil, isLast: true)
        }
        logger.notice(
            "inspected again after repair",
            metadata: ["run": "\(run)", "level": "\(level.rawValue)", "snapshots": "\(candidates.count)"])
    }
}

/// Small work that comes round.
struct HousekeepingService: Service {
    private static let interval = Duration.seconds(30)

    let coordinator: Coordinator
    /// Nobody rings it: it only keeps time, and ends at shutdown.
    private let rounds = Bell<Bool>()

    init(coordinator: Coordinator) { self.coordinator = coordinator }

    func run() async throws {
        var scrubbed: DatabaseID?
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            await attempt { try await coordinator.expireJobs() }
            await attempt { try await coordinator.expireRestores() }
            await attempt { try await coordinator.endLeftConnections() }
            await attempt { try await coordinator.closeFleetWindows() }
            await attempt { try await coordinator.deriveScrubs(&scrubbed) }
            await attempt { try await coordinator.forgetWork() }
            await attempt {
                if try await coordinator.mayWrite() { try await coordinator.completeReceipts() }
            }
            await rounds.wait(true, after: 0, atMost: Self.interval)
            guard !Task.isShuttingDownGracefully, !Task.isCancelled else { return }
            // Not at once: a start has better things to wait for.
            await attempt {
                if try await coordinator.mayWrite() { try await coordinator.probeDueStores() }
            }
            await attempt { try await coordinator.catalog.noteGrowth(now: coordinator.clock.now()) }
        }
    }

    /// One kind of work that fails must not keep the others from being done.
    private func attempt(_ work: () async throws -> Void) async {
        do {
            try await work()
        } catch {
            coordinator.logger.warning("housekeeping postponed", metadata: ["reason": "\(error)"])
        }
    }
}

extension Coordinator {
    /// Of each half minute.
    private static let mostForgotten = 20

    /// Forgets work that is long over, a little at a time.
    func forgetWork() async throws {
        let limit = clock.now() - Catalog.keptWork
        for _ in 0..<Self.mostForgotten where !Task.isShuttingDownGracefully {
            guard try await catalog.forgetWork(endedBefore: limit) else { return }
        }
    }
}
