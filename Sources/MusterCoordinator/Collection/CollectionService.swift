import Foundation
import Logging
import MusterCatalog
import MusterModel
import ServiceLifecycle

/// gc: forgets what is marked, condemns packs that nothing needs any more, gives them up after the grace, and deletes
/// from the stores what is given up, by exact names (proto/decisions/0010-garbage-collection.md).
///
/// Each step is one short transaction of the catalog, so that commits wait for milliseconds, and may be the last one:
/// what is left to do is in the catalog. A coordinator that was succeeded, or that was rebuilt without one of its
/// stores, gives up nothing.
struct CollectionService: Service {
    private static let patience = Duration.seconds(30)

    let coordinator: Coordinator

    func run() async throws {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            let ticket = await coordinator.collections.orders.ticket(true)
            do {
                try await coordinator.collectIfWanted()
            } catch {
                coordinator.logger.warning("gc postponed", metadata: ["reason": "\(error)"])
            }
            await coordinator.collections.orders.wait(true, after: ticket, atMost: Self.patience)
        }
    }
}

extension Coordinator {
    private static let lastCollection = "gc-run"
    /// A rebuild sets it to its own time: a person looks first at what came back.
    static let lastCollected = "gc-ran-at"
    private static let actor = "coordinator"

    /// Runs gc if somebody asked for it or it is due, and deletes what was given up before.
    func collectIfWanted() async throws {
        try await collectionLanes.pass(true) { try await collectInTurn() }
    }

    private func collectInTurn() async throws {
        let order = collections.takeOrder()
        let now = clock.now()
        let isDue = try await isCollectionDue(now)
        try await giveUpGrants(now)
        if order == nil, !isDue, try await catalog.storesWithDiscarded(now: now).isEmpty { return }
        let isWriter = try await mayWrite()
        if order != nil || (isDue && isWriter) {
            try await collect(
                order ?? CollectionBook.Order(id: RunID(from: random), actor: Self.actor, evenIfMuch: false))
        } else if isWriter, try await unscannedStores().isEmpty {
            var run = CollectionRun(id: "", actor: "", startedAt: "")
            try await deleteDiscarded(&run)
        }
    }

    /// What nodes were to put into stores by themselves and never claimed is garbage from now on.
    private func giveUpGrants(_ now: Timestamp) async throws {
        guard succession.successor == nil else { return }
        while try await catalog.giveUpGrants(now: now) >= Catalog.collectionStep {
            if Task.isShuttingDownGracefully || Task.isCancelled { return }
        }
    }

    func lastCollectionRun() async throws -> CollectionRun? {
        if let current = collections.current { return current }
        guard let bytes = try await catalog.setting(Self.lastCollection) else { return nil }
        return try JSONDecoder().decode(CollectionRun.self, from: Data(bytes))
    }

    func collectionEstimate() async throws -> Catalog.CollectionEstimate {
        try await catalog.collectionEstimate(now: clock.now())
    }

    private func isCollectionDue(_ now: Timestamp) async throws -> Bool {
        guard let every = settings.collectionEvery else { return false }
        let text = try await catalog.setting(Self.lastCollected).map { String(decoding: $0, as: UTF8.self) }
        // A clock that was set back must not put it off.
        guard let last = text.flatMap({ Timestamp($0) }), last <= now else { return true }
        return now - last >= every
    }

    private func collect(_ order: CollectionBook.Order) async throws {
        let began = clock.now()
        var run = CollectionRun(id: order.id.description, actor: order.actor, startedAt: began.description)
        collections.show(run)
        defer { collections.show(nil) }
        // Before the work: what cannot be gone through must not be tried without end.
        try await catalog.set(Self.lastCollected, to: Array(began.description.utf8))
        let estimate = try await collectionEstimate()
        run.estimate = CollectionRun.Estimate(estimate)
        run.stopped = try await hindrance(estimate, order) ?? ""
        do {
            if run.stopped.isEmpty {
                // Before the first change: what becomes of a run that is cut off, nobody may be left to tell.
                try await catalog.audit(auditRow(of: run, "begins: \(Self.text(run.estimate))"))
                try await collect(&run)
            }
        } catch {
            run.stopped = "it broke off: \((error as? any ActionableError)?.summary ?? "\(error)")"
            logger.error("gc broke off", metadata: ["reason": "\(run.stopped)"])
        }
        run.finishedAt = clock.now().description
        try await catalog.set(Self.lastCollection, to: Array(try JSONEncoder().encode(run)))
        try await tell(run)
    }

