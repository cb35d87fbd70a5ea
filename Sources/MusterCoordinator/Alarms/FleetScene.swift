import MusterAPI
import MusterCatalog
import MusterModel

/// The fleet at one moment, as far as the catalog and the nodes' words tell: what alarms and figures are computed from.
///
/// It holds every node, and of the databases only counts: what it costs does not grow with how much is wrong.
struct FleetScene: Sendable {
    let now: Timestamp
    /// By name.
    let nodes: [Catalog.NodeOutline]
    let silences: [NodeID: NodeSilence]
    var groups: [Catalog.SurveyGroup] = []
    /// When a database's changes have been without a receipt for too long.
    let patience: Catalog.Patience
    var stores: [Muster_V1_StoreStatus] = []

    func node(_ id: NodeID) -> Catalog.NodeOutline? { silences[id]?.node }

    func freshness(of database: Catalog.Database) -> Freshness? {
        silences[database.node].map { Freshness(database, of: $0, now: now) }
    }

    func state(of database: Catalog.Database) -> ProvenState? {
        silences[database.node].map { ProvenState(database, of: $0, now: now) }
    }

    /// How many databases of each node are in each state.
    ///
    /// - Parameter groups: those of the whole fleet, or a part of them.
    func counts(of groups: [Catalog.SurveyGroup]) -> [NodeID: StateCounts] {
        let ids = Dictionary(nodes.map { ($0.number, $0.id) }, uniquingKeysWith: { first, _ in first })
        var counts: [NodeID: StateCounts] = [:]
        for group in groups {
            guard let node = ids[group.node] else { continue }
            var facts = group.facts
            facts.isSilent = silences[node]?.since != nil
            counts[node, default: StateCounts()][ProvenState(facts)] += group.count
        }
        return counts
    }
}

extension ProvenState.Facts {
    init(_ database: Catalog.Database, of node: NodeSilence, now: Timestamp) {
        self.init()
        isRemoved = database.state == Catalog.removedState
        isDamaged = database.isDamaged
        isFailing = database.state == "failing" || database.state == "unsupported"
        isStuck = Freshness(database, of: node, now: now).stuckSince != nil
        isSilent = node.since != nil
        hasSnapshot = database.newestSnapshot != nil
        isProofFresh = database.verifiedAt.map { $0 >= now - ProvenState.proofLifetime } ?? false
    }
}

extension ProvenState {
    init(_ database: Catalog.Database, of node: NodeSilence, now: Timestamp) {
        self.init(Facts(database, of: node, now: now))
    }
}

extension Coordinator {
    func fleetScene() async throws -> FleetScene {
        let now = clock.now()
        async let groups = catalog.survey(provenSince: now - ProvenState.proofLifetime, patience(at: now))
        async let stores = storeStatuses()
        var scene = scene(of: try await catalog.nodeOutlines(), now: now)
        (scene.groups, scene.stores) = (try await groups, try await stores)
        return scene
    }

    /// Nodes alone.
    func scene(of nodes: [Catalog.NodeOutline], now: Timestamp) -> FleetScene {
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
            now: now, nodes: nodes, silences: Dictionary(silences, uniquingKeysWith: { first, _ in first }),
            patience: patience(at: now))
    }

    private func patience(at now: Timestamp) -> Catalog.Patience {
        Catalog.Patience(
            now: now, tolerance: .seconds(settings.limits.alarmToleranceSeconds), objective: settings.freshness,
            intervals: Freshness.intervals)
    }

    /// What would be lost at most, of any database, if its node were lost now.
    func oldestRisk(in scene: FleetScene) async throws -> Duration? {
        let words = scene.nodes.compactMap { node in
            scene.silences[node.id].map { silence in
                Catalog.NodeWord(
                    node: node.number, vouchedAt: silence.standing?.at ?? Timestamp(microseconds: 0),
                    validity: silence.period * 2, isLate: silence.isLate)
            }
        }
        return try await catalog.oldestRisk(now: scene.now, words: words)
    }
}
