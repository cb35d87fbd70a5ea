import MusterFormat
import MusterModel
import MusterSQLite

/// What the manifest is made of, once every pack is on its way.
struct SnapshotAssembled {
    let source: OpenedSource
    let endedAt: Timestamp
    let root: ContentRoot
    /// Hashes of the groups that changed.
    let groups: [Int: [ExtentHash]]
    let map: MapWriter.Written
    /// Since the snapshot that the ledger described.
    let packs: PackChanges
}

/// How a capture ended well.
struct CaptureEnd {
    let source: OpenedSource
    let at: Timestamp
}

/// The stages behind the capture, for one snapshot.
struct SnapshotAssembler<Sink: PackSink>: ~Copyable {
    private let settings: SealingSettings
    private let draft: LedgerDraft
    private let sink: Sink
    private let push: PushStage<Sink>
    private let progress: ProgressMeter
    private var packs: PackAssembly
    private var scatter: ScatterAssembly
    private let sealer: ChunkSealer
    private(set) var figures = SnapshotFigures()
    /// The last pack is held back: if it is small it travels inside the commit.
    private var held: Pack?
    private(set) var inlinePacks: [[UInt8]] = []

    init(
        draft: LedgerDraft, settings: SealingSettings, sink: Sink,
        onProgress: @escaping @Sendable (SnapshotProgress) -> Void
    ) {
        (self.draft, self.settings, self.sink) = (draft, settings, sink)
        progress = ProgressMeter(onProgress)
        push = PushStage(sink: sink, progress: progress, cache: settings.cache)
        sealer = ChunkSealer(keys: settings.keys, level: settings.compressionLevel)
        packs = PackAssembly(targetBytes: settings.targetPackBytes, draft: draft)
        scatter = ScatterAssembly(draft: draft, sealer: sealer)
    }

    var addedBytes: UInt64 { packs.addedBytes }

    /// Takes in what the capture sends, and pushes packs as they fill.
    ///
    /// - Returns: nil where nothing changed and that is enough.
    mutating func run(
        _ events: Handoff<CaptureStage.Event>, skipsUnchanged: Bool
    ) async throws -> (end: CaptureEnd, assembled: SnapshotAssembled?) {
        try await withPushes { assembler, send in
            var source: OpenedSource?
            var endedAt: Timestamp?
            while let event = try await events.next() {
                switch event {
                case .round(let geometry, let settled):
                    try await assembler.begin(geometry, send)
                    settled.signal()
                case .changed(let outcomes, let extent):
                    try await assembler.take(outcomes, send)
                    assembler.progress.sealed(through: extent)
                case .pinned(let opened): source = opened
                case .closed(let at): endedAt = at
                }
            }
            guard let source, let endedAt else { preconditionFailure("a capture that ends well says so") }
            let end = CaptureEnd(source: source, at: endedAt)
            if skipsUnchanged, assembler.draft.isUnchanged { return (end, nil) }
            for pack in try assembler.scatter.finish(&assembler.packs) { try await send(pack) }
            try await assembler.rewrite(send)
            let (root, groups) = try assembler.draft.contentRoot()
            let map = try await assembler.writeMap(send)
            return (
                end,
                SnapshotAssembled(
                    source: source, endedAt: endedAt, root: root, groups: groups, map: map,
                    packs: try assembler.draft.settleLives())
            )
        }
    }

    /// Runs `body` with a way to send packs: so many are under way at once, all are through when this returns.
    private mutating func withPushes<Success>(
        _ body: (inout Self, (Pack) async throws -> Void) async throws -> Success
    ) async throws -> Success {
        let push = push
        let settings = settings
        var held: Pack?
        let result = try await withThrowingTaskGroup(of: Void.self) { group in
            var underWay = 0
            let result = try await body(&self) { pack in
                if let before = held {
                    if underWay >= SealingSettings.packsInFlight {
                        try await group.next()
                        underWay -= 1
                    }
                    group.addTask { try await push.put(before) }
                    underWay += 1
                }
                await push.keep(pack)
                held = pack
            }
            if let last = held, last.bytes.count > settings.inlinePackBytes {
                group.addTask { try await push.put(last) }
                held = nil
            }
            try await group.waitForAll()
            return result
        }
        if let held { inlinePacks = [held.bytes] }
        return result
    }

    // MARK: - Extents

