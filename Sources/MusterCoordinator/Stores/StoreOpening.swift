import MusterCatalog
import MusterModel
import MusterStore

/// Connects stores as their addresses say; a store that is away is connected all the same, and opened when it is back.
///
/// Which store it is gets into the catalog when it is first opened: from then on another one in its place is not taken
/// for it, whatever that one lacks.
struct StoreOpening: Sendable {
    let catalog: Catalog
    let clock: any WallClock
    /// For tests: puts faults between the coordinator and its stores.
    let wrap: @Sendable (any Store) -> any Store
    let reach: StoreReach
    /// For tests: how long a store of that name is waited for.
    var patience: @Sendable (String) -> StorePatience? = { _ in nil }

    func connect(_ entry: Catalog.StoreEntry) throws -> OpenStore {
        let place = try StorePlace(entry.url)
        let connection = ReconnectingStore(
            name: entry.name, clock: clock, identity: entry.identity, patience: patience(entry.name) ?? place.patience,
            keepIdentity: { [catalog] identity throws(StoreError) in
                try await Self.keep(identity, of: entry, in: catalog)
            },
            opening: { [reach, wrap] () throws(StoreError) in
                let (store, identity) = try await reach.open(place, name: entry.name)
                return (wrap(store), identity)
            })
        return OpenStore(entry: entry, store: connection)
    }

    private static func keep(
        _ identity: StoreID, of entry: Catalog.StoreEntry, in catalog: Catalog
    ) async throws(StoreError) {
        let known: String?
        do {
            known = try await catalog.keep(identity, ofStore: entry.number)
        } catch {
            throw .unavailable(store: entry.name, reason: error.summary)
        }
        guard let known else { return }
        throw .unavailable(store: entry.name, reason: "it is store '\(known)' under another address")
    }
}
