package import MusterModel
package import MusterStore

/// One store, read without any coordinator: what names an object there is its listing.
///
/// A manifest counts as a snapshot only with a receipt beside it: one without was
/// never acknowledged, or its snapshot has expired; then others may still be based
/// on it, so it is read all the same. Where copies of one object stand under several generations
/// the first that is listed is read; its bytes are checked by whoever asked.
package struct StoreSource: SnapshotSource {
    private let store: any Store
    private let manifests: [SnapshotID: ObjectName]
    private let packs: [PackID: ObjectName]
    /// The snapshots of the store, newest sequence last within each lineage.
    package let snapshots: [SnapshotPlace]

    package var name: String { store.name }

    /// Lists the store once: memory is O(objects).
    package init(_ store: any Store) async throws {
        self.store = store
        var received: Set<SnapshotPlace> = []
        try await Self.each(store, .receipts) { _, item in
            if case .receipt(let place, _) = item { received.insert(place) }
        }
        var manifests: [SnapshotID: ObjectName] = [:]
        var places: Set<SnapshotPlace> = []
        try await Self.each(store, .manifests) { name, item in
            guard case .manifest(let place, _) = item, !places.contains(place) else { return }
            if received.contains(place) {
                manifests[place.snapshot] = name
                places.insert(place)
            } else if manifests[place.snapshot] == nil {
                manifests[place.snapshot] = name
            }
        }
        var packs: [PackID: ObjectName] = [:]
        try await Self.each(store, .packs) { name, item in
            if case .pack(let id, _) = item, packs[id] == nil { packs[id] = name }
        }
        (self.manifests, self.packs) = (manifests, packs)
        snapshots = places.sorted { ($0.lineage, $0.sequence) < ($1.lineage, $1.sequence) }
    }

    package func manifest(of snapshot: SnapshotID) async throws -> [UInt8] {
        guard let name = manifests[snapshot] else { throw ObjectUnavailable(reason: "it is not in the store") }
        do {
            return try await store.read(name, maximumBytes: 64 << 20, fresh: false)
        } catch {
            throw Self.unavailable(error) ?? error
        }
    }

    package func read(_ pack: PackID, _ range: Range<UInt64>) async throws -> [UInt8] {
        guard let name = packs[pack] else { throw ObjectUnavailable(reason: "it is not in the store") }
        do {
            return try await store.read(name, range: range, fresh: false)
        } catch {
            throw Self.unavailable(error) ?? error
        }
    }

    private static func each(
        _ store: any Store, _ prefix: ObjectPrefix, _ body: (ObjectName, StoredItem) -> Void
    ) async throws {
        let cursor = try await store.list(prefix)
        while true {
            let page = try await cursor.nextPage()
            if page.isEmpty { return }
            for object in page {
                if let item = StoredItem(object.name) { body(object.name, item) }
            }
        }
    }

    /// What tells of the object and not of the store.
    private static func unavailable(_ error: StoreError) -> (any Error)? {
        switch error {
        case .notFound, .tooShort, .tooLarge: ObjectUnavailable(reason: error.summary)
        default: nil
        }
    }
}
