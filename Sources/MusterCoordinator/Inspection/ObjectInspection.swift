import Logging
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// What the coordinator finds out about one stored object by itself: nobody else's word marks a replica.
extension Coordinator {
    typealias Fault = (state: Catalog.ReplicaState, reason: String)

    private static let inspectedPieceBytes: UInt64 = 1 << 20

    /// Inspects one replica of a pack and records its state.
    ///
    /// - Returns: why it is wanting, "" where it is sound; and how many bytes were read.
    func inspect(
        _ pack: Catalog.PackReplica, in store: OpenStore, isHashed: Bool
    ) async throws -> (reason: String, bytesRead: Int64) {
        guard let name = pack.objectName else { throw CatalogError.damaged(column: "generation") }
        let (fault, bytesRead) =
            isHashed && !pack.isProven
            ? try await prove(pack, as: name, in: store)
            : try await fault(
                in: name, of: store, size: UInt64(pack.sizeBytes), hash: pack.id, isHashed: isHashed)
        try await catalog.mark(
            pack: pack.pack, store: pack.store, generation: pack.generation, as: fault?.state ?? .present,
            isHashed: isHashed, now: clock.now())
        guard let fault else { return ("", bytesRead) }
        await replications.ring(true)
        logger.error(
            "object is damaged",
            metadata: ["store": "\(store.name)", "object": "\(name)", "reason": "\(fault.reason)"])
        return (fault.reason, bytesRead)
    }

    /// Whether the replica is there with its size; where it is not, it counts as good no longer.
    func isThere(_ pack: Catalog.PackReplica, in store: OpenStore) async throws -> Bool {
        guard let name = pack.objectName else { throw CatalogError.damaged(column: "generation") }
        let (fault, _) = try await fault(
            in: name, of: store, size: UInt64(pack.sizeBytes), hash: pack.id, isHashed: false)
        guard fault != nil else { return true }
        _ = try await inspect(pack, in: store, isHashed: false)
        return false
    }

    /// - Parameter isHashed: read every byte; else only the size is asked.
    func fault<Kind>(
        in name: ObjectName, of store: OpenStore, size: UInt64, hash: Digest<Kind>, isHashed: Bool
    ) async throws -> (fault: Fault?, bytesRead: Int64) {
        do {
            guard let actual = try await store.store.byteCount(of: name) else {
                return ((.missing, "the object is missing"), 0)
            }
            guard actual == size else {
                return ((.damaged, "the object has \(actual) bytes where \(size) were stored"), 0)
            }
            guard isHashed else { return (nil, 0) }
            let digest: Digest<Kind> = try await digest(of: name, in: store, size: size)
            return (digest == hash ? nil : (.damaged, "its bytes hash to \(digest), not to \(hash)"), Int64(size))
        } catch let error as StoreError {
            return ((.damaged, try Self.reason(of: error)), 0)
        }
    }

    private func digest<Kind>(of name: ObjectName, in store: OpenStore, size: UInt64) async throws -> Digest<Kind> {
        let hash = ObjectHash<Kind>()
        var position: UInt64 = 0
        while position < size {
            let end = min(size, position + Self.inspectedPieceBytes)
            let piece = try await store.store.read(name, range: position..<end, fresh: true)
            try await hashing.run { hash.update(piece) }
            position = end
        }
        return hash.finish()
    }

    /// What a store's error says of the object; one that will pass says nothing and ends the inspection.
    static func reason(of error: StoreError) throws(StoreError) -> String {
        if case .notFound = error { return "the object is missing" }
        guard !error.isTransient else { throw error }
        return error.summary
    }
}

extension Catalog.PackReplica {
    /// nil where the catalog's row is damaged.
    var objectName: ObjectName? { Generation(generation).map { ObjectName.pack(id, $0) } }
}
