import MusterModel
import Synchronization

/// The way from one replica of an object to the next, until one is accepted.
///
/// What is told in the end is what was wrong with the first: of the others nobody knew before.
struct ReplicaSearch {
    /// Whoever answers names the stores, and must not keep the search going for ever.
    private static let mostReplicas = 32

    private var first: RestoreError?

    /// - Parameter failure: why there is no other replica to look at.
    func end(_ failure: RestoreError) -> RestoreError { first ?? failure }

    /// Goes on to the next replica.
    ///
    /// - Parameter refused: the stores that were refused when the object was asked for.
    /// - Throws: what was wrong with the first, where this one had been refused before and there is no other.
    mutating func refuse(
        _ object: ReplicaBytes, because error: RestoreError, after refused: Set<String>
    ) throws(RestoreError) {
        let error = error.found(in: object.store)
        guard !object.store.isEmpty, !refused.contains(object.store), refused.count < Self.mostReplicas else {
            throw end(error)
        }
        first = first ?? error
    }
}

/// Which replicas of the packs of one restore were refused: the next read of such a pack begins elsewhere.
final class RefusedReplicas: Sendable {
    private let stores = Mutex<[PackID: Set<String>]>([:])

    subscript(pack: PackID) -> Set<String> { stores.withLock { $0[pack] ?? [] } }

    func note(_ store: String, of pack: PackID) { stores.withLock { _ = $0[pack, default: []].insert(store) } }
}
