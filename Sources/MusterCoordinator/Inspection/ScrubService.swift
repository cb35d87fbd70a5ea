import Logging
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import ServiceLifecycle

/// Reads every replica again within a period and hashes it, the longest unread first, at a bounded rate: each store by
/// itself.
///
/// When each was hashed is in the catalog, so a restart loses no more than the object under way. What is found bad is
/// marked, and so repaired. A store that is away is not looked at, and says nothing. An object that cannot be read for
/// another reason is passed over until the next round, so that those behind it are read.
struct ScrubService: Service {
    private static let patience = Duration.seconds(60)
    private static let batch = 64

    let coordinator: Coordinator
    private let busy = BusyStores()
    /// Only tests ring it: it keeps time, and ends at shutdown.
    let rounds = Bell<Bool>()

    init(coordinator: Coordinator) { self.coordinator = coordinator }

    func run() async throws {
        await withDiscardingTaskGroup { group in
            while !Task.isShuttingDownGracefully, !Task.isCancelled {
                let ticket = await rounds.ticket(true)
                for store in coordinator.stores.all where busy.begin(store.number) {
                    group.addTask {
                        await scrub(store)
                        busy.end(store.number)
                    }
                }
                await rounds.wait(true, after: ticket, atMost: Self.patience)
            }
        }
    }

    /// Reads all that is due in one store.
    private func scrub(_ store: OpenStore) async {
        guard coordinator.succession.successor == nil else { return }
        let pace = coordinator.readingPace(of: store)
        var passed = PassedOver()
        await coordinator.careForOwnObjectsIfDue(in: store, pace)
        do {
            while !Task.isShuttingDownGracefully, !Task.isCancelled, !store.isAway {
                guard try await scrubBatch(of: store, pace, &passed) else { break }
            }
        } catch {
            coordinator.logger.warning(
                "scrub postponed", metadata: ["store": "\(store.name)", "reason": "\(error)"])
        }
        guard let last = passed.lastReason else { return }
        coordinator.logger.warning(
            "objects passed over",
            metadata: ["store": "\(store.name)", "count": "\(passed.count)", "reason": "\(last)"])
    }

    /// What could not be read in a round.
    struct PassedOver: Sendable {
        /// A store of which so much cannot be read is not well: the round ends.
        fileprivate static let most = 256

        fileprivate(set) var packs: Set<Int64> = []
        fileprivate(set) var snapshots: Set<Int64> = []
        fileprivate(set) var nodes: Set<NodeID> = []
        fileprivate(set) var lastReason: String?

        var count: Int { packs.count + snapshots.count + nodes.count }
    }

    /// - Returns: false where nothing is due but what was passed over.
    func scrubBatch(of store: OpenStore, _ pace: CopyPace, _ passed: inout PassedOver) async throws -> Bool {
        let before = coordinator.clock.now() - .seconds(coordinator.settings.scrub.everySeconds)
        let overdue = try await coordinator.catalog.overdue(
            in: store.number, hashedBefore: before, limit: Self.batch + passed.count)
        let packs = overdue.packs.filter { !passed.packs.contains($0.pack) }
        let snapshots = overdue.snapshots.filter { !passed.snapshots.contains($0.number) }
        let nodes = overdue.nodes.filter { !passed.nodes.contains($0) }
        guard !packs.isEmpty || !snapshots.isEmpty || !nodes.isEmpty else { return false }
        for pack in packs {
            try await attempt(in: store, &passed, { $0.packs.insert(pack.pack) }) {
                await pace.spend(Int(pack.sizeBytes))
                _ = try await coordinator.inspect(pack, in: store, isHashed: true)
                coordinator.metrics.countScrub(bytes: Int64(pack.sizeBytes))
            }
        }
        for snapshot in snapshots {
            try await attempt(in: store, &passed, { $0.snapshots.insert(snapshot.number) }) {
                await pace.spend(Int(snapshot.manifestBytes))
                try await coordinator.inspectRecords(of: snapshot, in: store)
                coordinator.metrics.countScrub(bytes: Int64(snapshot.manifestBytes))
            }
        }
        for id in nodes {
            try await attempt(in: store, &passed, { $0.nodes.insert(id) }) { try await scrubKeys(of: id, in: store) }
        }
        return true
    }

    private func scrubKeys(of id: NodeID, in store: OpenStore) async throws {
        guard let node = try await coordinator.catalog.node(id), let key = VerifyingKey(bytes: node.signingKey),
            let replica = try await coordinator.catalog.keyReplicas(of: id).first(where: { $0.store == store.number })
        else { return }
        _ = try await coordinator.goodKeys(replica, of: id, key, in: store)
    }

    /// Looks at one object. What keeps it from being read, and is not the store's absence, says nothing of the others.
    private func attempt(
        in store: OpenStore, _ passed: inout PassedOver, _ passOver: (inout PassedOver) -> Void,
        _ look: () async throws -> Void
    ) async throws {
        try stopAtShutdown()
        do {
            try await look()
        } catch let error as any ActionableError {
            if let error = error as? StoreError, error.meansAbsence { throw error }
            passOver(&passed)
            passed.lastReason = error.summary
            guard passed.count < PassedOver.most, !store.isAway else { throw error }
        }
    }

    private func stopAtShutdown() throws {
        if Task.isShuttingDownGracefully || Task.isCancelled { throw CancellationError() }
    }
}

extension Coordinator {
    /// Reads a snapshot's manifest and receipt in one store again, and records what was found.
    ///
    /// - Returns: what is wrong with each of them, and how many bytes were read.
    @discardableResult
    func inspectRecords(
        of snapshot: Catalog.Snapshot, in store: OpenStore, isHashed: Bool = true
    ) async throws -> (faults: [(object: ObjectName, reason: String)], bytesRead: Int64) {
        guard let replica = snapshot.replicas.first(where: { $0.store == store.number }),
            let generation = Generation(replica.generation),
            let receiptGeneration = Generation(replica.receiptGeneration),
            let receipt = try await catalog.receipt(of: snapshot.id)
        else { throw CatalogError.damaged(column: "generation") }
        let place = SnapshotPlace(snapshot)
        // A size does not make good what was found bad.
        let (readsManifest, readsReceipt) = (
            isHashed || replica.manifestState != .present, isHashed || replica.receiptState != .present
        )
        let (manifestFault, manifestBytes) = try await fault(
            in: .manifest(place, generation), of: store, size: UInt64(snapshot.manifestBytes),
            hash: snapshot.manifestHash, isHashed: readsManifest)
        let (receiptFault, receiptBytes) = try await fault(
            in: .receipt(place, receiptGeneration), of: store, size: UInt64(receipt.count),
            hash: SHA256Hasher.hash(receipt, as: Digest<ReceiptKind>.self), isHashed: readsReceipt)
        try await catalog.mark(
            .manifest, of: snapshot.number, store: store.number, generation: replica.generation,
            as: manifestFault?.state ?? .present, isHashed: readsManifest, now: clock.now())
        try await catalog.mark(
            .receipt, of: snapshot.number, store: store.number, generation: replica.receiptGeneration,
            as: receiptFault?.state ?? .present, isHashed: readsReceipt, now: clock.now())
        if manifestFault != nil || receiptFault != nil { await replications.ring(true) }
        let faults = [
            manifestFault.map { (ObjectName.manifest(place, generation), $0.reason) },
            receiptFault.map { (ObjectName.receipt(place, receiptGeneration), $0.reason) },
        ].compactMap { $0 }
        return (faults, manifestBytes + receiptBytes)
    }
}
