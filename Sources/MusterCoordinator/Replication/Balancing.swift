import Logging
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import ServiceLifecycle

/// Gives up replicas in stores where the placement does not want them any more (proto/decisions/0014-rebalancing.md).
extension Coordinator {
    /// What was found there with its size within this time need not be looked at again.
    private static let lookedAtEvery = Duration.seconds(86_400)
    private static let snapshotsAtOnce = 100
    private static let packsAtOnce = 200
    /// Of one snapshot; what is left is looked at when it comes round again.
    private static let doubtsAtOnce = 1000
    private static let keysAtOnce = 100_000

    /// A node's replicas in a store that is not to have them.
    struct SurplusPlace: Hashable, Sendable {
        let store: Int64
        let node: NodeID
    }

    /// Nodes of which stores hold what the placement does not want there, as far as it can be moved now.
    func surplusPlaces() async throws -> [SurplusPlace] {
        var places: [SurplusPlace] = []
        for store in stores.all where !store.isAway {
            for holding in try await catalog.holdings(inStore: store.number) {
                if isMovable(holding.node, from: store) {
                    places.append(SurplusPlace(store: store.number, node: holding.node))
                }
            }
            guard store.entry.state == .draining else { continue }
            let known = Set(places.filter { $0.store == store.number }.map(\.node))
            for node in try await catalog.nodesWithKeys(inStore: store.number, limit: Self.keysAtOnce)
            where !known.contains(node) && isMovable(node, from: store) {
                places.append(SurplusPlace(store: store.number, node: node))
            }
        }
        return places
    }

    private func isMovable(_ node: NodeID, from store: OpenStore) -> Bool {
        let keepers = stores.keepers(of: node)
        guard !keepers.isEmpty, !keepers.contains(where: { $0.number == store.number }) else { return false }
        // One that is away cannot be looked at.
        return keepers.allSatisfy { !$0.isAway } && stores.placement.shortfall(of: keepers.map(\.candidate)) == nil
    }

    private func surplus(_ place: SurplusPlace) -> Catalog.Surplus? {
        guard let store = stores[place.store], !store.isAway, isMovable(place.node, from: store) else { return nil }
        let now = clock.now()
        let keepers = stores.keepers(of: place.node)
        // Where one copy stays, it is read again before: another to heal from there will be none.
        let age = keepers.count > 1 ? .seconds(2 * settings.scrub.everySeconds) : Self.lookedAtEvery
        // What a rebuild found was hashed by the coordinator of before, or by nobody.
        let hashedSince = now - age
        return Catalog.Surplus(
            store: place.store, node: place.node, wanted: keepers.map(\.number),
            active: stores.all.filter { $0.entry.state == .active }.map(\.number),
            hashedSince: max(hashedSince, rebuiltAt ?? hashedSince), lookedSince: now - Self.lookedAtEvery)
    }

    /// Gives up what can be of one node in one store: its snapshots first, then the packs, then the key record.
    ///
    /// - Parameter pace: of objects; nil for no bound.
    /// - Returns: how many replicas were given up.
    func giveUpSurplus(_ place: SurplusPlace, pace: CopyPace?) async throws -> Int {
        guard try await mayWrite(), try await unscannedStores().isEmpty else { return 0 }
        var count = 0
        for lineage in try await catalog.lineages(of: place.node) {
            count += try await giveUpSnapshots(of: lineage, place, pace)
        }
        if try await catalog.holding(of: place.node, inStore: place.store).snapshots == 0 {
            for lineage in try await catalog.lineages(of: place.node) {
                count += try await giveUpPacks(of: lineage, place, pace)
            }
            count += try await giveUpKeys(place)
        }
        if count > 0 {
            logger.info(
                "surplus replicas given up",
                metadata: [
                    "store": "\(stores[place.store]?.name ?? "?")", "node": "\(place.node)", "count": "\(count)",
                ])
        }
        return count
    }

