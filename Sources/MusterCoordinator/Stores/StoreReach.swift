import MusterModel
import MusterStore

/// Opens stores of every kind.
struct StoreReach: Sendable {
    let random: RandomSource
    let nodes: NodeStoreAccess
    let s3: S3StoreAccess

    func open(_ place: StorePlace, name: String) async throws(StoreError) -> any Store {
        switch place {
        case .folder(let path): try await FolderStore.open(at: path, name: name, random: random)
        case .node(let place): try nodes.open(place, name: name)
        case .s3(let address): try await s3.open(address, name: name)
        }
    }

    /// Makes a store in an empty place; that on a node was made by the node itself.
    ///
    /// - Parameter access: for a place at an S3 server.
    func make(_ place: StorePlace, name: String, _ access: S3Access?, now: Timestamp) async throws -> any Store {
        switch place {
        case .folder(let path):
            return try await FolderStore.create(at: path, name: name, random: random, clock: Moment(at: now))
        case .node(let place): return try nodes.open(place, name: name)
        case .s3(let address):
            guard let access else { throw CoordinatorSetupError.noCredentials(url: place.url) }
            return try await s3.make(address, name: name, access)
        }
    }
}
