import HTTPTypes
import MusterCatalog
import MusterModel
import MusterStore

/// Which stores can acknowledge a commit: each holds all that the snapshot needs but what comes with the commit.
extension Coordinator {
    /// So many packs are copied while a node waits for its receipt.
    private static let copiedAtOnce = 64

    /// What may be done to make a store ready.
    private enum Effort {
        case none
        /// What is lacking is copied there.
        case copies
        /// The same, and it need not have the snapshots before: no store has them any more.
        case alone
    }

    /// A store in which a write failed a moment ago would fail again: any other that can be made ready comes first.
    private static let rounds: [(effort: Effort, isLastResort: Bool)] = [
        (.none, false), (.copies, false), (.none, true), (.copies, true), (.alone, true),
    ]

    /// As many stores as a receipt needs, the first of them on no node: those that have all that is needed, then those
    /// that get what they lack copied. So a pack that a node put into one store need not be copied to another before the
    /// receipt.
    ///
    /// - Throws: `packsMissing` where packs are only in stores that are away: the node sends them again.
    func stores(for commit: Catalog.Commit, incoming: Set<PackID>) async throws -> [OpenStore] {
        var ready: [OpenStore] = []
        var failure: (any Error)?
        for (effort, isLastResort) in Self.rounds where ready.count < stores.placement.beforeReceipt {
            // Where the history is in no store that is left, one may have all that this snapshot needs: else a database
            // whose only store was lost could never be backed up again.
            if effort == .alone, try await !isLost(commit.parent) { break }
            for store in stores.acknowledgers(of: commit.node) where ready.count < stores.placement.beforeReceipt {
                if ready.contains(where: { $0.number == store.number }) || (ready.isEmpty && store.isOnNode) {
                    continue
                }
                if !isLastResort, store.store.writeFailure != nil { continue }
                do {
                    if try await makeReady(store, for: commit, incoming, effort) { ready.append(store) }
                } catch let error as any ActionableError where !(error is CatalogError) {
                    failure = failure ?? error
                }
            }
        }
        guard ready.count == stores.placement.beforeReceipt else {
            if let failure { throw failure }
            throw Refusal(
                .serviceUnavailable, "no_store",
                "\(ready.count) stores that answer hold the history of this database, and a receipt needs "
                    + "\(stores.placement.beforeReceipt)",
                hint: "Bring the stores back that are away; 'muster store list' shows them.", isTransient: true)
        }
        return ready
    }

    /// Whether the parent's manifest is in no store any more, not even in one that is away.
    private func isLost(_ parent: SnapshotID?) async throws -> Bool {
        guard let parent, let snapshot = try await catalog.snapshot(parent) else { return false }
        return !snapshot.replicas.contains { $0.manifestState == .present && stores[$0.store] != nil }
    }

    /// - Returns: false where the store has not the snapshots before, so that it must get those first, or lacks more than a
    ///   node can wait for.
    private func makeReady(
        _ store: OpenStore, for commit: Catalog.Commit, _ incoming: Set<PackID>, _ effort: Effort
    ) async throws -> Bool {
        if let absence = store.store.absence { throw absence }
        let standing = try await catalog.standing(of: commit, incoming: incoming, in: store.number)
        let isFit =
            switch effort {
            case .none: standing.hasParent && standing.lacking.isEmpty
            case .copies: standing.hasParent
            // Nobody waits for a whole history to be copied.
            case .alone: standing.lacking.count <= Self.copiedAtOnce
            }
        guard isFit, standing.hasBase else { return false }
        if !standing.hasKeys, let node = try await catalog.node(commit.node) { try await copyKeys(of: node, to: store) }
        var unreachable: [PackID] = []
        for number in standing.lacking.prefix(Self.copiedAtOnce) {
            guard let pack = try await catalog.copies(ofPack: number) else { continue }
            do { try await copy(pack, to: store, pace: nil) } catch is NoGoodCopy { unreachable.append(pack.id) }
        }
        guard unreachable.isEmpty else { throw Refusal.packsMissing(unreachable) }
        // The node asks again, and the queue of repairs goes on meanwhile.
        return standing.lacking.count <= Self.copiedAtOnce
    }
}
