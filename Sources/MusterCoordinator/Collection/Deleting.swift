import Logging
import MusterCatalog
import MusterModel
import MusterStore
import ServiceLifecycle

/// Deletes what was given up: each store by itself, several objects at once, each only while the store says that nobody
/// took over.
extension Coordinator {
    private static let deletedAtOnce = 100
    /// So many deletions in one store are under way at once: a store far away answers each request late.
    private static let deletionLanes = 4
    /// So many objects in a row that cannot be deleted are no matter of the objects.
    private static let mostFailures = 10

    private struct Deleted {
        var objects = 0
        var bytes: Int64 = 0
    }

    /// A store that is away keeps its objects until it is back.
    func deleteDiscarded(_ run: inout CollectionRun) async throws {
        let numbers = try await catalog.storesWithDiscarded(now: clock.now())
        try await withThrowingTaskGroup(of: Deleted.self) { group in
            for store in numbers.compactMap({ stores[$0] }) {
                // What seems to be gone would be taken out of the books and be there still.
                if try await isBroken(.deletion, in: store) { continue }
                group.addTask { try await deleteDiscarded(in: store) }
            }
            for try await deleted in group {
                run.deletedObjects += deleted.objects
                run.deletedBytes += deleted.bytes
            }
        }
    }

    private func deleteDiscarded(in store: OpenStore) async throws -> Deleted {
        var sum = Deleted()
        var batch = DeletedBatch()
        while batch.goesOn, !Task.isShuttingDownGracefully, !Task.isCancelled, !store.isAway {
            let objects = try await catalog.discardedObjects(
                in: store.number, limit: Self.deletedAtOnce, now: clock.now())
            guard !objects.isEmpty else { break }
            batch.deleted = []
            try await delete(objects, from: store, &batch)
            try await catalog.removeDiscarded(batch.deleted)
            let bytes = batch.deleted.reduce(0) { $0 + $1.byteCount }
            sum.objects += batch.deleted.count
            sum.bytes += bytes
            metrics.countDeleted(objects: batch.deleted.count, bytes: bytes)
        }
        return sum
    }

    private struct DeletedBatch {
        var deleted: [Catalog.DiscardedObject] = []
        /// From batch to batch: these may be small, where objects are given up meanwhile.
        private var failuresInARow = 0
        /// The store took all of them, or as good as.
        private(set) var goesOn = true

        mutating func note(_ deletion: Deletion) {
            switch deletion {
            case .done(let object):
                deleted.append(object)
                failuresInARow = 0
            case .putOff:
                failuresInARow += 1
                if failuresInARow >= mostFailures { goesOn = false }
            case .refused: goesOn = false
            }
        }
    }

    private enum Deletion {
        case done(Catalog.DiscardedObject)
        /// It cannot be deleted now, and is in nobody's way.
        case putOff
        /// The store is away, or does not say that nobody took over.
        case refused
    }

    private func delete(
        _ objects: [Catalog.DiscardedObject], from store: OpenStore, _ batch: inout DeletedBatch
    ) async throws {
        // Packs last: whatever a crash leaves, a manifest that is listed has its packs.
        for part in [objects.filter { !$0.isPack }, objects.filter(\.isPack)] where batch.goesOn {
            try await inLanes(part, width: Self.deletionLanes) { object in
                try await delete(object, from: store)
            } goesOn: { deletion in
                batch.note(deletion)
                return batch.goesOn
            }
        }
    }

    private func delete(_ object: Catalog.DiscardedObject, from store: OpenStore) async throws -> Deletion {
        guard let name = ObjectName(object.object) else {
            throw CatalogError.damaged(column: "discarded_object.object")
        }
        guard await mayChange(store) else { return .refused }
        let limit = Succession.longestStep
        do {
            // What takes longer might come after a rebuild has listed what there is.
            try await withPatience(limit, orThrow: StoreTooSlow(store: store.name, limit: limit)) {
                try await store.store.delete(name)
            }
            return .done(object)
        } catch StoreError.notFound {
            // An answer that was lost, or a request that was sent twice.
            return .done(object)
        } catch let error as any ActionableError {
            logger.warning(
                "not deleted",
                metadata: ["store": "\(store.name)", "object": "\(object.object)", "reason": "\(error.summary)"])
            guard !store.isAway else { return .refused }
            try await catalog.putOff(object, because: error.summary, now: clock.now())
            return .putOff
        }
    }
}

extension Catalog.DiscardedObject {
    fileprivate var isPack: Bool {
        if case .pack = ObjectName(object).flatMap({ StoredItem($0) }) { true } else { false }
    }
}
