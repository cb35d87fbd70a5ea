import MusterFormat
package import MusterModel
package import MusterSQLite
import Synchronization

/// A snapshot from the live database to the packs on the other side: capture ▶ seal ▶ dedup ▶ pack ▶ push.
///
/// Stages are connected by bounded queues: a slow network holds the capture back.
/// Resident memory is at most three batches (4 MiB each, plain or sealed), the pack
/// that is filled and the packs under way, whatever the database's size.
package struct SnapshotPipeline: Sendable {
    private let settings: SealingSettings
    private let options: CaptureOptions
    private let clock: any WallClock
    private let monotonic: @Sendable () -> Duration
    private let observe: @Sendable (PinnedCapture) throws -> Void

    /// - Parameters:
    ///   - monotonic: time since some fixed moment, never set back.
    ///   - observe: sees each capture right after its read transaction began; for tests.
    package init(
        settings: SealingSettings, options: CaptureOptions = CaptureOptions(), clock: any WallClock,
        monotonic: @escaping @Sendable () -> Duration,
        observe: @escaping @Sendable (PinnedCapture) throws -> Void = { _ in }
    ) {
        (self.settings, self.options, self.clock) = (settings, options, clock)
        (self.monotonic, self.observe) = (monotonic, observe)
    }

    /// Captures the database and pushes its packs; the manifest is made, not sent.
    ///
    /// - Throws: `CaptureError` for the source, `FormatError` where this machine computes wrongly, and what
    ///   the sink throws. Packs already pushed are found again by the next try.
    package func run(
        _ request: SnapshotRequest, sink: some PackSink,
        onProgress: @escaping @Sendable (SnapshotProgress) -> Void = { _ in }
    ) async throws -> PreparedSnapshot {
        let lanes = SealingLanes(keys: settings.keys, level: settings.compressionLevel, count: settings.lanes)
        let events = CaptureStage(
            path: request.path, lanes: lanes, options: options, clock: clock, monotonic: monotonic, observe: observe
        ).start()
        do {
            let prepared = try await assemble(request, events, sink, onProgress)
            await events.cancelAndWait()
            return prepared
        } catch {
            // However this ends, the capture's thread is gone and its locks with it before the caller goes on.
            await events.cancelAndWait()
            throw error
        }
    }

    private func assemble(
        _ request: SnapshotRequest, _ events: Handoff<CaptureStage.Event>, _ sink: some PackSink,
        _ onProgress: @escaping @Sendable (SnapshotProgress) -> Void
    ) async throws -> PreparedSnapshot {
        guard case .opened(let source)? = try await events.next() else {
            preconditionFailure("a capture opens its source first")
        }
        var assembler = SnapshotAssembler(source: source, settings: settings, sink: sink, onProgress: onProgress)
        let endedAt = try await assembler.run(events)
        return try assembler.prepared(request, endedAt: endedAt)
    }
}

/// The stages behind the capture, for one snapshot.
struct SnapshotAssembler<Sink: PackSink>: ~Copyable {
    private let source: OpenedSource
    private let settings: SealingSettings
    private let push: PushStage<Sink>
    private let sink: Sink
    private var packs: PackAssembly
    private var map: MapAssembly
    private var figures = SnapshotFigures()
    private var inlinePacks: [[UInt8]] = []
    private let progress: ProgressMeter

    init(
        source: OpenedSource, settings: SealingSettings, sink: Sink,
        onProgress: @escaping @Sendable (SnapshotProgress) -> Void
    ) {
        (self.source, self.settings, self.sink) = (source, settings, sink)
        progress = ProgressMeter(pageCount: source.geometry.pageCount, onProgress)
        push = PushStage(sink: sink, progress: progress)
        packs = PackAssembly(targetBytes: settings.targetPackBytes, keyEpoch: settings.keys.epoch)
        map = MapAssembly(geometry: source.geometry, keys: settings.keys, level: settings.compressionLevel)
    }

