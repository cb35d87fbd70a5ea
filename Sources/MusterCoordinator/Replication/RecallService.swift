import Logging
import MusterCatalog
import MusterModel
import ServiceLifecycle

/// Looks for packs of which no store has a good copy, and asks those who made them.
///
/// The node is asked for the sealed bytes first: they heal every snapshot that needs the pack. Where it has them no
/// longer, a snapshot of the database sends again what is still current; what is not stays lost, and `status`
/// names it.
struct RecallService: Service {
    private static let patience = Duration.seconds(15)
    private static let packsAtOnce = 10_000

    let coordinator: Coordinator

    func run() async throws {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            let ticket = await coordinator.replications.ticket(true)
            do {
                try await coordinator.recallLostPacks(limit: Self.packsAtOnce)
            } catch {
                coordinator.logger.warning("lost packs not asked for", metadata: ["reason": "\(error)"])
            }
            await coordinator.replications.wait(true, after: ticket, atMost: Self.patience)
        }
    }
}

extension Coordinator {
    func recallLostPacks(limit: Int) async throws {
        let now = clock.now()
        let lost = try await catalog.lostPacks(limit: limit)
        for node in wanted.note(lost.map { ($0.id, $0.node) }, now: now) { await work.ring(node) }
        var jobs: [DatabaseID: Catalog.Job] = [:]
        for pack in lost {
            guard let database = pack.currentDatabase, jobs[database] == nil,
                wanted.isSnapshotDue(of: database, without: pack.id, now: now)
            else { continue }
            jobs[database] = Catalog.Job(
                id: JobID(from: random), kind: .snapshot, node: pack.node, database: database, createdAt: now)
            logger.notice(
                "a snapshot is made in place of a lost pack",
                metadata: ["database": "\(database)", "pack": "\(pack.id)"])
        }
        guard !jobs.isEmpty else { return }
        try await catalog.add(Array(jobs.values))
        for node in Set(jobs.values.map(\.node)) { await work.ring(node) }
    }
}