    private func giveUpSnapshots(of lineage: LineageID, _ place: SurplusPlace, _ pace: CopyPace?) async throws -> Int {
        var (count, below): (Int, UInt64?) = (0, nil)
        while true {
            let snapshots = try await catalog.snapshots(
                of: lineage, in: place.store, below: below, limit: Self.snapshotsAtOnce)
            guard let last = snapshots.last else { return count }
            for snapshot in snapshots {
                try stopAtShutdown()
                guard let surplus = surplus(place) else { return count }
                let doubts = try await catalog.doubts(on: snapshot, surplus, limit: Self.doubtsAtOnce)
                try await settle(doubts, of: place.node)
                guard try await catalog.giveUp(snapshot: snapshot.number, surplus, now: clock.now()) else { continue }
                count += 1
                // A manifest and a receipt.
                await pace?.spend(2)
            }
            below = last.sequence
        }
    }

    private func giveUpPacks(of lineage: LineageID, _ place: SurplusPlace, _ pace: CopyPace?) async throws -> Int {
        var (count, after): (Int, Int64) = (0, 0)
        while true {
            let packs = try await catalog.packs(
                of: lineage, in: place.store, after: after, limit: Self.packsAtOnce)
            guard let last = packs.last else { return count }
            guard let surplus = surplus(place) else { return count }
            for pack in packs {
                try stopAtShutdown()
                try await settle(try await catalog.doubts(onPack: pack, surplus), of: place.node)
            }
            let given = try await catalog.giveUp(packs: packs, surplus, now: clock.now())
            await pace?.spend(given)
            count += given
            after = last
        }
    }

    /// They are small, and a store that is in use may need them at any time: only a draining one is rid of them.
    private func giveUpKeys(_ place: SurplusPlace) async throws -> Int {
        guard stores[place.store]?.entry.state == .draining, let surplus = surplus(place) else { return 0 }
        for store in surplus.wanted { try await lookAtKeys(of: place.node, in: store) }
        return try await catalog.giveUpKeys(surplus, now: clock.now()) ? 1 : 0
    }

    // MARK: - What is in doubt

    /// Looks at copies in wanted stores that count only then, at the scrub's pace. One that is bad is marked, and so
    /// repaired, from the surplus one too.
    private func settle(_ doubts: [Catalog.Doubt], of node: NodeID) async throws {
        for doubt in doubts {
            try stopAtShutdown()
            guard let store = stores[doubt.store], !store.isAway else { continue }
            switch doubt.part {
            case .snapshot(let snapshot):
                await readingPace(of: store).spend(Int(snapshot.manifestBytes))
                try await inspectRecords(of: snapshot, in: store)
            case .pack(let replica):
                if doubt.isHashed { await readingPace(of: store).spend(Int(replica.sizeBytes)) }
                _ = try await inspect(replica, in: store, isHashed: doubt.isHashed)
            case .keys: try await lookAtKeys(of: node, in: doubt.store)
            case .missingPack(let pack):
                guard try await catalog.isWanted(pack: pack, in: doubt.store) else { continue }
                try await catalog.want(packs: [pack], in: doubt.store, now: clock.now())
                await replications.ring(true)
            }
        }
    }

    private func lookAtKeys(of id: NodeID, in number: Int64) async throws {
        guard let store = stores[number], let node = try await catalog.node(id),
            let key = VerifyingKey(bytes: node.signingKey)
        else { return }
        let replicas = try await catalog.keyReplicas(of: id)
        if let replica = replicas.first(where: { $0.store == number }), replica.state == .present {
            _ = try await goodKeys(replica, of: id, key, in: store)
        } else {
            try await copyKeys(of: node, to: store)
        }
    }

    private func stopAtShutdown() throws {
        if Task.isShuttingDownGracefully || Task.isCancelled { throw CancellationError() }
    }

    // MARK: - Stores that were given up

    /// Forgets what the catalog has of lost stores, and has it looked at what is nowhere else.
    ///
    /// - Returns: whether there may be more.
    func forgetLostReplicas() async throws -> Bool {
        var hasMore = false
        for store in try await catalog.stores() where store.state == .lost {
            let step = try await catalog.forgetReplicas(ofLostStore: store.number)
            guard step.count > 0 else { continue }
            hasMore = true
            guard !step.lost.isEmpty else { continue }
            logger.error(
                "snapshots are lost with their store",
                metadata: ["store": "\(store.name)", "count": "\(step.lost.count)"])
            // The verdict names them, and the alarm their databases.
            try await catalog.begin(
                RunID(from: random), level: .check, snapshots: step.lost, jobs: [], now: clock.now())
            await inspections.ring(true)
        }
        if hasMore { await replications.ring(true) }
        return hasMore
    }
}