    /// Why nothing may be given up.
    private func hindrance(
        _ estimate: Catalog.CollectionEstimate, _ order: CollectionBook.Order
    ) async throws -> String? {
        guard try await mayWrite() else { return "another coordinator took over" }
        if let store = try await unscannedStores().first {
            return "store '\(store)' was not read when this coordinator was rebuilt"
        }
        guard estimate.isImplausible, !order.evenIfMuch else { return nil }
        return "it would give up \(estimate.snapshots) of \(estimate.totalSnapshots) snapshots and "
            + "\(estimate.freedBytes) of the \(estimate.neededBytes) bytes that snapshots need"
    }

    /// Whether it came to its end or not: what it did until then is done.
    func tell(_ run: CollectionRun) async throws {
        if !run.stopped.isEmpty {
            logger.error("gc stopped", metadata: ["run": "\(run.id)", "reason": "\(run.stopped)"])
        }
        let text =
            "\(run.forgottenSnapshots) snapshots forgotten, \(run.condemnedPacks) packs condemned, "
            + "\(run.sweptPacks) given up, \(run.deletedObjects) objects of \(run.deletedBytes) bytes deleted"
            + (run.stopped.isEmpty ? "" : "; stopped: \(run.stopped)")
        logger.info("gc ran", metadata: ["result": "\(text)"])
        try await catalog.audit(auditRow(of: run, text))
    }

    private func auditRow(of run: CollectionRun, _ text: String) -> Catalog.AuditRow {
        Catalog.AuditRow(actor: run.actor, action: "gc", subject: "run \(run.id): \(text)", at: clock.now())
    }

    private static func text(_ estimate: CollectionRun.Estimate) -> String {
        "\(estimate.snapshots) of \(estimate.totalSnapshots) snapshots, \(estimate.packs) packs, "
            + "\(estimate.bytes) of \(estimate.totalBytes) bytes to give up"
    }

    // MARK: - Steps

    private func collect(_ run: inout CollectionRun) async throws {
        var marked: Catalog.MarkedPlace?
        repeat {
            let step = try await catalog.forgetMarked(after: marked, now: clock.now())
            run.forgottenSnapshots += step.count
            marked = step.next
        } while try goesOn(run, marked != nil)
        var gap: Catalog.Gap?
        repeat { gap = try await catalog.freeUnneeded(gap).next } while try goesOn(run, gap != nil)
        var hasMore: Bool
        repeat {
            let step = try await catalog.condemnUnneeded(now: clock.now())
            run.condemnedPacks += step.count
            hasMore = step.next != nil
        } while try goesOn(run, hasMore)
        repeat {
            let now = clock.now()
            let step = try await catalog.sweepCondemned(before: now - settings.collectionGrace, now: now)
            run.sweptPacks += step.count
            hasMore = step.next != nil
        } while try goesOn(run, hasMore)
        var number: Int64?
        repeat {
            let step = try await catalog.dropForgotten(below: number, now: clock.now())
            run.droppedSnapshots += step.count
            number = step.next
        } while try goesOn(run, number != nil)
        try await deleteDiscarded(&run)
    }

    /// - Throws: `CancellationError` at shutdown: the next run goes on. So it does where another coordinator took over.
    private func goesOn(_ run: CollectionRun, _ hasMore: Bool) throws -> Bool {
        if Task.isShuttingDownGracefully || Task.isCancelled { throw CancellationError() }
        try requireStanding()
        collections.show(run)
        return hasMore
    }
}
