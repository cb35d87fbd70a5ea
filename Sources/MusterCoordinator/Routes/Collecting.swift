import Hummingbird
import MusterAPI
import MusterCatalog
import MusterModel

/// gc: what it did, what it would do, and a run on a person's word.
extension Coordinator {
    func showCollection(_ call: Call) async throws -> Response {
        try call.answer(try await collectionState(try await lastCollectionRun()))
    }

    /// Begins a run, or only estimates what it would give up.
    func runCollection(_ call: Call) async throws -> Response {
        let request: Muster_V1_CollectionRunRequest = try await call.message()
        if request.dryRun {
            var run = CollectionRun(id: "", actor: call.caller.name, startedAt: clock.now().description)
            run.estimate = CollectionRun.Estimate(try await collectionEstimate())
            run.finishedAt = clock.now().description
            return try call.answer(try await collectionState(run))
        }
        let order = collections.want(
            CollectionBook.Order(id: RunID(from: random), actor: call.caller.name, evenIfMuch: request.evenIfMuch))
        try await audit(call, "gc-run", request.evenIfMuch ? "\(order.id), even if much" : "\(order.id)")
        await collections.orders.ring(true)
        let run = CollectionRun(id: order.id.description, actor: order.actor, startedAt: clock.now().description)
        return try call.answer(try await collectionState(run))
    }

    private func collectionState(_ run: CollectionRun?) async throws -> Muster_V1_CollectionState {
        var state = Muster_V1_CollectionState()
        state.every = settings.collectionEvery?.text ?? "never"
        state.grace = settings.collectionGrace.text
        if let run { state.run = Muster_V1_CollectionRun(run) }
        state.waitingObjects = UInt64(try await catalog.discardedCount())
        return state
    }

    /// What a person should know of the last run.
    func collectionAlarms() async throws -> [FleetAlarm] {
        var alarms = try await catalog.undeletable().compactMap { stuck in
            stores[stuck.store].map { store in
                FleetAlarm(
                    .gc,
                    "store '\(store.name)' does not delete \(stuck.count) object\(stuck.count == 1 ? "" : "s"): "
                        + stuck.reason,
                    hint: "See to it that the coordinator may delete there; it tries again by itself."
                ).of(store: store.name)
            }
        }
        guard let run = try await lastCollectionRun(), !run.stopped.isEmpty else { return alarms }
        alarms.append(
            FleetAlarm(
                .gc, "gc stopped itself: \(run.stopped)",
                hint: "Look at 'muster retention show' and 'muster gc run --dry-run'; if that much is meant to go, "
                    + "'muster gc run --even-if-much'.",
                since: Timestamp(run.startedAt) ?? startedAt))
        return alarms
    }
}

extension Muster_V1_CollectionRun {
    init(_ run: CollectionRun) {
        self.init()
        (id, actor, startedAt, finishedAt) = (run.id, run.actor, run.startedAt, run.finishedAt)
        (forgottenSnapshots, droppedSnapshots) = (UInt64(run.forgottenSnapshots), UInt64(run.droppedSnapshots))
        (condemnedPacks, sweptPacks) = (UInt64(run.condemnedPacks), UInt64(run.sweptPacks))
        (deletedObjects, deletedBytes) = (UInt64(run.deletedObjects), UInt64(run.deletedBytes))
        stopped = run.stopped
        (estimate.snapshots, estimate.totalSnapshots) =
            (UInt64(run.estimate.snapshots), UInt64(max(0, run.estimate.totalSnapshots)))
        (estimate.bytes, estimate.totalBytes) = (
            UInt64(max(0, run.estimate.bytes)), UInt64(max(0, run.estimate.totalBytes))
        )
        estimate.packs = UInt64(run.estimate.packs)
    }
}
