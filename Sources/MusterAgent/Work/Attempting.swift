import Logging
import MusterAPI
import MusterEngine
import MusterFormat
import MusterModel
import MusterSQLite

/// One try at a snapshot, from what is known of the database to the receipt.
struct Attempting: Sendable {
    let database: ProtectedDatabase
    let labels: [String: String]
    let skipsUnchanged: Bool
    let session: SourceSession
    let onChange: @Sendable () -> Void

    /// - Returns: nil if nothing changed and that is enough.
    func run(_ taker: SnapshotTaker) async throws -> SnapshotID? {
        let state = taker.state
        let head = try state.head(of: database.id)
        let stored = try head.flatMap { head in
            // One that is newer than the head belongs to snapshots that the coordinator lost.
            try state.ledger(of: database.id).flatMap { stored in
                stored.manifestHash == head.manifestHash || stored.state.sequence < head.sequence ? stored : nil
            }
        }
        let isOfHead = stored.map { $0.manifestHash == head?.manifestHash } ?? false
        let way = try await way(head, isOfHead ? stored?.cursor : nil, taker)
        session.lend()
        let known = SnapshotPipeline.Known(
            ledger: try stored?.ledger ?? state.buildLedger(of: database.id), state: stored?.state)
        guard let ledger = known.ledger as? LedgerStore else { preconditionFailure("a ledger of the state's own") }
        var request = SnapshotRequest(
            snapshot: SnapshotID(from: taker.environment.random), node: taker.identity.node, database: database.id,
            databaseName: database.name, path: database.path,
            lineage: head?.lineage ?? LineageID(from: taker.environment.random),
            sequence: head.map { $0.sequence + 1 } ?? 0,
            parent: head.map { Ancestor(snapshot: $0.snapshot, manifestHash: $0.manifestHash) },
            parentPacks: isOfHead ? nil : try await packs(of: head, taker),
            forkedFrom: head == nil ? try state.forkOrigin(of: database.id) : nil, labels: labels)
        request.skipsUnchanged = skipsUnchanged && isOfHead && labels.isEmpty
        let outcome = try await taker.pipeline.run(
            request, way, known, sink: CoordinatorSink(coordinator: taker.coordinator, uploads: taker.uploads))
        let isFollowed = if case .followed = way { true } else { false }
        switch outcome {
        case .unchanged(let source):
            let id = database.id
            try await taker.writes.run {
                try state.foundUnchanged(
                    id, fingerprint: source.fingerprint, readAt: source.readAt, cursor: source.cursor)
            }
            session.foundUnchanged(isFollowed: isFollowed && source.cursor != nil)
            return nil
        case .prepared(let prepared):
            tell(prepared.writerWait, taker.environment.logger)
            taker.marks.note(
                writerVersion: prepared.writerVersion, journalMode: prepared.journalMode,
                schemaHash: prepared.schemaHash, of: database.id)
            let snapshot = try await commit(prepared, request, ledger, head, isFollowed: isFollowed, taker)
            taker.metrics.countSent(
                imageBytes: prepared.geometry.sizeBytes, addedBytes: prepared.figures.addedBytes)
            return snapshot
        }
    }

    /// What a rollback journal cost its application.
    private func tell(_ wait: WriterWait?, _ logger: Logger) {
        guard let wait else { return }
        let metadata: Logger.Metadata = ["database": "\(database.name)", "longest_wait": "\(wait.longest)"]
        if wait.heldThroughout {
            logger.notice("writers waited while all of it was compared; WAL mode would spare them", metadata: metadata)
        } else {
            logger.debug("read in slices", metadata: metadata)
        }
    }

    private func way(_ head: LineageHead?, _ cursor: [UInt8]?, _ taker: SnapshotTaker) async throws -> CaptureWay {
        let (path, session, onChange) = (database.path, session, onChange)
        let (elapsed, logger) = (taker.environment.monotonic, taker.environment.logger)
        let (identity, name) = (head?.identity ?? "", database.name)
        return try await taker.files.run {
            try SourceIdentity.check(path, is: identity)
            return session.way(
                path: path, cursor: cursor.flatMap { FollowCursor(bytes: $0) }, elapsed: elapsed, onChange: onChange
            ) { refusal in
                logger.notice("not followed", metadata: ["database": "\(name)", "reason": "\(refusal.summary)"])
            }
        }
    }

    private func commit(
        _ prepared: PreparedSnapshot, _ request: SnapshotRequest, _ ledger: LedgerStore, _ head: LineageHead?,
        isFollowed: Bool, _ taker: SnapshotTaker
    ) async throws -> SnapshotID {
        if let head, !head.identity.isEmpty, head.identity != prepared.identity {
            throw SourceReplaced(before: head.identity, now: prepared.identity)
        }
        let pending = PendingCommit(
            database: database.id, lineage: request.lineage, sequence: request.sequence, snapshot: request.snapshot,
            manifest: prepared.manifest, manifestHash: prepared.manifestHash, inlinePacks: prepared.inlinePacks,
            packs: prepared.packsSinceParent, identity: prepared.identity, fingerprint: prepared.fingerprint,
            capturedAt: prepared.capturedAt)
        taker.environment.reach(.packsPut)
        let state = taker.state
        try await taker.writes.run { try state.keep(pending) }
        session.expect(
            .init(
                manifest: prepared.manifestHash, ledger: ledger, change: prepared.ledger, isFollowed: isFollowed))
        taker.environment.reach(.manifestKept)
        return try await taker.commit(pending, database, session)
    }

    /// The coordinator is asked where this agent took a head over without having kept its packs.
    private func packs(of head: LineageHead?, _ taker: SnapshotTaker) async throws -> Set<PackID> {
        guard let head else { return [] }
        if head.arePacksKnown { return try taker.state.livePacks(of: database.id) }
        var (chain, next): ([PackChanges], SnapshotID?) = ([], head.snapshot)
        while let snapshot = next {
            guard chain.count < ManifestChain.maximumLength else {
                throw LedgerError.damaged("the chain of manifests from \(head.snapshot) does not end")
            }
            let bytes = try await taker.coordinator.manifest(of: snapshot).bytes
            let part = try Manifest.parse(bytes).verified(by: taker.identity.signingKey.verifyingKey).publicPart
            chain.append(part.packs)
            next = part.base?.snapshot
        }
        let packs = chain.reversed().reduce(into: Set<PackID>()) { packs, changes in
            packs.subtract(changes.dropped)
            packs.formUnion(changes.added)
        }
        try taker.state.replaceLivePacks(packs, of: database.id)
        return packs
    }
}
