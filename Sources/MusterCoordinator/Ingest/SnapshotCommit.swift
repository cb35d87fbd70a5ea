import HTTPTypes
import Logging
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// The commit of a snapshot, in the one order that survives a crash at any point.
///
/// 1. The manifest is durable in the store; without a receipt it is nothing.
/// 2. The catalog's transaction: the lineage's head moves, and the receipt's exact bytes are kept. From
///    here on the snapshot is committed.
/// 3. The receipt is durable in the store, and 4. the catalog knows that it is.
/// 5. Only then the answer. A crash after 2 is completed at the next start, or by the next try.
extension Coordinator {
    /// - Returns: the receipt; the same bytes for the same manifest.
    func commit(_ manifest: Manifest) async throws -> [UInt8] {
        try await lineageLanes.pass(manifest.publicPart.lineage) {
            var commit = try entry(of: manifest)
            if let receipt = try await receipt(for: try await catalog.preview(commit), commit) { return receipt }
            let generations = (Generation(from: random), Generation(from: random))
            let place = SnapshotPlace(commit)
            try await store.store.put(.manifest(place, generations.0), manifest.bytes)
            commit.receivedAt = clock.now()
            commit.receipt = try Receipt(
                manifest: manifest, receivedAt: commit.receivedAt, stores: [store.name],
                coordinatorEpoch: Self.epoch
            ).signed(by: receiptKey)
            commit.places = [(store.number, generations.0.description, generations.1.description)]
            let outcome = try await catalog.commit(commit)
            if let receipt = try await receipt(for: outcome, commit) { return receipt }
            try await store.store.put(.receipt(place, generations.1), commit.receipt)
            try await catalog.receiptIsStored(commit.snapshot)
            logger.info(
                "snapshot received",
                metadata: [
                    "snapshot": "\(commit.snapshot)", "database": "\(commit.databaseName)",
                    "sequence": "\(commit.sequence)", "bytes": "\(commit.sizeBytes)",
                ])
            return commit.receipt
        }
    }

    /// Brings receipts to the store that a crash, or a store that was away, kept from it.
    func completeReceipts() async throws {
        var (last, completed): (Int64, Int) = (0, 0)
        while true {
            let unstored = try await catalog.unstoredReceipts(after: last, limit: 100)
            guard let end = unstored.last else { break }
            for receipt in unstored {
                do {
                    try await complete(receipt.snapshot, receipt.bytes)
                    completed += 1
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
        let part = manifest.publicPart
        guard part.sequence < UInt64(Int64.max) else { throw Refusal.malformed("the sequence is out of range") }
        var commit = Catalog.Commit(
            snapshot: part.snapshot, node: part.node, scope: part.scope, database: part.database,
            databaseName: part.databaseName, lineage: part.lineage, sequence: part.sequence,
            manifestHash: manifest.hash, manifestBytes: manifest.bytes.count, createdAt: part.capturedEnd,
            receivedAt: clock.now(), sizeBytes: Int64(part.geometry.sizeBytes), contentRoot: part.contentRoot,
            pageSize: part.geometry.pageSize, pageCount: Int64(part.geometry.pageCount),
            method: part.captureMethod.rawValue)
        commit.parent = part.parent?.snapshot
        commit.parentManifest = part.parent?.manifest
        commit.forkedFrom = part.forkedFrom.map { "\($0.lineage) at snapshot \($0.head.snapshot)" } ?? ""
        commit.labels = part.labels
        commit.base = part.base.map { Catalog.Base(snapshot: $0.snapshot, manifestHash: $0.manifest) }
        commit.packs = Catalog.PackChanges(part.packs)
        commit.packsSinceParent = Catalog.PackChanges(part.packsSinceParent)
        return commit
    }

    /// - Returns: the receipt of a manifest that was committed before; nil where the commit can go on.
    private func receipt(for outcome: Catalog.CommitOutcome, _ commit: Catalog.Commit) async throws -> [UInt8]? {
        switch outcome {
        case .committed: return nil
        case .repeated(let receipt, let isStored):
            if !isStored, let snapshot = try await catalog.snapshot(commit.snapshot) {
                try await complete(snapshot, receipt)
            }
            return receipt
        case .stale(let head): throw Refusal.forked(head)
        case .packsMissing(let packs): throw Refusal.packsMissing(packs)
        case .baseMissing(let base): throw Refusal.baseMissing(base)
        case .inconsistent(let reason): throw Refusal.inconsistent(reason)
        case .notOwned:
            throw Refusal(
                .forbidden, "not_yours", "the database or lineage belongs to another node, or the id is taken",
                hint: "Look for two agents that share a state directory.")
        }
    }

    private func complete(_ snapshot: Catalog.Snapshot, _ receipt: [UInt8]) async throws {
        for replica in snapshot.replicas where replica.store == store.number {
            guard let generation = Generation(replica.receiptGeneration) else {
                throw CatalogError.damaged(column: "receipt_generation")
            }
            let name = ObjectName.receipt(SnapshotPlace(snapshot), generation)
            do {
                try await store.store.put(name, receipt)
            } catch StoreError.alreadyExists {
                // The crash came between the object and the flag. The name is this receipt's alone.
                let stored = try await store.store.read(name, maximumBytes: Format.maximumRecordBytes)
                guard stored == receipt else {
                    throw FormatError("receipt \(name)", .malformed("it is not the one that was signed"))
                }
            }
        }
        try await catalog.receiptIsStored(snapshot.id)
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
