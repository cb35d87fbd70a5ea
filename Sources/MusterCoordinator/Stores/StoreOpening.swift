import MusterCatalog
import MusterModel
import MusterStore

/// Connects stores as their addresses say; a store that is away is connected all the same, and opened when it is back.
struct StoreOpening: Sendable {
    let clock: any WallClock
    /// For tests: puts faults between the coordinator and its stores.
    let wrap: @Sendable (any Store) -> any Store
    let reach: StoreReach

    func connect(_ entry: Catalog.StoreEntry) throws -> OpenStore {
        let place = try StorePlace(entry.url)
        let connection = ReconnectingStore(name: entry.name, clock: clock) { [reach, wrap] () throws(StoreError) in
            wrap(try await reach.open(place, name: entry.name))
        }
        return OpenStore(entry: entry, store: connection)
    }
}
