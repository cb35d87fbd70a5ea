import HTTPTypes
import Logging
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import Synchronization

/// The commit of a snapshot, in the one order that survives a crash at any point.
///
/// 1. The manifest and the packs that came with it are durable in as many stores as a receipt needs; without a receipt
///    they are nothing. So are the receipt's bytes, but without a name: nobody can find them.
/// 2. The catalog's transaction: the lineage's head moves, and the receipt's exact bytes are kept. From
///    here on the snapshot is committed. It may refuse, and then there must be no receipt in any store; what has a name
///    by then, from this try alone, is gc's.
/// 3. The receipt gets its name in these stores, durably; the other stores that are to have the snapshot get it later.
/// 4. Only then the answer, and only if no other coordinator has taken over: it may have listed the receipts before
///    this one was among them. A crash after 2 is completed at the next start, or by the next try; so is a receipt of which
///    the catalog does not know yet that it is stored.
///
/// Each step is made durable for all commits under way at once: 1 and 3 by the file system, 2 by `SharedWriter`.
extension Coordinator {
    /// - Returns: the receipt; the same bytes for the same manifest.
    func commit(_ manifest: Manifest, bringing packs: [InlinePack] = []) async throws -> [UInt8] {
        try await lineageLanes.pass(manifest.publicPart.lineage) {
            try await inPackLanes(packs[...], of: manifest.publicPart.scope) {
                try await commitInTurn(manifest, packs)
            }
        }
    }

    /// Where a store that was chosen takes no writes, others are chosen, as long as there are any: before the catalog has
    /// decided nothing is lost by that.
    private func commitInTurn(_ manifest: Manifest, _ packs: [InlinePack]) async throws -> [UInt8] {
        var failed: (stores: Set<Int64>, reason: any Error)?
        while true {
            let commit = try entry(of: manifest)
            let preview = try await catalog.preview(commit, incoming: packs.map(\.id))
            if let receipt = try await receipt(for: preview.outcome, commit) { return receipt }
            try await requireRoom(for: packs.map { ComingPack(id: $0.id, byteCount: $0.bytes.count) }, in: commit.scope)
            let stores = try await stores(for: commit, incoming: Set(packs.map(\.id)))
            // One that failed before is chosen again where there is no other.
            if let failed, !failed.stores.isDisjoint(with: stores.map(\.number)) { throw failed.reason }
            do {
                return try await commitMoments.during { receivedAt in
                    try await commitNow(commit, receivedAt, manifest, packs, held: preview.held, stores)
                }
            } catch let error as NotWritten {
                let failing = Set(stores.filter { !$0.takesObjects }.map(\.number))
                guard !failing.isEmpty else { throw error.reason }
                failed = (failing.union(failed?.stores ?? []), error.reason)
            }
        }
    }

    /// A store failed before the catalog was asked.
    private struct NotWritten: Error {
        let reason: any Error
    }

    private func commitNow(
        _ entry: Catalog.Commit, _ receivedAt: Timestamp, _ manifest: Manifest, _ packs: [InlinePack],
        held: [Catalog.PackReplica], _ stores: [OpenStore]
    ) async throws -> [UInt8] {
        var commit = entry
        commit.receivedAt = receivedAt
        commit.receipt = try Receipt(
            manifest: manifest, receivedAt: commit.receivedAt, stores: stores.map(\.name),
            coordinatorEpoch: epoch
        ).signed(by: receiptKey)
        let copies = stores.map { StoredCopy(store: $0, Generation(from: random), Generation(from: random)) }
        commit.places = copies.map { ($0.store.number, $0.manifest.description, $0.receipt.description) }
        commit.wantedIn = self.stores.keepers(of: commit.node).map(\.number).filter { number in
            !stores.contains { $0.number == number }
        }
        let (stored, earlier) = try await puttingObjects { objects in
            try await decide(commit, manifest, packs, held: held, in: copies, objects)
        }
        if let earlier { return earlier }
        try await requireStanding(in: stores)
        if !commit.wantedIn.isEmpty { await replications.ring(true) }
        catalog.receiptIsStored(commit.snapshot)
        metrics.countReceipt()
        for pack in stored { metrics.countPack(bytes: pack.sizeBytes) }
        logger.info(
            "snapshot received",
            metadata: [
                "snapshot": "\(commit.snapshot)", "database": "\(commit.databaseName)",
                "sequence": "\(commit.sequence)", "bytes": "\(commit.sizeBytes)",
            ])
        return commit.receipt
    }

