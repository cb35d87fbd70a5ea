import Foundation
import MusterAPI
import MusterEngine
import MusterFormat
import MusterModel
import MusterStore

/// One store read by itself, for the day when there is no coordinator. Nothing in it is changed.
///
/// Names come from what the nodes signed: the database's from the manifest, the node's from its key record.
struct StoreOrigin: SnapshotOrigin {
    private struct Node {
        /// The record that is good, else any of them.
        var record: ObjectName
        let epoch: UInt32
        var name = ""
        var signingKey: VerifyingKey?
    }

    private let store: any Store
    let listing: StoreSource
    /// A bad copy may lie beside the good one that was made in its place.
    private let receipts: [SnapshotID: [ObjectName]]
    private let nodes: [NodeID: Node]

    /// - Parameter text: a folder's path, a file:// or an s3:// URL.
    init(_ text: String, _ s3: S3Options) async throws {
        store = try await Self.open(text, s3)
        listing = try await StoreSource(store)
        var receipts: [SnapshotID: [ObjectName]] = [:]
        try await store.eachPage(.receipts) { page in
            for case (.receipt(let place, _), let object) in page {
                receipts[place.snapshot, default: []].append(object.name)
            }
        }
        self.receipts = receipts
        nodes = try await Self.nodes(in: store)
    }

    private static func open(_ text: String, _ s3: S3Options) async throws -> any Store {
        if text.hasPrefix("s3:") {
            guard let address = S3Address(text) else { throw StoreNotReadable(url: text) }
            let setup = S3Store.Setup(
                access: try s3.required(for: text), spool: nil,
                retry: StoreRetry(random: Surroundings.random, clock: ContinuousClock()), clock: Surroundings.clock)
            return try await S3Store.open(at: address, name: text, setup)
        }
        let path = try path(text)
        return try await FolderStore.open(at: path, name: path, random: Surroundings.random, access: .readOnly)
    }

    private static func nodes(in store: any Store) async throws -> [NodeID: Node] {
        var records: [NodeID: [Node]] = [:]
        try await store.eachPage(.nodes) { page in
            for case (.nodeKeys(let node, let epoch, _), let object) in page {
                records[node, default: []].append(Node(record: object.name, epoch: epoch))
            }
        }
        var nodes: [NodeID: Node] = [:]
        for (id, copies) in records {
            let newest = copies.map(\.epoch).max()
            for var node in copies where node.epoch == newest && nodes[id]?.signingKey == nil {
                nodes[id] = node
                // A record that cannot be read leaves the node its id for a name; whoever needs its keys hears why.
                guard let record = try? KeyRecord.verified(try await store.read(node.record, maximumBytes: 1 << 20)),
                    record.node == id
                else { continue }
                (node.name, node.signingKey) = (record.nodeName, record.signingKey)
                nodes[id] = node
            }
        }
        return nodes
    }

    private static func path(_ text: String) throws -> String {
        guard text.contains("://") else { return URL(filePath: text).standardizedFileURL.path(percentEncoded: false) }
        guard let url = URL(string: text), url.scheme == "file" else { throw StoreNotReadable(url: text) }
        return url.path(percentEncoded: false)
    }

    // MARK: - Finding

    var source: any SnapshotSource { listing }

    func snapshot(_ id: String) async throws -> Muster_V1_Snapshot {
        let found = listing.snapshots.filter { $0.snapshot.description.hasPrefix(id) }
        guard let place = found.first else {
            throw NamedThingMissing(
                summary: "no snapshot '\(id)' in \(store.name)",
                hint: "Look at what there is with 'muster snapshot list --store'.")
        }
        guard id.count >= 6, found.count == 1 else { throw AmbiguousSnapshot(id: id) }
        return try await described(place)
    }

    func newest(node: String, database: String, until: Timestamp?) async throws -> Muster_V1_Snapshot? {
        var (before, after): (Candidate?, Candidate?)
        var failure: (any Error)?
        // The names of objects tell of the database, whatever is in them.
        var unreadable: Set<DatabaseID> = []
        let named = listing.snapshots.filter { $0.database.description == database }
        for lineage in Dictionary(grouping: named.isEmpty ? listing.snapshots : named, by: \.lineage).values {
            do {
                guard try await belongs(lineage, to: node, database) else { continue }
            } catch {
                failure = failure ?? error
                unreadable.formUnion(lineage.map(\.database))
                continue
            }
            var later: Candidate?
            for place in lineage.reversed() {
                let candidate = Candidate(place: place, receivedAt: try await receipt(of: place).receivedAt)
                if let until, candidate.receivedAt > until {
                    later = candidate
                    continue
                }
                if before.map({ $0.receivedAt < candidate.receivedAt }) ?? true { before = candidate }
                break
            }
            if let later, after.map({ later.receivedAt < $0.receivedAt }) ?? true { after = later }
        }
        // What cannot be read may be newer: an older snapshot in its place would be the wrong one.
        if let failure, let before, unreadable.contains(before.place.database) { throw failure }
        // Of those received later, the first may have been captured before; the next ones were not, as their moments
        // are not before its receipt. The first one of a database counts from its receipt.
        if let until, let after, before?.place.database == after.place.database {
            let first = try await described(after.place)
            if let created = Timestamp(first.createdAt), created <= until { return first }
        }
        guard let before else {
            // What is asked for may be what cannot be read.
            if let failure { throw failure }
            return nil
        }
        return try await described(before.place)
    }

