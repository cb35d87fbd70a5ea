import Logging
import MusterCatalog
import MusterModel
import MusterStore
import Synchronization

/// Objects that were put into stores before the catalog was told of them.
///
/// What it does not take up nobody would ever find again: so each is kept here from its put until the catalog's
/// transaction, and given up on every other way out. Several tasks may put at the same time.
final class UnrecordedObjects: Sendable {
    private let objects = Mutex<[Catalog.PutObject]>([])

    func put(_ name: ObjectName, _ bytes: [UInt8], into store: OpenStore) async throws(StoreError) {
        try await naming(name, byteCount: bytes.count, in: store) { () async throws(StoreError) in
            try await store.store.put(name, bytes)
        }
    }

    /// - Parameter put: gives the object its name.
    func naming(
        _ name: ObjectName, byteCount: Int, in store: OpenStore, _ put: () async throws(StoreError) -> Void
    ) async throws(StoreError) {
        do {
            try await put()
            note(name, byteCount: byteCount, in: store, isThere: true)
        } catch {
            // An answer that was lost says nothing of the object.
            if !error.leavesNothing { note(name, byteCount: byteCount, in: store, isThere: false) }
            throw error
        }
    }

    /// The catalog refers to them now.
    func areRecorded() { objects.withLock { $0 = [] } }

    fileprivate func take() -> [Catalog.PutObject] {
        objects.withLock { objects in
            defer { objects = [] }
            return objects
        }
    }

    private func note(_ name: ObjectName, byteCount: Int, in store: OpenStore, isThere: Bool) {
        let found: (Catalog.PutObject.Subject, Generation)? =
            switch StoredItem(name) {
            case .pack(let id, let generation): (.pack(id), generation)
            case .manifest(let place, let generation), .receipt(let place, let generation):
                (.snapshot(place.snapshot), generation)
            case .nodeKeys(let node, _, let generation): (.keys(node), generation)
            // Nothing else is put before it is recorded.
            default: nil
            }
        guard let (subject, generation) = found else { return }
        let object = Catalog.PutObject(
            subject, store: store.number, object: name.description, generation: generation.description,
            byteCount: Int64(byteCount), isThere: isThere)
        objects.withLock { $0.append(object) }
    }
}

extension StoreError {
    /// There is no object, and none is on its way.
    fileprivate var leavesNothing: Bool {
        switch self {
        case .full, .readOnly, .displaced: true
        default: false
        }
    }
}

extension Coordinator {
    /// Runs `body` and has gc delete what it put and the catalog did not take up, however it ends.
    func puttingObjects<Value>(_ body: (UnrecordedObjects) async throws -> Value) async throws -> Value {
        let objects = UnrecordedObjects()
        do {
            let value = try await body(objects)
            await giveUp(objects)
            return value
        } catch {
            await giveUp(objects)
            throw error
        }
    }

    private func giveUp(_ objects: UnrecordedObjects) async {
        let left = objects.take()
        guard !left.isEmpty else { return }
        do {
            try await catalog.discardUnreferenced(left, now: clock.now())
        } catch {
            // With the catalog out of order these stay as after a crash.
            logger.error("objects left behind", metadata: ["count": "\(left.count)", "reason": "\(error)"])
        }
    }
}
