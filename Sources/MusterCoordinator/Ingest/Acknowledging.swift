import HTTPTypes
import MusterCatalog
import MusterModel
import MusterStore

/// Which stores can acknowledge a commit: each holds all that the snapshot needs but what comes with the commit.
extension Coordinator {
    /// As many stores as a receipt needs, the first of them on no node: those that have all that is needed, then those
    /// that get what they lack copied. So a pack that a node put into one store need not be copied to another before the
    /// receipt.
    ///
    /// - Throws: `packsMissing` where packs are only in stores that are away: the node sends them again.
    func stores(for commit: Catalog.Commit, incoming: Set<PackID>) async throws -> [OpenStore] {
        var ready: [OpenStore] = []
        var failure: (any Error)?
        for copies in [false, true] {
            for store in stores.acknowledgers(of: commit.node) where ready.count < stores.placement.beforeReceipt {
                if ready.contains(where: { $0.number == store.number }) || (ready.isEmpty && store.isOnNode) {
                    continue
                }
                do {
                    if try await makeReady(store, for: commit, incoming, copies: copies) { ready.append(store) }
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

    /// - Parameter copies: whether what is lacking is copied there.
    /// - Returns: false where the store has not the snapshots before, so that it must get those first.
    private func makeReady(
        _ store: OpenStore, for commit: Catalog.Commit, _ incoming: Set<PackID>, copies: Bool
    ) async throws -> Bool {
        if let absence = store.store.absence { throw absence }
        let standing = try await catalog.standing(of: commit, incoming: incoming, in: store.number)
        guard standing.hasParent, standing.hasBase, copies || standing.lacking.isEmpty else { return false }
        if !standing.hasKeys, let node = try await catalog.node(commit.node) { try await copyKeys(of: node, to: store) }
        var unreachable: [PackID] = []
        for number in standing.lacking {
            guard let pack = try await catalog.copies(ofPack: number) else { continue }
            do { try await copy(pack, to: store, pace: nil) } catch is NoGoodCopy { unreachable.append(pack.id) }
        }
        guard unreachable.isEmpty else { throw Refusal.packsMissing(unreachable) }
        return true
    }
}
