import MusterCatalog
import MusterModel

/// Goes over all snapshots once after the stores or the placement changed, and asks for the copies that are now wanted.
///
/// Where it stands is in the catalog, so it goes on after a restart. New snapshots need no walk: their commit says
/// where they are wanted.
extension Coordinator {
    private static let walkedAtOnce = 1000

    /// What the last walk went by.
    private static let walkedPlaces = "placement-walked"

    func beginPlacementWalk() async throws {
        // The walk first: a crash between the two begins it once more.
        try await catalog.set(Self.placementWalk, to: PlacementWalk(of: random).bytes)
        try await catalog.set(Self.walkedPlaces, to: Array(stores.places.utf8))
        await replications.ring(true)
    }

    /// Begins a walk where the places of replicas are not those of the last one: settings that were edited while the
    /// coordinator stood, a node that was revoked and kept a store that is lost with it.
    func followPlacement() async throws {
        let walked = try await catalog.setting(Self.walkedPlaces) ?? []
        guard walked != Array(stores.places.utf8) else { return }
        try await beginPlacementWalk()
    }

    /// - Returns: false where there is nothing to walk.
    func stepPlacementWalk() async throws -> Bool {
        guard let walk = PlacementWalk(try await catalog.setting(Self.placementWalk) ?? []) else { return false }
        return try await step(walk)
    }

    /// Goes on with a walk. Where another began meanwhile, that one stands where it was begun: this step went by stores
    /// that may be others by now.
    ///
    /// - Returns: false where it has come to its end.
    func step(_ walk: PlacementWalk) async throws -> Bool {
        let snapshots = try await catalog.placed(after: walk.last, limit: Self.walkedAtOnce)
        guard let end = snapshots.last else {
            return try await !catalog.set(Self.placementWalk, to: [], ifStill: walk.bytes)
        }
        var keepers: [NodeID: [Int64]] = [:]
        var wanted: [(snapshot: Int64, store: Int64)] = []
        for snapshot in snapshots {
            let stores = keepers[snapshot.node] ?? self.stores.keepers(of: snapshot.node).map(\.number)
            keepers[snapshot.node] = stores
            wanted += stores.filter { !snapshot.stores.contains($0) }.map { (snapshot.number, $0) }
        }
        try await catalog.want(wanted, now: clock.now())
        _ = try await catalog.set(Self.placementWalk, to: walk.moved(to: end.number).bytes, ifStill: walk.bytes)
        return true
    }
}

/// How far a walk has come, and which one it is: a new one begins where any began, and must not be taken for it.
struct PlacementWalk: Hashable, Sendable {
    /// The number of the last snapshot seen.
    let last: Int64
    /// "" for one that a rebuild began, or an older version.
    let mark: String

    init(of random: RandomSource) { self.init(last: 0, mark: Hex.encode(random.bytes(8))) }

    /// - Returns: nil where there is nothing to walk.
    init?(_ bytes: [UInt8]) {
        let words = String(decoding: bytes, as: UTF8.self).split(separator: " ")
        guard let first = words.first, let last = Int64(first) else { return nil }
        self.init(last: last, mark: words.count > 1 ? String(words[1]) : "")
    }

    private init(last: Int64, mark: String) { (self.last, self.mark) = (last, mark) }

    var bytes: [UInt8] { Array((mark.isEmpty ? "\(last)" : "\(last) \(mark)").utf8) }

    func moved(to last: Int64) -> PlacementWalk { PlacementWalk(last: last, mark: mark) }
}