    /// The first three steps.
    ///
    /// - Returns: the packs that came with it; and the receipt where the manifest was committed before.
    private func decide(
        _ commit: Catalog.Commit, _ manifest: Manifest, _ packs: [InlinePack], held: [Catalog.PackReplica],
        in copies: [StoredCopy], _ objects: UnrecordedObjects
    ) async throws -> (stored: [Catalog.NewPack], earlier: [UInt8]?) {
        let place = SnapshotPlace(commit)
        let (stored, unnamed): ([Catalog.NewPack], [any ObjectWriter])
        do {
            (stored, unnamed) = try await makeDurable(
                manifest, at: place, in: copies, packs, held: held, receipt: commit.receipt, objects)
        } catch let error as StoreError {
            throw NotWritten(reason: error)
        }
        do {
            let outcome = try await catalog.commit(commit, packs: stored)
            if let receipt = try await receipt(for: outcome, commit) {
                await Self.abort(unnamed)
                return (stored, receipt)
            }
            objects.areRecorded()
            for (copy, writer) in zip(copies, unnamed) {
                try await writer.commit(as: .receipt(place, copy.receipt))
            }
        } catch {
            await Self.abort(unnamed)
            throw error
        }
        return (stored, nil)
    }

    /// One pack of one scope is stored once at a time. In order of their ids, so that two commits never wait for each other.
    private func inPackLanes<Value: Sendable>(
        _ packs: ArraySlice<InlinePack>, of scope: ScopeID, _ body: @Sendable () async throws -> Value
    ) async throws -> Value {
        guard let first = packs.first else { return try await body() }
        return try await packLanes.pass(PackLane(id: first.id, scope: scope)) {
            try await inPackLanes(packs.dropFirst(), of: scope, body)
        }
    }

    /// Where a snapshot's manifest and receipt go.
    private struct StoredCopy: Sendable {
        let store: OpenStore
        let manifest: Generation
        let receipt: Generation

        init(store: OpenStore, _ manifest: Generation, _ receipt: Generation) {
            (self.store, self.manifest, self.receipt) = (store, manifest, receipt)
        }
    }

    private static func abort(_ writers: [any ObjectWriter]) async {
        for writer in writers { await writer.abort() }
    }

    /// Brings to the stores what must be there before the catalog decides, all at the same time.
    ///
    /// - Parameters:
    ///   - held: replicas of the packs that the catalog knows.
    ///   - objects: takes note of what gets a name.
    /// - Returns: the packs, for the catalog; and the receipts in the order of the copies, which have no name yet.
    private func makeDurable(
        _ manifest: Manifest, at place: SnapshotPlace, in copies: [StoredCopy], _ packs: [InlinePack],
        held: [Catalog.PackReplica], receipt: [UInt8], _ objects: UnrecordedObjects
    ) async throws -> ([Catalog.NewPack], [any ObjectWriter]) {
        let unnamed = UnnamedObjects(count: copies.count)
        do {
            let stored = try await withThrowingTaskGroup(of: Catalog.NewPack?.self) { group in
                for (index, copy) in copies.enumerated() {
                    group.addTask {
                        unnamed.keep(try await copy.store.store.prepare(receipt), at: index)
                        return nil
                    }
                    group.addTask {
                        try await objects.put(.manifest(place, copy.manifest), manifest.bytes, into: copy.store)
                        return nil
                    }
                }
                for pack in packs {
                    group.addTask {
                        try await makeDurable(
                            pack, of: manifest.publicPart.scope, in: copies.map(\.store),
                            held: held.filter { $0.id == pack.id }, objects)
                    }
                }
                return try await group.reduce(into: [Catalog.NewPack]()) { packs, pack in
                    if let pack { packs.append(pack) }
                }
            }
            return (stored, unnamed.all)
        } catch {
            await Self.abort(unnamed.all)
            throw error
        }
    }

    private func makeDurable(
        _ pack: InlinePack, of scope: ScopeID, in stores: [OpenStore], held: [Catalog.PackReplica],
        _ objects: UnrecordedObjects
    ) async throws -> Catalog.NewPack {
        var entry = Catalog.NewPack(
            id: pack.id, scope: scope, sizeBytes: Int64(pack.bytes.count), replicas: [], chunks: pack.extents)
        for store in stores {
            if try await isStored(held.filter { $0.store == store.number }) { continue }
            let generation = Generation(from: random)
            try await objects.put(.pack(pack.id, generation), pack.bytes, into: store)
            entry.replicas.append((store.number, generation.description))
        }
        return entry
    }

    /// Brings receipts to the stores that a crash, or a store that was away, kept from them.
    func completeReceipts() async throws {
        // What the catalog was not told yet would be done again.
        try await catalog.settle()
        var (last, completed): (Int64, Int) = (0, 0)
        while true {
            let unstored = try await catalog.unstoredReceipts(after: last, limit: 100)
            guard let end = unstored.last else { break }
            for receipt in unstored {
                do {
                    // Not beside the commit that is just bringing it.
                    let wasMissing = try await lineageLanes.pass(receipt.snapshot.lineage) {
                        try await complete(receipt.snapshot, receipt.bytes)
                    }
                    if wasMissing { completed += 1 }
                } catch {
                    // The snapshot is committed all the same; housekeeping comes back to its receipt.
                    logger.error(
                        "receipt not completed",
                        metadata: ["snapshot": "\(receipt.snapshot.id)", "reason": "\(error)"])
                }
            }
            last = end.snapshot.number
        }
        if completed > 0 { logger.info("receipts completed", metadata: ["count": "\(completed)"]) }
    }

