import MusterCatalog
import MusterModel
import MusterStore

/// Connects stores as their addresses say; a store that is away is connected all the same, and opened when it is back.
struct StoreOpening: Sendable {
    let clock: any WallClock
    let random: RandomSource
    /// For tests: puts faults between the coordinator and its stores.
    let wrap: @Sendable (any Store) -> any Store
    let nodes: NodeStoreAccess

    func connect(_ entry: Catalog.StoreEntry) throws -> OpenStore {
        let opening = try opening(entry)
        let connection = ReconnectingStore(name: entry.name, clock: clock) { [wrap] () throws(StoreError) in
            wrap(try await opening())
        }
        return OpenStore(entry: entry, store: connection)
    }

    private func opening(_ entry: Catalog.StoreEntry) throws -> ReconnectingStore.Opening {
        if let place = NodeStoreAddress(entry.url)?.place {
            return { [nodes] () throws(StoreError) in try nodes.open(place, name: entry.name) }
        }
        let path = try StoreURL.path(entry.url)
        return { [random] () throws(StoreError) in
            try await FolderStore.open(at: path, name: entry.name, random: random)
        }
    }
}
