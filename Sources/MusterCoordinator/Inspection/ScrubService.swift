import Logging
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import ServiceLifecycle

/// Reads every replica again within a period and hashes it, the longest unread first, at a bounded rate.
///
/// When each was hashed is in the catalog, so a restart loses no more than the object under way. What is found bad is
/// marked, and so repaired. A store that is away is not looked at, and says nothing.
struct ScrubService: Service {
    private static let patience = Duration.seconds(60)
    private static let batch = 64

    let coordinator: Coordinator
    /// Nobody rings it: it only keeps time, and ends at shutdown.
    private let rounds = Bell<Bool>()

    init(coordinator: Coordinator) { self.coordinator = coordinator }

    func run() async throws {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            await withDiscardingTaskGroup { group in
                for store in coordinator.stores.all { group.addTask { await scrub(store) } }
            }
            await rounds.wait(true, after: 0, atMost: Self.patience)
        }
    }

    /// Reads all that is due in one store.
    private func scrub(_ store: OpenStore) async {
        guard coordinator.succession.successor == nil else { return }
        let pace = CopyPace(bytesPerSecond: coordinator.settings.scrub.mibPerSecond << 20, clock: coordinator.clock)
        do {
            while !Task.isShuttingDownGracefully, !Task.isCancelled, !store.isAway {
                guard try await scrubBatch(of: store, pace) else { return }
            }
        } catch {
            coordinator.logger.warning(
                "scrub postponed", metadata: ["store": "\(store.name)", "reason": "\(error)"])
        }
    }

    /// - Returns: false where nothing is due.
    func scrubBatch(of store: OpenStore, _ pace: CopyPace) async throws -> Bool {
        let before = coordinator.clock.now() - .seconds(coordinator.settings.scrub.everySeconds)
        let overdue = try await coordinator.catalog.overdue(
            in: store.number, hashedBefore: before, limit: Self.batch)
        guard !overdue.isEmpty else { return false }
        for pack in overdue.packs {
            try stopAtShutdown()
            await pace.spend(Int(pack.sizeBytes))
            _ = try await coordinator.inspect(pack, in: store, isHashed: true)
            coordinator.metrics.countScrub(bytes: Int64(pack.sizeBytes))
        }
        for snapshot in overdue.snapshots {
            try stopAtShutdown()
            await pace.spend(Int(snapshot.manifestBytes))
            try await coordinator.inspectRecords(of: snapshot, in: store)
            coordinator.metrics.countScrub(bytes: Int64(snapshot.manifestBytes))
        }
        for id in overdue.nodes {
            try stopAtShutdown()
            guard let node = try await coordinator.catalog.node(id), let key = VerifyingKey(bytes: node.signingKey),
                let replica = try await coordinator.catalog.keyReplicas(of: id).first(where: {
                    $0.store == store.number
                })
            else { continue }
            _ = try await coordinator.goodKeys(replica, of: id, key, in: store)
        }
        return true
    }

    private func stopAtShutdown() throws {
        if Task.isShuttingDownGracefully || Task.isCancelled { throw CancellationError() }
    }
}

extension Coordinator {
    /// Reads a snapshot's manifest and receipt in one store again, and records what was found.
    func inspectRecords(of snapshot: Catalog.Snapshot, in store: OpenStore) async throws {
        guard let replica = snapshot.replicas.first(where: { $0.store == store.number }),
            let generation = Generation(replica.generation),
            let receiptGeneration = Generation(replica.receiptGeneration),
            let receipt = try await catalog.receipt(of: snapshot.id)
        else { throw CatalogError.damaged(column: "generation") }
        let place = SnapshotPlace(snapshot)
        let (manifestFault, _) = try await fault(
            in: .manifest(place, generation), of: store, size: UInt64(snapshot.manifestBytes),
            hash: snapshot.manifestHash, isHashed: true)
        let (receiptFault, _) = try await fault(
            in: .receipt(place, receiptGeneration), of: store, size: UInt64(receipt.count),
            hash: SHA256Hasher.hash(receipt, as: Digest<ReceiptKind>.self), isHashed: true)
        try await catalog.mark(
            .manifest, of: snapshot.number, store: store.number, generation: replica.generation,
            as: manifestFault?.state ?? .present, isHashed: true, now: clock.now())
        try await catalog.mark(
            .receipt, of: snapshot.number, store: store.number, generation: replica.receiptGeneration,
            as: receiptFault?.state ?? .present, isHashed: true, now: clock.now())
        if manifestFault != nil || receiptFault != nil { await replications.ring(true) }
    }
}