    private func entry(of manifest: Manifest) throws -> Catalog.Commit {
        guard manifest.publicPart.sequence < UInt64(Int64.max) else {
            throw Refusal.malformed("the sequence is out of range")
        }
        return Catalog.Commit(of: manifest, receivedAt: clock.now())
    }

    /// - Returns: the receipt of a manifest that was committed before; nil where the commit can go on.
    private func receipt(for outcome: Catalog.CommitOutcome, _ commit: Catalog.Commit) async throws -> [UInt8]? {
        switch outcome {
        case .committed: return nil
        case .repeated(let receipt, let isStored):
            if !isStored, let snapshot = try await catalog.snapshot(commit.snapshot) {
                _ = try await complete(snapshot, receipt)
            }
            return receipt
        case .stale(let head): throw Refusal.forked(head)
        case .packsMissing(let packs): throw Refusal.packsMissing(packs)
        case .baseMissing(let base): throw Refusal.baseMissing(base)
        case .inconsistent(let reason): throw Refusal.inconsistent(reason)
        case .nodeEnded: throw Refusal.unknownCertificate
        case .notOwned:
            throw Refusal(
                .forbidden, "not_yours", "the database or lineage belongs to another node, or the id is taken",
                hint: "Look for two agents that share a state directory.")
        case .storeLacks(let number):
            throw Refusal(
                .serviceUnavailable, "store_changed",
                "store '\(stores[number]?.name ?? "?")' gave up replicas that the snapshot needs while it was committed",
                hint: "It is committed again by itself.", isTransient: true)
        }
    }

    /// - Returns: false where it was there, and only the catalog did not know.
    private func complete(_ snapshot: Catalog.Snapshot, _ receipt: [UInt8]) async throws -> Bool {
        var wasMissing = false
        var asked: [OpenStore] = []
        for replica in snapshot.replicas {
            guard let store = stores[replica.store] else { continue }
            asked.append(store)
            guard let generation = Generation(replica.receiptGeneration) else {
                throw CatalogError.damaged(column: "receipt_generation")
            }
            let name = ObjectName.receipt(SnapshotPlace(snapshot), generation)
            do {
                try await store.store.put(name, receipt)
                wasMissing = true
            } catch StoreError.alreadyExists {
                // The crash came between the object and the flag. The name is this receipt's alone.
                let stored = try await store.store.read(name, maximumBytes: Format.maximumRecordBytes)
                guard stored == receipt else {
                    throw FormatError("receipt \(name)", .malformed("it is not the one that was signed"))
                }
            }
        }
        // Named only now, it must have come before anybody took over, as the first answer would have. What counts as stored
        // is answered without another look.
        try await requireStanding(in: asked)
        catalog.receiptIsStored(snapshot.id)
        return wasMissing
    }
}

extension Catalog.Commit {
    /// What a manifest says of itself; its receipt and its places are still to come.
    init(of manifest: Manifest, receivedAt: Timestamp) {
        let part = manifest.publicPart
        self.init(
            snapshot: part.snapshot, node: part.node, scope: part.scope, database: part.database,
            databaseName: part.databaseName, lineage: part.lineage, sequence: part.sequence,
            manifestHash: manifest.hash, manifestBytes: manifest.bytes.count, createdAt: part.capturedEnd,
            receivedAt: receivedAt, sizeBytes: Int64(part.geometry.sizeBytes), contentRoot: part.contentRoot,
            pageSize: part.geometry.pageSize, pageCount: Int64(part.geometry.pageCount),
            method: part.captureMethod.rawValue)
        begunAt = part.capturedBegin
        extentBytes = Int64(part.geometry.extentBytes)
        parent = part.parent?.snapshot
        parentManifest = part.parent?.manifest
        forkedFrom = part.forkedFrom.map { "\($0.lineage) at snapshot \($0.head.snapshot)" } ?? ""
        labels = part.labels
        base = part.base.map { Catalog.Base(snapshot: $0.snapshot, manifestHash: $0.manifest) }
        packs = Catalog.PackChanges(part.packs)
        packsSinceParent = Catalog.PackChanges(part.packsSinceParent)
    }
}

extension Catalog.PackChanges {
    init(_ changes: PackChanges) { self.init(added: changes.added.sorted(), dropped: changes.dropped.sorted()) }
}

extension SnapshotPlace {
    init(_ commit: Catalog.Commit) {
        self.init(
            database: commit.database, lineage: commit.lineage, sequence: commit.sequence, snapshot: commit.snapshot)
    }

    init(_ snapshot: Catalog.Snapshot) {
        self.init(
            database: snapshot.database, lineage: snapshot.lineage, sequence: snapshot.sequence, snapshot: snapshot.id)
    }
}

/// Objects that have no name yet, gathered from several tasks.
private final class UnnamedObjects: Sendable {
    private let writers: Mutex<[(any ObjectWriter)?]>

    init(count: Int) { writers = Mutex(Array(repeating: nil, count: count)) }

    var all: [any ObjectWriter] { writers.withLock { $0.compactMap { $0 } } }

    func keep(_ writer: any ObjectWriter, at index: Int) { writers.withLock { $0[index] = writer } }
}
