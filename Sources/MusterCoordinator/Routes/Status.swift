import Hummingbird
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel

/// The fleet at a glance, and what a person should look at.
extension Coordinator {
    func status(_ call: Call) async throws -> Response {
        let totals = try await catalog.totals()
        let scene = try await fleetScene()
        var answer = Muster_V1_Status()
        answer.version = Self.version
        answer.now = scene.now.description
        answer.startedAt = startedAt.description
        answer.epoch = epoch
        answer.nodeCount = UInt32(totals.nodes)
        answer.databaseCount = UInt32(totals.databases)
        answer.snapshotCount = UInt64(totals.snapshots)
        answer.storedBytes = UInt64(totals.storedBytes)
        answer.databases = Self.messages(in: scene)
        answer.stores = scene.stores
        answer.alarms = try await alarms(in: scene).map(Muster_V1_Alarm.init)
        answer.nodes = try await messages(of: scene.nodes)
        answer.coverage = try await coverage()
        answer.receiptKey = Hex.encode(receiptKey.verifyingKey.bytes)
        return try call.answer(answer)
    }

    /// Databases with how fresh their snapshots are.
    func messages(
        of databases: [Catalog.Database], nodes: [Catalog.Node], now: Timestamp
    ) -> [Muster_V1_Database] {
        Self.messages(in: scene(of: databases, nodes, now: now))
    }

    private static func messages(in scene: FleetScene) -> [Muster_V1_Database] {
        scene.databases.compactMap { database in
            guard let node = scene.silences[database.node] else { return nil }
            return Muster_V1_Database(
                database, Freshness(database, of: node, now: scene.now), silentSince: node.since)
        }
    }
}
