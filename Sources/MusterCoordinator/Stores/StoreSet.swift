import MusterCatalog
import MusterModel
import MusterStore
import Synchronization

/// A store that replicas are kept in, and what the catalog has of it.
struct OpenStore: Sendable {
    let entry: Catalog.StoreEntry
    let store: ReconnectingStore

    var name: String { entry.name }
    var number: Int64 { entry.number }
    var isAway: Bool { store.absence != nil }
    /// It answers, and no write failed there a moment ago.
    var takesObjects: Bool { !isAway && store.writeFailure == nil }
    /// A store on a node is lost with the node, and so never suffices for a receipt.
    var isOnNode: Bool { entry.node != nil }

    var candidate: Placement.Candidate {
        Placement.Candidate(number: number, name: name, site: entry.site, node: entry.node)
    }
}

/// All stores of the coordinator. One that is away stays in the set: it is only asked later.
final class StoreSet: Sendable {
    let placement: Placement
    private let stores: Mutex<[OpenStore]>

    init(_ stores: [OpenStore], placement: Placement) {
        self.placement = placement
        self.stores = Mutex(stores)
    }

    /// In the order of their numbers, without those that were given up.
    var all: [OpenStore] { stores.withLock { $0 }.filter { $0.entry.state != .lost } }

    subscript(number: Int64) -> OpenStore? { all.first { $0.number == number } }

    func store(named name: String) -> OpenStore? { all.first { $0.name == name } }

    /// Puts a store in, or in the place of itself.
    func put(_ store: OpenStore) {
        stores.withLock { stores in
            stores.removeAll { $0.number == store.number }
            stores.append(store)
            stores.sort { $0.number < $1.number }
        }
    }

    /// Nothing in these stores counts any more.
    ///
    /// - Returns: their names.
    func giveUp(_ numbers: Set<Int64>) -> [String] {
        for store in all where numbers.contains(store.number) {
            put(OpenStore(entry: store.entry.placed(.lost), store: store.store))
        }
        return stores.withLock { $0 }.filter { numbers.contains($0.number) }.map(\.name)
    }

    /// Those that placements are drawn from.
    var active: [OpenStore] { all.filter { $0.entry.state == .active } }

    /// Why no receipt can be given, or not to every node.
    var receiptShortfall: String? { placement.receiptShortfall(of: all.map(\.candidate)) }
    static let receiptHint =
        "Add a store with 'muster store add', or set 'before_receipt' in coordinator.yaml to what there is and restart "
        + "the coordinator."

    /// What the places of replicas follow from, as a text that changes with it.
    var places: String {
        let stores = active.map { "\($0.number):\($0.entry.site):\($0.entry.node.map { "\($0)" } ?? "")" }
        let (replicas, sites) = (placement.replicas ?? 0, placement.sites ?? 0)
        return "\(replicas)/\(sites) " + stores.joined(separator: " ")
    }

    /// Where a node's snapshots belong, the first choice first.
    func keepers(of node: NodeID) -> [OpenStore] {
        let active = active
        let chosen = placement.stores(for: node, among: active.map(\.candidate))
        return chosen.compactMap { candidate in active.first { $0.number == candidate.number } }
    }

    /// Where a node's commit can be acknowledged: where it belongs, then wherever else its history may be whole.
    /// Those that are away come last, but they are there: they may be back.
    func acknowledgers(of node: NodeID) -> [OpenStore] {
        let keepers = keepers(of: node)
        let others = all.filter { other in
            other.entry.node != node && !keepers.contains { $0.number == other.number }
        }
        let ordered = keepers.filter { !$0.isOnNode } + others.filter { !$0.isOnNode } + keepers.filter(\.isOnNode)
        return ordered.filter(\.takesObjects) + ordered.filter { !$0.takesObjects }
    }

    /// Replicas in the order in which a reader should try them: known to be good, and in a store that answers, first.
    func readable(_ replicas: [Catalog.PackReplica]) -> [(replica: Catalog.PackReplica, store: OpenStore)] {
        readable(replicas, in: \.store) { $0.state == .present }
    }

    func readable(
        _ replicas: [Catalog.ManifestReplica]
    ) -> [(replica: Catalog.ManifestReplica, store: OpenStore)] {
        readable(replicas, in: \.store) { $0.manifestState == .present }
    }

    private func readable<Replica>(
        _ replicas: [Replica], in number: KeyPath<Replica, Int64>, isGood: (Replica) -> Bool
    ) -> [(replica: Replica, store: OpenStore)] {
        let found = replicas.compactMap { replica in self[replica[keyPath: number]].map { (replica, $0) } }
        func rank(_ item: (Replica, OpenStore)) -> Int { (isGood(item.0) ? 0 : 2) + (item.1.isAway ? 1 : 0) }
        return (0...3).flatMap { wanted in found.filter { rank($0) == wanted } }
    }
}
