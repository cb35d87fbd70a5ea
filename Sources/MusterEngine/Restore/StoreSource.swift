import MusterFormat
package import MusterModel
package import MusterStore
import Synchronization

/// One store, read without any coordinator: what names an object there is its listing.
///
/// A manifest counts as a snapshot only with a receipt beside it: one without was
/// never acknowledged, or its snapshot has expired; then others may still be based
/// on it, so it is read all the same. Where copies of one object stand under several generations,
/// as a bad one does beside the one that was made in its place, the one that has the right hash is read.
package struct StoreSource: SnapshotSource {
    private let store: any Store
    private let manifests: [SnapshotID: ObjectName]
    private let packs: [PackID: ObjectName]
    /// More copies of the same.
    private let moreManifests: [SnapshotID: [ObjectName]]
    private let morePacks: [PackID: [ObjectName]]
    private let receipts: [SnapshotID: [ObjectName]]
    private let good = GoodCopies()
    /// The snapshots of the store, newest sequence last within each lineage.
    package let snapshots: [SnapshotPlace]

    package var name: String { store.name }

    /// Lists the store once: memory is O(objects).
    package init(_ store: any Store) async throws {
        self.store = store
        var received: Set<SnapshotPlace> = []
        var receipts: [SnapshotID: [ObjectName]] = [:]
        try await store.eachPage(.receipts) { page in
            for case (.receipt(let place, _), let object) in page {
                received.insert(place)
                receipts[place.snapshot, default: []].append(object.name)
            }
        }
        var moreManifests: [SnapshotID: [ObjectName]] = [:]
        var manifests: [SnapshotID: ObjectName] = [:]
        var places: Set<SnapshotPlace> = []
        try await store.eachPage(.manifests) { page in
            for case (.manifest(let place, _), let object) in page {
                if received.contains(place) { places.insert(place) }
                if manifests[place.snapshot] == nil {
                    manifests[place.snapshot] = object.name
                } else {
                    moreManifests[place.snapshot, default: []].append(object.name)
                }
            }
        }
        var packs: [PackID: ObjectName] = [:]
        var morePacks: [PackID: [ObjectName]] = [:]
        try await store.eachPage(.packs) { page in
            for case (.pack(let id, _), let object) in page {
                if packs[id] == nil { packs[id] = object.name } else { morePacks[id, default: []].append(object.name) }
            }
        }
        (self.manifests, self.packs) = (manifests, packs)
        (self.moreManifests, self.morePacks, self.receipts) = (moreManifests, morePacks, receipts)
        snapshots = places.sorted { ($0.lineage, $0.sequence) < ($1.lineage, $1.sequence) }
    }

    package func manifest(of snapshot: SnapshotID, after refused: Set<String>) async throws -> ReplicaBytes {
        // The one replica that this store has.
        ReplicaBytes(try await goodManifest(of: snapshot), of: "")
    }

    private func goodManifest(of snapshot: SnapshotID) async throws -> [UInt8] {
        guard let name = manifests[snapshot] else { throw ObjectUnavailable(reason: "it is not in the store") }
        guard let others = moreManifests[snapshot], let wanted = try await acknowledged(snapshot) else {
            return try await whole(name)
        }
        for copy in [name] + others {
            if let bytes = try await present(copy), SHA256Hasher.hash(bytes) == wanted { return bytes }
        }
        return try await whole(name)
    }

    /// The manifest's hash as a receipt says it; nil without a receipt that can be read.
    private func acknowledged(_ snapshot: SnapshotID) async throws -> ManifestHash? {
        for name in receipts[snapshot] ?? [] {
            // One that is damaged says nothing; there may be another.
            if let bytes = try await present(name), let receipt = try? Receipt.parse(bytes) {
                return receipt.claimed.manifest
            }
        }
        return nil
    }

    private func whole(_ name: ObjectName) async throws -> [UInt8] {
        do {
            return try await store.read(name, maximumBytes: 64 << 20, fresh: false)
        } catch {
            throw Self.unavailable(error) ?? error
        }
    }

    /// - Returns: nil where the object is not there as a whole.
    private func present(_ name: ObjectName) async throws -> [UInt8]? {
        do { return try await whole(name) } catch is ObjectUnavailable { return nil }
    }

    package func read(
        _ pack: PackID, _ range: Range<UInt64>, after refused: Set<String>
    ) async throws -> ReplicaBytes {
        ReplicaBytes(try await bytes(of: pack, range), of: "")
    }

    private func bytes(of pack: PackID, _ range: Range<UInt64>) async throws -> [UInt8] {
        guard let name = try await self.name(of: pack) else {
            throw ObjectUnavailable(reason: "it is not in the store")
        }
        do {
            return try await store.read(name, range: range, fresh: false)
        } catch {
            throw Self.unavailable(error) ?? error
        }
    }

    /// A pack's only copy, or of several the one that has its hash: a bad one lies beside what was made in its place.
    private func name(of pack: PackID) async throws -> ObjectName? {
        guard let name = packs[pack], let others = morePacks[pack] else { return packs[pack] }
        if let known = good[pack] { return known }
        for copy in [name] + others {
            guard let bytes = try await present(copy), SHA256Hasher.hash(bytes) == pack else { continue }
            good[pack] = copy
            return copy
        }
        return name
    }

    /// What tells of the object and not of the store.
    private static func unavailable(_ error: StoreError) -> (any Error)? {
        switch error {
        case .notFound, .tooShort, .tooLarge: ObjectUnavailable(reason: error.summary)
        default: nil
        }
    }
}

/// Which of several copies turned out to be good.
private final class GoodCopies: Sendable {
    private let names = Mutex<[PackID: ObjectName]>([:])

    subscript(pack: PackID) -> ObjectName? {
        get { names.withLock { $0[pack] } }
        set { names.withLock { $0[pack] = newValue } }
    }
}
