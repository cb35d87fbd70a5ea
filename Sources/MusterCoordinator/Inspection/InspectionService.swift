import Logging
import MusterCatalog
import MusterModel
import ServiceLifecycle

/// Does the coordinator's own part of verification runs, one snapshot after the other.
///
/// Runs are in the catalog, so after a restart it goes on where it stopped.
struct InspectionService: Service {
    private static let patience = Duration.seconds(60)

    let coordinator: Coordinator

    func run() async throws {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            let ticket = await coordinator.inspections.ticket(true)
            do {
                try await inspectAll()
            } catch {
                // The run stays open and is gone on with; nothing of it is lost.
                coordinator.logger.warning("inspection postponed", metadata: ["reason": "\(error)"])
            }
            await coordinator.inspections.wait(true, after: ticket, atMost: Self.patience)
        }
    }

    /// What cannot be looked at now is passed over, so that what is behind it is looked at; the next round comes back to
    /// it.
    private func inspectAll() async throws {
        var failure: (any Error)?
        for (run, level) in try await coordinator.catalog.unfinishedRuns() where level < .verify {
            let inspector = SnapshotInspector(coordinator: coordinator, run: run, level: level)
            var position: Int64?
            while !Task.isShuttingDownGracefully,
                let next = try await coordinator.catalog.nextWaiting(in: run, after: position)
            {
                do {
                    try await inspector.inspect(next.snapshot)
                } catch let error as any ActionableError {
                    failure = failure ?? error
                }
                position = next.position
            }
        }
        if let failure { throw failure }
    }
}

extension Coordinator {
    private static let derivedAtOnce = 500

    /// Goes on with what the scrub of the stores says of the databases: some of them at a time, and round.
    func deriveScrubs(_ last: inout DatabaseID?) async throws {
        guard try await mayWrite() else { return }
        last = try await catalog.deriveScrubs(after: last, limit: Self.derivedAtOnce)
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
            await attempt {
                if try await coordinator.mayWrite() { try await coordinator.completeReceipts() }
            }
            await rounds.wait(true, after: 0, atMost: Self.interval)
            guard !Task.isShuttingDownGracefully, !Task.isCancelled else { return }
            // Not at once: a start has better things to wait for.
            await attempt {
                if try await coordinator.mayWrite() { try await coordinator.probeUnprobedStores() }
            }
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
