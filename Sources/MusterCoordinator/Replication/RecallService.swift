import Logging
import MusterCatalog
import MusterModel
import ServiceLifecycle

/// Looks for what is good in no store, and asks those who made it.
///
/// - A pack: the node is asked for the sealed bytes first: they heal every snapshot that needs it. Where it has them no
///   longer, a snapshot of the database sends again what is still current.
/// - A manifest: nobody else has one. Where the newest snapshot of a database needs it, another is asked for, whose base
///   chain does without it: a commit on a base that is lost is refused.
/// - A node's key record: the node makes it anew.
///
/// What none of this brings back stays lost, and `status` names it.
struct RecallService: Service {
    private static let patience = Duration.seconds(15)
    private static let packsAtOnce = 10_000

    let coordinator: Coordinator

    func run() async throws {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            let ticket = await coordinator.replications.ticket(true)
            do {
                try await coordinator.recallLostPacks(limit: Self.packsAtOnce)
                try await coordinator.recallLostRecords(limit: Self.packsAtOnce)
            } catch {
                coordinator.logger.warning("what is lost not asked for", metadata: ["reason": "\(error)"])
            }
            await coordinator.replications.wait(true, after: ticket, atMost: Self.patience)
        }
    }
}

extension Coordinator {
    func recallLostPacks(limit: Int) async throws {
        let now = clock.now()
        let lost = try await catalog.lostPacks(after: wanted.page(now: now), limit: limit)
        wanted.turn(after: lost.last?.number, hasMore: lost.count == limit, now: now)
        for node in wanted.note(lost.map { ($0.id, $0.node) }, now: now) { await work.ring(node) }
        var jobs: [DatabaseID: Catalog.Job] = [:]
        for pack in lost {
            guard let database = pack.currentDatabase, jobs[database] == nil,
                wanted.isSnapshotDue(of: database, without: pack.id, now: now)
            else { continue }
            jobs[database] = snapshotJob(of: database, pack.node, now)
            logger.notice(
                "a snapshot is made in place of a lost pack",
                metadata: ["database": "\(database)", "pack": "\(pack.id)"])
        }
        try await hand(out: Array(jobs.values))
    }

    /// Manifests and key records.
    func recallLostRecords(limit: Int) async throws {
        let now = clock.now()
        let nodes = try await catalog.nodesWithoutKeys(limit: limit)
        for node in wanted.note(keysOf: nodes, now: now) { await work.ring(node) }
        var jobs: [DatabaseID: Catalog.Job] = [:]
        for lost in try await catalog.lostManifests(limit: limit) {
            // Without its node's key record no commit is acknowledged: that comes first.
            guard !nodes.contains(lost.node), jobs[lost.database] == nil,
                wanted.isSnapshotDue(of: lost.database, now: now)
            else { continue }
            jobs[lost.database] = snapshotJob(of: lost.database, lost.node, now)
            logger.notice(
                "a snapshot is made in place of one whose manifest is lost",
                metadata: ["database": "\(lost.database)", "snapshot": "\(lost.snapshot)"])
        }
        try await hand(out: Array(jobs.values))
    }

    private func snapshotJob(of database: DatabaseID, _ node: NodeID, _ now: Timestamp) -> Catalog.Job {
        Catalog.Job(id: JobID(from: random), kind: .snapshot, node: node, database: database, createdAt: now)
    }

    private func hand(out jobs: [Catalog.Job]) async throws {
        guard !jobs.isEmpty else { return }
        do {
            try await catalog.add(jobs)
        } catch {
            wanted.forget(snapshotsOf: jobs.map(\.database))
            throw error
        }
        for node in Set(jobs.map(\.node)) { await work.ring(node) }
    }
}
