import Logging
import MusterCatalog
import MusterModel
import ServiceLifecycle
import Synchronization

/// Works through the queue of copies that are wanted: each store by itself, so that one that is away or slow
/// keeps no other waiting. Repairs come before new copies.
///
/// The queue is in the catalog, so after a restart it goes on where it stopped.
struct ReplicationService: Service {
    private static let patience = Duration.seconds(5)
    private static let batch = 64
    /// So many copies into one store are under way at once: a store far away answers each request late.
    private static let lanes = 4
    /// What failed and seems whole may have been healed by another. If it was not, it fails again: that is read by an
    /// agent as a whole.
    private static let failureRests = Duration.seconds(86_400)
    /// While copies go on, which may take days, it is seldom asked what they have healed.
    private static let healedEvery = Duration.seconds(600)

    let coordinator: Coordinator
    private let busy = BusyStores()
    private let healing: Healing

    init(coordinator: Coordinator) {
        self.coordinator = coordinator
        healing = Healing(startedAt: coordinator.startedAt)
    }

    func run() async throws {
        await withDiscardingTaskGroup { group in
            while !Task.isShuttingDownGracefully, !Task.isCancelled {
                let ticket = await coordinator.replications.ticket(true)
                guard coordinator.succession.successor == nil else {
                    await coordinator.replications.wait(true, after: ticket, atMost: Self.patience)
                    continue
                }
                await walk()
                await inspectHealed()
                for store in coordinator.stores.all where busy.begin(store.number) {
                    group.addTask {
                        let didWork = await work(on: store)
                        busy.end(store.number)
                        if didWork { await coordinator.replications.ring(true) }
                    }
                }
                await coordinator.replications.wait(true, after: ticket, atMost: Self.patience)
            }
        }
    }

    /// What failed an inspection and was repaired since is inspected again, as deep, so that no alarm stands that has no
    /// reason any more.
    ///
    /// Asked with every round once repairs have come to an end: an inspection may end after the repair, or an agent bring
    /// a pack back.
    private func inspectHealed() async {
        let now = coordinator.clock.now()
        guard healing.look(now: now, atLeastEvery: Self.healedEvery, isQuiet: busy.isNone) else { return }
        do {
            let healing = healing.state
            let (healed, last) = try await coordinator.catalog.healedFailures(
                after: healing.lookedTo, repairedAt: healing.repairedAt,
                rested: now - Self.failureRests)
            for level in [VerificationLevel.scrub, .verify, .drill] {
                let candidates = healed.filter { max(.scrub, $0.level) == level }.map(\.candidate)
                if !candidates.isEmpty { try await coordinator.inspectAgain(candidates, level) }
            }
            // Only now: those of which an inspection could not be asked for are looked at again.
            self.healing.look(to: last)
        } catch {
            coordinator.logger.warning("inspection after repair postponed", metadata: ["reason": "\(error)"])
        }
    }

    /// One step: what it asks for is begun before the next.
    private func walk() async {
        do {
            try await coordinator.followPlacement()
            if try await coordinator.stepPlacementWalk() { await coordinator.replications.ring(true) }
        } catch {
            coordinator.logger.warning("walk over snapshots postponed", metadata: ["reason": "\(error)"])
        }
    }

    /// - Returns: whether anything was done, so that there may be more to do.
    private func work(on store: OpenStore) async -> Bool {
        do {
            guard !store.isAway else { return false }
            var didWork = false
            for kind in [Catalog.Replication.Kind.keys, .pack, .snapshot] where try await attempt(kind, on: store) {
                didWork = true
            }
            return didWork
        } catch {
            coordinator.logger.warning(
                "replication postponed", metadata: ["store": "\(store.name)", "reason": "\(error)"])
            return false
        }
    }

    private func attempt(_ kind: Catalog.Replication.Kind, on store: OpenStore) async throws -> Bool {
        let tasks = try await coordinator.catalog.dueReplications(
            to: store.number, kind, now: coordinator.clock.now(), limit: Self.batch)
        var queues = (kind == .snapshot ? try await byNode(tasks) : tasks.map { [$0] })[...]
        return await withTaskGroup(of: Bool.self) { group in
            for queue in queues.prefix(Self.lanes) { group.addTask { await drain(queue, to: store) } }
            queues = queues.dropFirst(Self.lanes)
            var didWork = false
            while let worked = await group.next() {
                didWork = didWork || worked
                if let queue = queues.popFirst() { group.addTask { await drain(queue, to: store) } }
            }
            return didWork
        }
    }

    /// Snapshots of one node share packs and are based on each other: those go one after the other.
    private func byNode(_ tasks: [Catalog.Replication]) async throws -> [[Catalog.Replication]] {
        var queues: [NodeID?: [Catalog.Replication]] = [:]
        for task in tasks {
            let snapshot = try await coordinator.catalog.snapshot(numbered: task.subject)
            queues[snapshot?.node, default: []].append(task)
        }
        return Array(queues.values)
    }

