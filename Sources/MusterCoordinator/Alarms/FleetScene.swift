import MusterAPI
import MusterCatalog
import MusterModel

/// The fleet at one moment, as far as the catalog and the nodes' words tell: what alarms are computed from.
struct FleetScene: Sendable {
    let now: Timestamp
    let databases: [Catalog.Database]
    let nodes: [Catalog.Node]
    let silences: [NodeID: NodeSilence]
    var stores: [Muster_V1_StoreStatus] = []

    func freshness(of database: Catalog.Database) -> Freshness? {
        silences[database.node].map { Freshness(database, of: $0, now: now) }
    }
}

extension Coordinator {
    func fleetScene() async throws -> FleetScene {
        async let databases = catalog.databases()
        async let nodes = catalog.nodes()
        async let stores = storeStatuses()
        var scene = scene(of: try await databases, try await nodes, now: clock.now())
        scene.stores = try await stores
        return scene
    }

    func scene(of databases: [Catalog.Database], _ nodes: [Catalog.Node], now: Timestamp) -> FleetScene {
        let limits = settings.limits
        let silences = nodes.map { node in
            (
                node.id,
                NodeSilence(
                    node, reports.standing(of: node.id), startedAt: startedAt,
                    tolerance: .seconds(limits.alarmToleranceSeconds), objective: settings.freshness, now: now)
            )
        }
        return FleetScene(
            now: now, databases: databases, nodes: nodes,
            silences: Dictionary(silences, uniquingKeysWith: { first, _ in first }))
    }
}
