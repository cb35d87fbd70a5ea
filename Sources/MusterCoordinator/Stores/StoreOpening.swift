import MusterCatalog
import MusterModel
import MusterStore

/// Connects stores as their addresses say; a store that is away is connected all the same, and opened when it is back.
struct StoreOpening: Sendable {
    let clock: any WallClock
    let random: RandomSource
    /// For tests: puts faults between the coordinator and its stores.
    let wrap: @Sendable (any Store) -> any Store

    func connect(_ entry: Catalog.StoreEntry) throws -> OpenStore {
        let path = try StoreURL.path(entry.url)
        let connection = ReconnectingStore(name: entry.name, clock: clock) { [random, wrap] () throws(StoreError) in
            wrap(try await FolderStore.open(at: path, name: entry.name, random: random))
        }
        return OpenStore(entry: entry, store: connection)
    }
}