    private mutating func begin(_ geometry: DatabaseGeometry, _ send: (Pack) async throws -> Void) async throws {
        for pack in try scatter.finish(&packs) { try await send(pack) }
        try draft.resize(to: geometry)
        progress.begin(geometry)
    }

    private mutating func take(_ outcomes: [ExtentOutcome], _ send: (Pack) async throws -> Void) async throws {
        figures.chunkCount += outcomes.count
        let known = draft.isBuilding ? [:] : try draft.records(outcomes.map(\.extent))
        // Asked only where nothing is known, so when a killed push resumes or the ledger was lost.
        let present = draft.isBuilding ? try await sink.present(outcomes.compactMap(\.chunk)) : [:]
        let before = draft.isBuilding ? try draft.records(outcomes.map(\.extent)) : known
        for outcome in outcomes {
            switch outcome.content {
            case .whole(let chunk):
                try await place(chunk, outcome, present[chunk.id], over: before[outcome.extent], send)
            case .differences(let pieces):
                try await supply(pieces, .difference, outcome, over: before[outcome.extent], send)
            case .pages(let pieces):
                try await supply(pieces, .scatter, outcome, over: before[outcome.extent], send)
            }
        }
    }

    private mutating func place(
        _ chunk: SealedChunk, _ outcome: ExtentOutcome, _ present: PresentChunk?, over old: ExtentRecord?,
        _ send: (Pack) async throws -> Void
    ) async throws {
        let place: (pack: UInt32, offset: Int, byteCount: Int)
        if let present {
            figures.presentChunkCount += 1
            place = (draft.knownPack(present.pack), Int(present.offset), Int(present.length))
        } else {
            let (entry, pack, finished) = packs.append(chunk)
            if let finished { try await send(finished) }
            place = (pack, entry.offset, entry.byteCount)
        }
        try draft.place(
            ExtentRecord(
                extent: outcome.extent, changed: draft.sequence, placed: draft.sequence, pack: place.pack,
                offset: place.offset, byteCount: place.byteCount, chunk: chunk.id,
                chunkPages: outcome.pageHashes.count, hash: outcome.hash, pageHashes: outcome.pageHashes),
            over: old)
    }

    private mutating func supply(
        _ pieces: [PagePiece], _ kind: ScatterEntry.Kind, _ outcome: ExtentOutcome, over old: ExtentRecord?,
        _ send: (Pack) async throws -> Void
    ) async throws {
        guard let old else { preconditionFailure("pages are supplied to an extent that is known") }
        var record = old
        (record.changed, record.hash, record.pageHashes) = (draft.sequence, outcome.hash, outcome.pageHashes)
        let replaced = Set(pieces.map(\.page))
        record.supplies.removeAll { replaced.contains($0.page) || $0.page >= outcome.pageHashes.count }
        let first = UInt32(outcome.extent * draft.state.geometry.pagesPerExtent + 1)
        for piece in pieces {
            let (number, finished) = try scatter.append(first + UInt32(piece.page), piece.bytes, as: kind, &packs)
            for pack in finished { try await send(pack) }
            record.supplies.append(.init(page: piece.page, scatter: number, byteCount: piece.bytes.count))
        }
        record.supplies.sort { $0.page < $1.page }
        draft.supply(record, over: old)
    }

    // MARK: - The rest

    private mutating func rewrite(_ send: (Pack) async throws -> Void) async throws {
        guard !draft.isBuilding else { return }
        let candidates = PackRewrite.candidates(draft.state, before: draft.sequence)
        guard !candidates.isEmpty else { return }
        try await withoutActuallyEscaping(send) { send in
            let (cache, sink) = (settings.cache, sink)
            let rewrite = PackRewrite(
                draft: draft, opener: ChunkOpener(keys: settings.keys),
                read: { pack, range in
                    if let bytes = cache?.read(pack, range) { return bytes }
                    return try await sink.read(pack, range)
                }, push: send)
            for number in candidates { try await rewrite.copy(number, &scatter, &packs) }
        }
        for pack in try scatter.finish(&packs) { try await send(pack) }
    }

    private mutating func writeMap(_ send: (Pack) async throws -> Void) async throws -> MapWriter.Written {
        try await withoutActuallyEscaping(send) { send in
            try await MapWriter(draft: draft, sealer: sealer, keyEpoch: settings.keys.epoch, push: send).write(&packs)
        }
    }
}

extension ExtentOutcome {
    var chunk: ChunkID? {
        guard case .whole(let chunk) = content else { return nil }
        return chunk.id
    }
}