    /// - Returns: when the capture ended.
    mutating func run(_ events: Handoff<CaptureStage.Event>) async throws -> Timestamp {
        let (push, limit) = (push, SealingSettings.packsInFlight)
        var endedAt: Timestamp?
        // The group is the bound on packs under way; its tasks only upload.
        try await withThrowingTaskGroup(of: Void.self) { group in
            var underWay = 0
            while let event = try await events.next() {
                switch event {
                case .opened: preconditionFailure("a capture opens its source once")
                case .closed(let at): endedAt = at
                case .sealed(let extents):
                    for pack in try await take(extents) {
                        if underWay >= limit {
                            try await group.next()
                            underWay -= 1
                        }
                        group.addTask { try await push.put(pack) }
                        underWay += 1
                    }
                }
            }
            if let last = packs.finish() {
                if last.bytes.count <= settings.inlinePackBytes {
                    inlinePacks = [last.bytes]
                } else {
                    group.addTask { try await push.put(last) }
                }
            }
            try await group.waitForAll()
        }
        guard let endedAt else { preconditionFailure("a capture that ends well says so") }
        return endedAt
    }

    /// The dedup question for one batch, then its missing chunks into packs.
    private mutating func take(_ extents: [SealedExtent]) async throws -> [Pack] {
        let present = try await sink.present(extents.map(\.chunk.id))
        var finished: [Pack] = []
        for extent in extents {
            figures.chunkCount += 1
            let location: ChunkLocation
            if let known = present[extent.chunk.id] {
                figures.presentChunkCount += 1
                location = .known(
                    ChunkPlace(
                        pack: known.pack, offset: Int(known.offset), byteCount: Int(known.length),
                        chunk: extent.chunk.id, keyEpoch: settings.keys.epoch))
            } else {
                let (fresh, full) = packs.append(extent.chunk)
                if let full { finished.append(full) }
                location = fresh
            }
            try map.append(extent, at: location, &packs)
        }
        progress.sealed(through: extents.last.map { $0.extent + 1 } ?? 0, source.geometry)
        return finished
    }

    consuming func prepared(_ request: SnapshotRequest, endedAt: Timestamp) throws -> PreparedSnapshot {
        let groups = map.references(packs)
        figures.addedBytes = packs.addedBytes
        figures.storedBytes = map.storedBytes
        let added = PackChanges(added: map.packs)
        let publicPart = ManifestPublicPart(
            snapshot: request.snapshot, node: request.node, database: request.database,
            databaseName: request.databaseName, lineage: request.lineage, sequence: request.sequence,
            parent: request.parent.map { ManifestReference(snapshot: $0.snapshot, manifest: $0.manifestHash) },
            base: nil,
            forkedFrom: request.forkedFrom.map { origin in
                ForkPoint(
                    lineage: origin.lineage,
                    head: ManifestReference(snapshot: origin.head.snapshot, manifest: origin.head.manifestHash))
            },
            scope: settings.keys.scope, keyEpoch: settings.keys.epoch, capturedBegin: source.beganAt,
            capturedEnd: endedAt, geometry: source.geometry, contentRoot: map.contentRoot(), packs: added,
            packsSinceParent: PackChanges(
                added: map.packs.subtracting(request.parentPacks), dropped: request.parentPacks.subtracting(map.packs)),
            labels: request.labels,
            captureMethod: source.method == .closedFile ? .closed : .pinned,
            continuity: .scanned, sealedBytesAdded: packs.addedBytes, storedBytes: map.storedBytes)
        let sealedPart = ManifestSealedPart(
            sourcePath: request.path, map: .groups(groups), inventory: SourceInventory(source.inventory),
            sourceFingerprint: source.fingerprint.description)
        let manifest = try Manifest.make(
            publicPart: publicPart, sealedPart: sealedPart, keys: settings.keys, signer: settings.signingKey)
        return PreparedSnapshot(
            manifest: manifest.bytes, manifestHash: manifest.hash, inlinePacks: inlinePacks,
            packs: map.packs, geometry: source.geometry,
            identity: SourceIdentity.text(source.fingerprint, pageSize: source.geometry.pageSize),
            fingerprint: SourceIdentity.provingText(source.fingerprint, at: source.beganAt),
            capturedAt: endedAt, figures: figures)
    }
}