    /// - Returns: whether anything was done. What breaks this lane off is no reason to break off the others.
    private func drain(_ tasks: [Catalog.Replication], to store: OpenStore) async -> Bool {
        do {
            return try await attempt(tasks, on: store)
        } catch {
            coordinator.logger.warning(
                "replication postponed", metadata: ["store": "\(store.name)", "reason": "\(error)"])
            return false
        }
    }

    private func attempt(_ tasks: [Catalog.Replication], on store: OpenStore) async throws -> Bool {
        var didWork = false
        for task in tasks {
            guard !Task.isShuttingDownGracefully, !Task.isCancelled, !store.isAway,
                coordinator.succession.successor == nil
            else { break }
            do {
                try await perform(task, on: store)
                didWork = true
            } catch {
                try await postpone(task, on: store, because: error)
            }
        }
        return didWork
    }

    private func perform(_ task: Catalog.Replication, on store: OpenStore) async throws {
        let catalog = coordinator.catalog
        switch task.kind {
        case .keys:
            guard let id = try await catalog.node(numbered: task.subject), let node = try await catalog.node(id),
                let own = try await catalog.keyReplicas(of: id).first(where: { $0.store == store.number }),
                own.state != .present
            else { return try await catalog.drop(task) }
            try await coordinator.copyKeys(of: node, to: store)
            tell("keys", node.name, store)
        case .pack:
            guard let pack = try await catalog.copies(ofPack: task.subject) else { return try await catalog.drop(task) }
            let own = pack.replicas.first { $0.store == store.number }
            guard own?.state != .present else { return try await catalog.drop(task) }
            // A store that has a snapshot and never had this pack of it: a rebuild found it so.
            if own == nil, try await catalog.dropUnneeded(task) { return }
            try await coordinator.copy(pack, to: store, pace: coordinator.copyPace)
            tell("pack", pack.id.description, store)
        case .snapshot:
            guard let snapshot = try await catalog.snapshot(numbered: task.subject) else {
                return try await catalog.drop(task)
            }
            if snapshot.isForgotten, try await catalog.snapshots(basedOn: snapshot.id, limit: 1).isEmpty {
                return try await catalog.drop(task)
            }
            let old = snapshot.replicas.first { $0.store == store.number }
            let keepers = coordinator.stores.keepers(of: snapshot.node)
            // Wanted before the placement changed.
            let isObsolete = old == nil && !keepers.contains { $0.number == store.number }
            if old?.state == .present || isObsolete { return try await catalog.drop(task) }
            try await coordinator.copy(snapshot, to: store)
            if old != nil { tell("snapshot", snapshot.id.description, store) }
        }
    }

    private func tell(_ kind: String, _ subject: String, _ store: OpenStore) {
        healing.note(now: coordinator.clock.now())
        coordinator.logger.notice("replica repaired", metadata: ["store": "\(store.name)", "\(kind)": "\(subject)"])
    }

    /// Tries again soon at first, and ever more seldom: 2, 4, 8 seconds up to 10 minutes. One that waits for its base
    /// comes back as soon as that is there.
    private func postpone(
        _ task: Catalog.Replication, on store: OpenStore, because error: any Error
    ) async throws {
        let pause = min(.seconds(2) * (1 << min(task.attempts, 10)), .seconds(600))
        let reason = (error as? any ActionableError)?.summary ?? "\(error)"
        try await coordinator.catalog.postpone(task, until: coordinator.clock.now() + pause, reason: reason)
        coordinator.logger.info(
            "copy postponed",
            metadata: ["store": "\(store.name)", "\(task.kind)": "\(task.subject)", "reason": "\(reason)"])
    }
}

/// When something was repaired last, and how far it was looked at what that healed.
final class Healing: Sendable {
    struct State {
        var repairedAt: Timestamp
        /// The number of a snapshot.
        var lookedTo: Int64 = 0
        var lookedAt: Timestamp
    }

    private let current: Mutex<State>

    /// What the life before repaired may not have been looked at.
    init(startedAt: Timestamp) { current = Mutex(State(repairedAt: startedAt, lookedAt: startedAt)) }

    var state: State { current.withLock { $0 } }
    func note(now: Timestamp) { current.withLock { $0.repairedAt = now } }
    func look(to number: Int64) { current.withLock { $0.lookedTo = number } }

    /// Whether it is time to look.
    func look(now: Timestamp, atLeastEvery interval: Duration, isQuiet: Bool) -> Bool {
        current.withLock { state in
            // A clock that was set back must not put it off.
            guard isQuiet || state.lookedAt > now || now - state.lookedAt >= interval else { return false }
            state.lookedAt = now
            return true
        }
    }
}
