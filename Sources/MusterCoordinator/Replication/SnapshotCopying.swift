import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// Makes a store hold a snapshot whole.
extension Coordinator {
    private static let packsAtOnce = 64
    private static let packLanes = 4

    /// Why a copy has to wait for another one.
    struct WaitsForBase: ActionableError {
        let snapshot: SnapshotID
        let isTransient = true
        var summary: String { "the manifest that snapshot \(snapshot) builds on is not there yet" }
        var hint: String { "It is copied first; 'muster store list' shows what keeps it." }
    }

    /// Brings to a store, in this order, what a snapshot needs: the node's key record, its packs, its receipt, and at
    /// last its manifest. Its base's manifest has to be there before. So a manifest that is there says that all is; but of
    /// a forgotten snapshot, which others are based on, no packs are brought, and a pack that is lost in every store is
    /// noted as lacking instead.
    func copy(_ snapshot: Catalog.Snapshot, to store: OpenStore) async throws {
        var standing = try await catalog.standing(of: snapshot, in: store.number, limit: Self.packsAtOnce)
        guard standing.hasBase else { throw WaitsForBase(snapshot: snapshot.id) }
        if !standing.hasKeys, let node = try await catalog.node(snapshot.node) {
            try await copyKeys(of: node, to: store)
        }
        while !standing.lacking.isEmpty {
            try await copy(packs: standing.lacking, to: store)
            standing = try await catalog.standing(of: snapshot, in: store.number, limit: Self.packsAtOnce)
        }
        try await puttingObjects { try await copyRecords(of: snapshot, to: store, $0) }
    }

    /// Several at once: a store far away answers each request late. What fails keeps no other from its end.
    func copy(packs: [Int64], to store: OpenStore) async throws {
        var failure: (any Error)?
        try await inLanes(packs, width: Self.packLanes) { number in
            do {
                try await copyGates.pass(store.number) {
                    // One that is gone is not needed any more.
                    guard let pack = try await catalog.copies(ofPack: number) else { return }
                    try await copy(pack, to: store, pace: copyPace)
                }
                return nil
            } catch {
                return error
            }
        } goesOn: { (error: (any Error)?) in
            failure = failure ?? error
            return error == nil
        }
        if let failure { throw failure }
    }

    /// The receipt and the manifest, each under its old name where that one is good.
    private func copyRecords(
        of snapshot: Catalog.Snapshot, to store: OpenStore, _ objects: UnrecordedObjects
    ) async throws {
        guard let receipt = try await catalog.receipt(of: snapshot.id) else {
            throw CatalogError.damaged(column: "receipt")
        }
        let place = SnapshotPlace(snapshot)
        let old = snapshot.replicas.first { $0.store == store.number }
        var copy = Catalog.SnapshotCopy(
            store: store.number, generation: old?.generation ?? "", receiptGeneration: old?.receiptGeneration ?? "",
            replacing: old)
        // Before anything is written: where there is none, this is tried again and again.
        let manifest = old?.manifestState == .present ? nil : try await goodManifest(of: snapshot)
        if old?.receiptState != .present {
            let generation = Generation(from: random)
            try await objects.put(.receipt(place, generation), receipt, into: store)
            if let old, old.receiptState == .damaged, let bad = Generation(old.receiptGeneration) {
                copy.replaced.append((ObjectName.receipt(place, bad).description, Int64(receipt.count)))
            }
            copy.receiptGeneration = generation.description
        }
        if let manifest {
            let generation = Generation(from: random)
            try await objects.put(.manifest(place, generation), manifest, into: store)
            if let old, old.manifestState == .damaged, let bad = Generation(old.generation) {
                copy.replaced.append((ObjectName.manifest(place, bad).description, snapshot.manifestBytes))
            }
            copy.generation = generation.description
        }
        guard
            try await catalog.recordCopy(of: snapshot.number, copy, quarantine: Self.quarantine, now: clock.now())
        else {
            // gc took the snapshot meanwhile, or what it needs there was given up.
            throw Overtaken(what: "what the store has of snapshot \(snapshot.id) and what that needs")
        }
        objects.areRecorded()
    }
}
