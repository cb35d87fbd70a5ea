import MusterAPI
import MusterCatalog
import MusterModel

/// The whole fleet as the pages show it: a word for each database, and what sums up to counts.
struct FleetGlance: Sendable {
    struct Cell: Sendable {
        let id: DatabaseID
        let name: String
        let state: CellState
        let receivedAt: Timestamp?
        let verifiedAt: Timestamp?
    }

    struct NodeCells: Sendable {
        let node: Catalog.Node
        let silentSince: Timestamp?
        /// By name; none of a database that the node protects no more.
        var cells: [Cell] = []
        var counts = StateCounts()

        var isActive: Bool { node.state == .active }
    }

    let at: Timestamp
    /// By name.
    let nodes: [NodeCells]
    /// Of nodes that are active.
    let counts: StateCounts
    let totals: Catalog.Totals
    let stores: [Muster_V1_StoreStatus]
    /// The worst first.
    let alarms: [FleetAlarm]

    var activeNodes: [NodeCells] { nodes.filter(\.isActive) }
}

/// The newest glance: however many look at once, it is made once.
///
/// It is shown for ten times as long as it took to make: that of a small fleet is always new, and those who look at a
/// large one cost at most a tenth of a core.
actor GlanceBook {
    private static let longest = Duration.seconds(15)

    private var newest: FleetGlance?
    private var goodUntil: Timestamp?
    private let lane = Lanes<Bool>()

    func glance(of coordinator: Coordinator) async throws -> FleetGlance {
        try await lane.pass(true) {
            if let newest = await self.newest(at: coordinator.clock.now()) { return newest }
            let made = try await coordinator.makeGlance()
            await self.keep(made, madeAt: coordinator.clock.now())
            return made
        }
    }

    private func newest(at now: Timestamp) -> FleetGlance? {
        guard let newest, let goodUntil, newest.at <= now, now < goodUntil else { return nil }
        return newest
    }

    private func keep(_ glance: FleetGlance, madeAt made: Timestamp) {
        newest = glance
        goodUntil = made + min(Self.longest, max(.zero, made - glance.at) * 10)
    }
}

extension Coordinator {
    func glance() async throws -> FleetGlance { try await glances.glance(of: self) }

    fileprivate func makeGlance() async throws -> FleetGlance {
        async let totals = catalog.totals()
        let scene = try await fleetScene()
        let now = scene.now
        let alarms = try await alarms(in: scene)
        let damaged = Set(try await catalog.damagedDatabases().map(\.database))
            .union(try await catalog.losses(limit: 10_000).map(\.database))
        let cells = Dictionary(grouping: scene.databases.filter { $0.state != Catalog.removedState }, by: \.node)
        let shown = scene.nodes.map { node in
            let silence = scene.silences[node.id]
            var shown = FleetGlance.NodeCells(node: node, silentSince: silence?.since)
            guard let silence else { return shown }
            for database in cells[node.id] ?? [] {
                let state = CellState(
                    database, Freshness(database, of: silence, now: now), of: silence,
                    isDamaged: damaged.contains(database.id), now: now)
                shown.counts.add(state)
                shown.cells.append(
                    FleetGlance.Cell(
                        id: database.id, name: database.name, state: state, receivedAt: database.newestReceivedAt,
                        verifiedAt: database.verifiedAt))
            }
            return shown
        }
        var counts = StateCounts()
        for node in shown where node.isActive { counts.add(node.counts) }
        return FleetGlance(
            at: now, nodes: shown, counts: counts, totals: try await totals, stores: scene.stores, alarms: alarms)
    }
}
