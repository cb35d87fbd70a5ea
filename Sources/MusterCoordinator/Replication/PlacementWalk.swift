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
        try await catalog.set(Self.placementWalk, to: Array("0".utf8))
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
        guard let bytes = try await catalog.setting(Self.placementWalk),
            let last = Int64(String(decoding: bytes, as: UTF8.self))
        else { return false }
        let snapshots = try await catalog.placed(after: last, limit: Self.walkedAtOnce)
        guard let end = snapshots.last else {
            try await catalog.set(Self.placementWalk, to: [])
            return false
        }
        var keepers: [NodeID: [Int64]] = [:]
        var wanted: [(snapshot: Int64, store: Int64)] = []
        for snapshot in snapshots {
            let stores = keepers[snapshot.node] ?? self.stores.keepers(of: snapshot.node).map(\.number)
            keepers[snapshot.node] = stores
            wanted += stores.filter { !snapshot.stores.contains($0) }.map { (snapshot.number, $0) }
        }
        try await catalog.want(wanted, now: clock.now())
        try await catalog.set(Self.placementWalk, to: Array("\(end.number)".utf8))
        return true
    }
}
