import MusterModel
import MusterStore

/// Opens stores of every kind.
struct StoreReach: Sendable {
    let random: RandomSource
    let nodes: NodeStoreAccess
    let s3: S3StoreAccess

    func open(
        _ place: StorePlace, name: String
    ) async throws(StoreError) -> (store: any Store, identity: StoreID) {
        switch place {
        case .folder(let path):
            let store = try await FolderStore.open(at: path, name: name, random: random)
            return (store, store.id)
        case .node(let node):
            let store = try nodes.open(node, name: name)
            return (store, try await store.identity(at: place.url))
        case .s3(let address):
            let store = try await s3.open(address, name: name)
            return (store, store.id)
        }
    }

    /// Makes a store in an empty place; that on a node was made by the node itself. Where one stands already, it is
    /// opened.
    ///
    /// - Parameter access: for a place at an S3 server.
    func make(
        _ place: StorePlace, name: String, _ access: S3Access?, now: Timestamp
    ) async throws -> (store: any Store, identity: StoreID, isNew: Bool) {
        let failure: StoreError
        do {
            switch place {
            case .folder(let path):
                let store = try await FolderStore.create(
                    at: path, name: name, random: random, clock: Moment(at: now))
                return (store, store.id, true)
            case .s3(let address):
                guard let access else { throw CoordinatorSetupError.noCredentials(url: place.url) }
                let store = try await s3.make(address, name: name, access)
                return (store, store.id, true)
            case .node:
                let (store, identity) = try await open(place, name: name)
                return (store, identity, false)
            }
        } catch let error as StoreError {
            failure = error
        }
        switch failure {
        case .alreadyExists, .folderNotEmpty: break
        default: throw failure
        }
        if case .s3(let address) = place, let access { try s3.keep(access, for: address) }
        do {
            let (store, identity) = try await open(place, name: name)
            return (store, identity, false)
        } catch .notAStore {
            throw failure
        }
    }
}
