import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// Lists a store into the rebuild's listing: names only, in bounded memory.
struct StoreScan: Sendable {
    let entry: RebuildStore
    let listing: RebuildListing
    let progress: @Sendable (Rebuild.Progress) -> Void

    static let prefixes = [ObjectPrefix.packs, .manifests, .receipts]

    /// - Parameter mark: of what was listed.
    func run(_ mark: inout ListingMark) async throws {
        var count = 0
        try await entry.store.eachPage(.packs) { page in
            mark.add(page.map(\.1), in: entry.number)
            let packs = page.compactMap { item, object -> (id: PackID, copy: RebuildListing.Copy)? in
                guard case .pack(let id, let generation) = item else { return nil }
                return (id, copy(generation, object))
            }
            try await listing.add(packs: packs)
            count += packs.count
            progress(.listing(store: entry.name, objects: count))
        }
        for (prefix, kind) in [(ObjectPrefix.manifests, RebuildListing.Kind.manifest), (.receipts, .receipt)] {
            try await entry.store.eachPage(prefix) { page in
                mark.add(page.map(\.1), in: entry.number)
                let objects = page.compactMap {
                    item, object -> (place: RebuildListing.Place, copy: RebuildListing.Copy)? in
                    switch item {
                    case .manifest(let place, let generation) where kind == .manifest,
                        .receipt(let place, let generation) where kind == .receipt:
                        // No node counts that far: a name that says so is nobody's snapshot.
                        guard place.sequence < UInt64(Int64.max) else { return nil }
                        return (RebuildListing.Place(place), copy(generation, object))
                    default: return nil
                    }
                }
                try await listing.add(kind, objects)
                count += objects.count
                progress(.listing(store: entry.name, objects: count))
            }
        }
    }

    private func copy(_ generation: Generation, _ object: StoredObject) -> RebuildListing.Copy {
        RebuildListing.Copy(
            store: entry.number, generation: generation.description, byteCount: Int64(clamping: object.byteCount))
    }
}

/// Which objects were listed, whatever their order: two that are equal are of the same objects.
struct ListingMark: Equatable {
    private var count = 0
    private var sum: UInt64 = 0

    /// Within one process: the hashes are drawn anew in each.
    mutating func add(_ objects: [StoredObject], in store: Int64) {
        for object in objects {
            var hasher = Hasher()
            hasher.combine(store)
            hasher.combine(object)
            sum &+= UInt64(bitPattern: Int64(hasher.finalize()))
        }
        count += objects.count
    }

    static func of(_ prefixes: [ObjectPrefix], in stores: [RebuildStore]) async throws -> ListingMark {
        var mark = ListingMark()
        for entry in stores {
            for prefix in prefixes {
                try await entry.store.eachPage(prefix) { page in mark.add(page.map(\.1), in: entry.number) }
            }
        }
        return mark
    }
}

extension RebuildListing.Place {
    init(_ place: SnapshotPlace) {
        self.init(
            snapshot: place.snapshot, database: place.database, lineage: place.lineage, sequence: place.sequence)
    }

    var inStore: SnapshotPlace {
        SnapshotPlace(database: database, lineage: lineage, sequence: sequence, snapshot: snapshot)
    }
}

/// The nodes of a fleet as their key records name them.
struct RebuiltNodes: Sendable {
    struct Node: Sendable {
        let record: KeyRecord
        /// The record's object, by store.
        var objects: [Int64: (name: String, byteCount: Int)]
    }

    private(set) var nodes: [NodeID: Node] = [:]

    /// Reads every key record; of one node the newest epoch's counts.
    static func read(_ stores: [RebuildStore], _ findings: inout RebuildFindings) async throws -> RebuiltNodes {
        var found = RebuiltNodes()
        for entry in stores {
            let cursor = try await entry.store.list(.nodes)
            while true {
                let page = try await cursor.nextPage()
                if page.isEmpty { break }
                for object in page {
                    guard case .nodeKeys(let node, _, _) = StoredItem(object.name) else { continue }
                    guard
                        let bytes = try await entry.store.readForRebuild(
                            object.name, maximumBytes: Format.maximumRecordBytes, &findings)
                    else { continue }
                    do {
                        let parsed = try KeyRecord.parse(bytes)
                        let record = try parsed.verified(by: parsed.claimed.signingKey)
                        guard record.node == node else { throw FormatError("key record", .malformed("another node's")) }
                        found.add(record, object.name, bytes.count, in: entry.number)
                    } catch {
                        findings.add(object.name.description, in: entry.name, reasonText(error))
                    }
                }
            }
        }
        return found
    }

    private mutating func add(_ record: KeyRecord, _ name: ObjectName, _ byteCount: Int, in store: Int64) {
        if let known = nodes[record.node]?.record, known != record, known.keyEpoch >= record.keyEpoch { return }
        if nodes[record.node]?.record != record { nodes[record.node] = Node(record: record, objects: [:]) }
        nodes[record.node]?.objects[store] = (name.description, byteCount)
    }
}
