import MusterFormat
import MusterModel
import MusterSQLite

/// Puts together the manifest of a snapshot whose pages are all in packs.
struct ManifestMaker {
    let request: SnapshotRequest
    let settings: SealingSettings
    let draft: LedgerDraft

    func prepare(
        _ assembled: SnapshotAssembled, _ inlinePacks: [[UInt8]], _ addedBytes: UInt64, _ figures: SnapshotFigures
    ) throws -> PreparedSnapshot {
        let (source, map) = (assembled.source, assembled.map)
        let live = draft.state.livePacks
        let packs = packs(since: map.base, live)
        // Where the ledger is not of the parent, what the parent needs is known one by one.
        let sinceParent = request.parentPacks.map { parent in
            PackChanges(added: live.subtracting(parent), dropped: parent.subtracting(live))
        }
        let publicPart = ManifestPublicPart(
            snapshot: request.snapshot, node: request.node, database: request.database,
            databaseName: request.databaseName, lineage: request.lineage, sequence: request.sequence,
            parent: request.parent.map { ManifestReference(snapshot: $0.snapshot, manifest: $0.manifestHash) },
            base: map.base.map { ManifestReference(snapshot: $0.snapshot, manifest: $0.manifestHash) },
            forkedFrom: request.forkedFrom.map { origin in
                ForkPoint(
                    lineage: origin.lineage,
                    head: ManifestReference(snapshot: origin.head.snapshot, manifest: origin.head.manifestHash))
            },
            scope: settings.keys.scope, keyEpoch: settings.keys.epoch, capturedBegin: source.beganAt,
            capturedEnd: assembled.endedAt, geometry: source.geometry, contentRoot: assembled.root, packs: packs,
            packsSinceParent: sinceParent ?? assembled.packs, labels: request.labels, captureMethod: source.method,
            continuity: source.continuity, sealedBytesAdded: addedBytes, storedBytes: draft.state.storedBytes)
        let sealedPart = ManifestSealedPart(
            sourcePath: request.path, map: map.map, inventory: SourceInventory(source.inventory),
            sourceFingerprint: source.fingerprint.description)
        let manifest = try Manifest.make(
            publicPart: publicPart, sealedPart: sealedPart, keys: settings.keys, signer: settings.signingKey)
        let base = ChainBase(
            sequence: request.sequence, snapshot: request.snapshot, manifestHash: manifest.hash,
            mapBytes: map.byteCount)
        var figures = figures
        (figures.addedBytes, figures.storedBytes) = (addedBytes, publicPart.storedBytes)
        return PreparedSnapshot(
            manifest: manifest.bytes, manifestHash: manifest.hash, inlinePacks: inlinePacks,
            packsSinceParent: publicPart.packsSinceParent, geometry: source.geometry,
            identity: SourceIdentity.text(source.fingerprint, pageSize: source.geometry.pageSize),
            fingerprint: SourceIdentity.provingText(source.fingerprint, at: source.beganAt),
            capturedAt: assembled.endedAt,
            figures: figures, writerVersion: sealedPart.inventory.writerVersion,
            journalMode: sealedPart.inventory.journalMode, schemaHash: sealedPart.inventory.schemaHash?.bytes ?? [],
            writerWait: source.writerWait,
            ledger: draft.change(
                base: base, isFull: map.base == nil, groups: assembled.groups, cursor: source.cursor?.bytes))
    }

    private func packs(since base: ChainBase?, _ live: Set<PackID>) -> PackChanges {
        guard let base else { return PackChanges(added: live) }
        // By id: sealing is deterministic, so a pack that died may have come back under another number.
        let atBase = Set(
            draft.state.packs.values.lazy.filter { $0.born <= base.sequence && ($0.died ?? .max) > base.sequence }
                .map(\.id))
        return PackChanges(added: live.subtracting(atBase), dropped: atBase.subtracting(live))
    }
}