    /// Whether a lineage is of that database, as the newest of its snapshots that can be described says: one that is
    /// damaged is in the way of nobody who asks for another database.
    ///
    /// - Parameter lineage: ascending by sequence, as the listing is.
    private func belongs(_ lineage: [SnapshotPlace], to node: String, _ database: String) async throws -> Bool {
        var failure: (any Error)?
        for place in lineage.reversed() {
            do {
                return Self.matches(try await described(place), node, database)
            } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
        return false
    }

    private struct Candidate {
        let place: SnapshotPlace
        let receivedAt: Timestamp
    }

    /// Every snapshot that fits, newest receipt first.
    ///
    /// - Parameter onError: told of each that cannot be described; the others are listed.
    func snapshots(
        _ fits: (Muster_V1_Snapshot) -> Bool, onError: (any Error) -> Void
    ) async -> [Muster_V1_Snapshot] {
        var found: [Muster_V1_Snapshot] = []
        for place in listing.snapshots {
            do {
                let snapshot = try await described(place)
                if fits(snapshot) { found.append(snapshot) }
            } catch {
                onError(error)
            }
        }
        return found.sorted { ($0.receivedAt, $0.sequence) > ($1.receivedAt, $1.sequence) }
    }

    static func matches(_ snapshot: Muster_V1_Snapshot, _ node: String?, _ database: String?) -> Bool {
        [nil, snapshot.node, snapshot.nodeID].contains(node)
            && [nil, snapshot.database, snapshot.databaseID].contains(database)
    }

    func keyRecord(of node: NodeID) async throws -> [UInt8] {
        guard let record = nodes[node]?.record else {
            throw NamedThingMissing(
                summary: "no key record of node \(node) in \(store.name)",
                hint: "Give the node's own keys with --agent-dir DIR, or another store of the fleet.")
        }
        return try await store.read(record, maximumBytes: 1 << 20)
    }

    /// Would take reading every manifest: nobody is named.
    func snapshots(needing pack: PackID) async -> PackUsers { PackUsers(isComplete: false) }

    // MARK: - Describing

    private func receipt(of place: SnapshotPlace) async throws -> Receipt {
        var reason = "it is gone"
        for name in receipts[place.snapshot] ?? [] {
            do {
                return try Receipt.parse(try await store.read(name, maximumBytes: 1 << 20)).claimed
            } catch let error as FormatError {
                reason = error.summary
            }
        }
        throw damaged(place, "receipt", reason)
    }

    /// As a catalog would show it, from the manifest and the receipt.
    private func described(_ place: SnapshotPlace) async throws -> Muster_V1_Snapshot {
        let manifest: Manifest
        do {
            let unverified = try Manifest.parse(try await listing.manifest(of: place.snapshot))
            let signer = nodes[unverified.claimed.publicPart.node]?.signingKey
            manifest = try signer.map { try unverified.verified(by: $0) } ?? unverified.claimed
        } catch let error as FormatError {
            throw damaged(place, "manifest", error.summary)
        } catch let error as ObjectUnavailable {
            throw damaged(place, "manifest", error.reason)
        }
        let receipt = try await receipt(of: place)
        let part = manifest.publicPart
        guard part.snapshot == place.snapshot, receipt.manifest == manifest.hash else {
            throw damaged(place, "manifest", "it is not the one that the receipt names")
        }
        // Which is the newest goes by the names, and whoever may write to the store gives them.
        guard part.database == place.database, part.lineage == place.lineage, part.sequence == place.sequence else {
            throw damaged(place, "manifest", "its name tells of another snapshot than it does")
        }
        return snapshot(manifest, receipt, nodeName: nodes[part.node]?.name ?? "")
    }

    private func snapshot(_ manifest: Manifest, _ receipt: Receipt, nodeName: String) -> Muster_V1_Snapshot {
        let part = manifest.publicPart
        var snapshot = Muster_V1_Snapshot()
        (snapshot.id, snapshot.nodeID) = (part.snapshot.description, part.node.description)
        snapshot.node = nodeName.isEmpty ? snapshot.nodeID : nodeName
        (snapshot.database, snapshot.databaseID) = (part.databaseName, part.database.description)
        (snapshot.lineage, snapshot.sequence) = (part.lineage.description, part.sequence)
        snapshot.createdAt = part.capturedEnd.description
        snapshot.receivedAt = receipt.receivedAt.description
        (snapshot.sizeBytes, snapshot.storedBytes) = (part.geometry.sizeBytes, part.sealedBytesAdded)
        (snapshot.checksum, snapshot.labels) = (part.contentRoot.description, part.labels)
        snapshot.forkedFrom = part.forkedFrom.map { "\($0.lineage)/\($0.head.snapshot)" } ?? ""
        var replica = Muster_V1_Replica()
        (replica.store, replica.state) = (store.name, "present")
        snapshot.replicas = [replica]
        return snapshot
    }

    private func damaged(_ place: SnapshotPlace, _ object: String, _ reason: String) -> RestoreError {
        .damaged(
            snapshot: place.snapshot, store: store.name, object: "\(object) of snapshot \(place.snapshot)",
            reason: reason)
    }
}

extension KeyRecord {
    /// Checked against the key that it names itself: that the node wrote it, not which node that is.
    static func verified(_ bytes: [UInt8]) throws(FormatError) -> KeyRecord {
        let unverified = try parse(bytes)
        return try unverified.verified(by: unverified.claimed.signingKey)
    }
}

private struct StoreNotReadable: ActionableError {
    let url: String
    var summary: String { "'\(url)' is no store that can be read" }
    var hint: String {
        url.hasPrefix("node:")
            ? "Only the fleet's coordinator reads a store through its node: on that machine, give the folder that it serves."
            : "Give a folder's path, a file:// URL, or s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=REGION."
    }
    var isTransient: Bool { false }
}

struct AmbiguousSnapshot: ActionableError {
    let id: String
    var summary: String { "'\(id)' does not name one snapshot" }
    var hint: String { "Give 6 digits of the id or more, until only one begins so." }
    var isTransient: Bool { false }
}
