import MusterAPI
import MusterCatalog
import MusterModel

/// The whole fleet as the pages show it: its nodes with counts, and what sums up to figures. Databases, and what
/// else there is of nodes, are read for those nodes that a page shows.
struct FleetGlance: Sendable {
    struct NodeCounts: Sendable {
        let node: Catalog.NodeOutline
        let silentSince: Timestamp?
        var counts: StateCounts

        var isActive: Bool { node.state == .active }
    }

    let scene: FleetScene
    /// By name.
    let nodes: [NodeCounts]
    /// Of nodes that are active.
    let counts: StateCounts
    let totals: Catalog.Totals
    let coverage: Muster_V1_Coverage
    /// The worst first.
    let alarms: [FleetAlarm]

    var at: Timestamp { scene.now }
    var stores: [Muster_V1_StoreStatus] { scene.stores }
    var activeNodes: [NodeCounts] { nodes.filter(\.isActive) }
}

/// The newest glance: however many look at once, it is made once.
///
/// It is shown for ten times as long as it took to make: that of a small fleet is always new, and those who look at a
/// large one cost at most a tenth of a core. What a person did is seen at once: then it is made anew.
actor GlanceBook {
    private static let longest = Duration.seconds(15)

    private var newest: FleetGlance?
    private var goodUntil: Timestamp?
    /// Counts what made a glance old before its time.
    private var changes = 0
    private let lane = Lanes<Bool>()

    func glance(
        _ clock: any WallClock, make: @Sendable () async throws -> FleetGlance
    ) async throws -> FleetGlance {
        try await lane.pass(true) {
            let (known, changes) = await self.newest(at: clock.now())
            if let known { return known }
            let made = try await make()
            await self.keep(made, madeAt: clock.now(), unlessChangedSince: changes)
            return made
        }
    }

    /// Something was changed on purpose: whoever looks next sees it.
    func forget() {
        newest = nil
        changes += 1
    }

    private func newest(at now: Timestamp) -> (FleetGlance?, changes: Int) {
        guard let newest, let goodUntil, newest.at <= now, now < goodUntil else { return (nil, changes) }
        return (newest, changes)
    }

    private func keep(_ glance: FleetGlance, madeAt made: Timestamp, unlessChangedSince before: Int) {
        // Made of what was there before the change.
        guard changes == before else { return }
        newest = glance
        goodUntil = made + min(Self.longest, max(.zero, made - glance.at) * 10)
    }
}

extension Coordinator {
    func glance() async throws -> FleetGlance { try await glances.glance(clock) { try await makeGlance() } }

    func makeGlance() async throws -> FleetGlance {
        async let totals = catalog.totals()
        async let coverage = coverage()
        let scene = try await fleetScene()
        let board = try await alarms(in: scene)
        let counted = scene.counts(of: scene.groups)
        let nodes = scene.nodes.map { node in
            FleetGlance.NodeCounts(
                node: node, silentSince: scene.silences[node.id]?.since, counts: counted[node.id] ?? StateCounts())
        }
        var counts = StateCounts()
        for node in nodes where node.isActive { counts.add(node.counts) }
        return FleetGlance(
            scene: scene, nodes: nodes, counts: counts, totals: try await totals, coverage: try await coverage,
            alarms: board.told)
    }
}
