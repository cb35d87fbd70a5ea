import Hummingbird
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel

/// The fleet at a glance, and what a person should look at.
extension Coordinator {
    /// Figures are of the whole fleet; of its databases and nodes it names the first.
    func status(_ call: Call) async throws -> Response {
        async let totals = catalog.totals()
        async let coverage = coverage()
        let scene = try await fleetScene()
        async let alarms = alarms(in: scene)
        async let oldestRisk = oldestRisk(in: scene)
        let first = try await firstOfFleet(call, in: scene)
        var answer = Muster_V1_Status()
        answer.version = Self.version
        answer.now = scene.now.description
        answer.startedAt = startedAt.description
        answer.epoch = epoch
        answer.nodeCount = UInt32(try await totals.nodes)
        answer.databaseCount = UInt32(try await totals.databases)
        answer.snapshotCount = UInt64(try await totals.snapshots)
        answer.storedBytes = UInt64(try await totals.storedBytes)
        (answer.databases, answer.nodes) = first
        let joined = first.nodes.count { !$0.id.isEmpty }
        answer.moreDatabases = UInt64(max(0, try await totals.databases - first.databases.count))
        answer.moreNodes = UInt64(max(0, scene.nodes.count - joined))
        if let risk = try await oldestRisk { answer.oldestRpoSeconds = risk.inSeconds }
        answer.stores = scene.stores
        let replicas = try await replicaCounts(of: try await totals.snapshots)
        (answer.heldReplicas, answer.wantedReplicas) = (UInt64(replicas.held), UInt64(replicas.wanted))
        answer.heldAtMost = replicas.isAtMost
        answer.alarms = try await alarms.told.map(Muster_V1_Alarm.init)
        answer.coverage = try await coverage
        answer.receiptKey = Hex.encode(receiptKey.verifyingKey.bytes)
        return try call.answer(answer)
    }

    /// From what waits to be copied, which is few where all is well: a million snapshots are not gone over for it.
    private func replicaCounts(of snapshots: Int) async throws -> (held: Int, wanted: Int, isAtMost: Bool) {
        let active = stores.active.count
        let each = stores.placement.wanted(of: active)
        var missing = snapshots * max(0, each - active)
        // What a walk has not come to is not in the queue yet.
        var isAtMost = try await PlacementWalk(catalog.setting(Self.placementWalk) ?? []) != nil
        for store in stores.all {
            let debt = try await catalog.copyDebt(inStore: store.number)
            missing += debt.snapshots
            isAtMost = isAtMost || debt.hasMore
        }
        return (max(0, snapshots * each - missing), snapshots * each, isAtMost)
    }
}
