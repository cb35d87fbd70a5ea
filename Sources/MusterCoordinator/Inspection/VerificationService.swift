import Logging
import MusterCatalog
import MusterModel
import ServiceLifecycle

/// Keeps verification runs going: fills those over the fleet, gives up nodes that are away, and begins by itself what
/// the policy wants.
///
/// All that it knows is in the catalog, so after a restart it goes on where it stopped.
struct VerificationService: Service {
    private static let patience = Duration.seconds(30)
    /// Away nodes are looked for more often while somebody waits for them.
    private static let patienceInRun = Duration.seconds(5)

    let coordinator: Coordinator
    private let pace = InspectionPace()

    init(coordinator: Coordinator) { self.coordinator = coordinator }

    func run() async throws {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            let ticket = await coordinator.verifications.ticket(true)
            var isWaiting = false
            await attempt("runs were not filled") { try await coordinator.fillVerifications() }
            await attempt("nodes were not given up") { try await coordinator.giveUpNodes() }
            await attempt("inspections were not scheduled") { try await coordinator.scheduleInspections(pace) }
            await attempt("runs were not counted") { isWaiting = try await coordinator.isWaitingForNodes() }
            await coordinator.verifications.wait(
                true, after: ticket, atMost: isWaiting ? Self.patienceInRun : Self.patience)
        }
    }

    /// One kind of work that fails must not keep the others from being done.
    private func attempt(_ what: Logger.Message, _ work: () async throws -> Void) async {
        do {
            if try await coordinator.mayWrite() { try await work() }
        } catch {
            coordinator.logger.warning(what, metadata: ["reason": "\(error)"])
        }
    }
}

extension Coordinator {
    private static let filledAtOnce = 500
    /// A node polls every half minute, and its contact is written every minute.
    static let pollPatience = Duration.seconds(180)
    private static let rungAtOnce = 4

    /// Adds snapshots to a run, with a job for each where agents do the work.
    func add(
        _ candidates: [Catalog.Candidate], to run: RunID, _ level: VerificationLevel, filledTo: DatabaseID?,
        isLast: Bool
    ) async throws {
        let now = clock.now()
        let found = candidates.filter { $0.snapshot != nil }
        let jobs = level < .verify ? [] : found.map { job($0, level, run, now) }
        let owners = Dictionary(
            found.compactMap { found in found.snapshot.map { ($0, found.database) } },
            uniquingKeysWith: { first, _ in first })
        let step = Catalog.VerificationStep(
            snapshots: found.compactMap(\.snapshot), owners: owners, jobs: jobs,
            bare: candidates.filter { $0.snapshot == nil }.map(\.database), filledTo: filledTo, isLast: isLast)
        try await catalog.add(step, to: run, now: now)
        for node in Set(jobs.map(\.node)) { await work.ring(node) }
        if level < .verify { await inspections.ring(true) }
    }

    private func job(
        _ candidate: Catalog.Candidate, _ level: VerificationLevel, _ run: RunID, _ now: Timestamp
    ) -> Catalog.Job {
        var job = Catalog.Job(
            id: JobID(from: random), kind: .verify, node: candidate.node, database: candidate.database, createdAt: now)
        (job.snapshot, job.level, job.run) = (candidate.snapshot, level.rawValue, run)
        return job
    }

    /// Goes on with every run that is not filled.
    func fillVerifications() async throws {
        for filling in try await catalog.fillings() where filling.scope != VerificationScope.schedule {
            guard filling.scope == VerificationScope.fleet || filling.node != nil else {
                // A list that was cut off as it came: nobody got the run's id.
                if !fillings.contains(filling.run) {
                    try await add([], to: filling.run, filling.level, filledTo: nil, isLast: true)
                }
                continue
            }
            var last = filling.filledTo
            while !Task.isShuttingDownGracefully {
                // Who left the fleet can do nothing more; what is done here needs nobody's key.
                let candidates = try await catalog.candidates(
                    of: filling.node, withHistory: filling.level < .verify, after: last, limit: Self.filledAtOnce)
                last = candidates.last?.database ?? last
                let isLast = candidates.count < Self.filledAtOnce
                try await add(candidates, to: filling.run, filling.level, filledTo: last, isLast: isLast)
                if isLast { break }
            }
        }
    }

    /// Ends what runs wait for from nodes that are away.
    func giveUpNodes() async throws {
        // What the catalog knows of a node's contacts is up to a minute old.
        for node in try await catalog.silentInspectors(listeningSince: startedAt, now: clock.now()) {
            if let seen = await contacts.lastPoll(of: node, now: clock.now()) {
                try await catalog.touch(node, at: seen)
            }
        }
        var count = 0
        while !Task.isShuttingDownGracefully {
            let some = try await catalog.giveUp(listeningSince: startedAt, now: clock.now())
            guard some > 0 else { break }
            count += some
        }
        guard count > 0 else { return }
        logger.warning("inspections given up: their nodes are away", metadata: ["snapshots": "\(count)"])
        await ringInspectors()
    }

    /// Wakes some nodes that have an inspection to do, as one that was under way has ended.
    func ringInspectors() async {
        do {
            guard let from = NodeID(bytes: random.bytes(NodeID.byteCount)) else { return }
            for node in try await catalog.nodesToInspect(after: from, limit: Self.rungAtOnce) { await work.ring(node) }
        } catch {
            // They ask by themselves within half a minute.
            logger.debug("nodes not woken", metadata: ["reason": "\(error)"])
        }
    }

    func isWaitingForNodes() async throws -> Bool {
        try await catalog.unfinishedRuns().contains { $0.level >= .verify }
    }
}
