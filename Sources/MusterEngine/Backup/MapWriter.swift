import MusterFormat
package import MusterModel

/// Writes what the manifest says of the page map, once every page is in its place.
struct MapWriter {
    /// Above this many changed extents a full manifest costs no more than a delta.
    private static let mostChangedExtents = 65_536
    /// Kept free for a group's map chunk, so that it can name the pack it shares with its extents as its own.
    private static let reserveBytes = 256 << 10
    /// A chain of deltas up to this size is never too long.
    private static let leastChainBytes = 16 << 10

    let draft: LedgerDraft
    let sealer: ChunkSealer
    let keyEpoch: UInt32
    /// Takes each finished pack.
    let push: (Pack) async throws -> Void

    struct Written {
        var map: ManifestMap
        /// Nil in a full manifest.
        var base: ChainBase?
        /// Plain bytes of the map as this manifest has it.
        var byteCount: Int
    }

    func write(_ packs: inout PackAssembly) async throws -> Written {
        if let delta = try await changes(&packs) { return delta }
        return try await groups(&packs)
    }

    // MARK: - Delta

    /// What changed since the base, or nil where the manifest has to be a full one.
    private func changes(_ packs: inout PackAssembly) async throws -> Written? {
        let state = draft.state
        guard !draft.isBuilding, draft.sequence > state.lastFull, state.geometry.pageCount > 0 else { return nil }
        let wanted = ManifestChain.baseSequence(of: draft.sequence, lastFull: state.lastFull)
        // Without the parent among them the ledger is older than the head, and no delta can be told.
        guard let base = state.bases.first(where: { $0.sequence == wanted }),
            state.bases.last?.sequence == draft.sequence - 1,
            let records = try draft.records(changedAfter: base.sequence, limit: Self.mostChangedExtents)
        else { return nil }
        let size = try changes(records, since: base.sequence, state).encoded(in: state.geometry).count
        let chained = chainBytes(from: base.sequence, state) + size
        guard chained <= max(state.fullMapBytes, Self.leastChainBytes) else { return nil }
        draft.keepMaps(of: chain(from: base.sequence, state))
        if size > MapChanges.maximumInlineBytes {
            return try await chunks(records, base, size, &packs)
        }
        // The names of packs are known from here on.
        if let finished = packs.finish() { try await push(finished) }
        let inline = try changes(records, since: base.sequence, draft.state)
        return Written(map: .changes(inline), base: base, byteCount: size)
    }

    private func chunks(
        _ records: [ExtentRecord], _ base: ChainBase, _ size: Int, _ packs: inout PackAssembly
    ) async throws -> Written {
        if let finished = packs.finish() { try await push(finished) }
        let state = draft.state
        let changes = try changes(records, since: base.sequence, state)
        var written: [(extents: ClosedRange<Int>, number: UInt32, entry: PackEntry, plain: Int)] = []
        for part in try changes.parts(in: state.geometry) {
            let plain = try part.changes.encoded(in: state.geometry)
            let (entry, number, finished) = packs.append(try sealer.seal(plain, as: .map))
            if let finished { try await push(finished) }
            draft.addMapBytes(entry.byteCount, in: number)
            written.append((part.extents, number, entry, plain.count))
        }
        if let finished = packs.finish() { try await push(finished) }
        let ids = draft.state.packs
        let references = try written.map { written in
            guard let pack = ids[written.number] else { throw LedgerError.unknownPack }
            return MapChangesReference(
                extents: written.extents, place: ChunkPlace(written.entry, in: pack.id, keyEpoch: keyEpoch),
                plainByteCount: written.plain)
        }
        return Written(map: .changeChunks(references), base: base, byteCount: size)
    }

    private func changes(
        _ records: [ExtentRecord], since base: UInt64, _ state: LedgerState
    ) throws -> MapChanges {
        var changes = MapChanges()
        for record in records {
            if record.placed > base {
                changes.placed.append(try entry(record, state))
            } else {
                changes.continued.append(ContinuedExtent(extent: record.extent, hash: record.hash))
            }
        }
        changes.scatter = try state.scatters.values.filter { $0.listed > base && $0.liveCount > 0 }
            .sorted { ($0.listed, $0.number) < ($1.listed, $1.number) }.map { try entry($0, state) }
        return changes
    }

    /// Plain bytes of the deltas from the full manifest to the base.
    private func chainBytes(from base: UInt64, _ state: LedgerState) -> Int {
        let chain = chain(from: base, state)
        return state.bases.filter { $0.sequence > state.lastFull && chain.contains($0.sequence) }
            .reduce(0) { $0 + $1.mapBytes }
    }

    /// The manifests that the base rests on, itself and the full one included. One that has left the chain
    /// never comes back, so its map chunks are of no use to later snapshots.
    private func chain(from base: UInt64, _ state: LedgerState) -> Set<UInt64> {
        var (chain, sequence): (Set<UInt64>, UInt64) = ([state.lastFull], base)
        while sequence > state.lastFull {
            chain.insert(sequence)
            sequence = ManifestChain.baseSequence(of: sequence, lastFull: state.lastFull)
        }
        return chain
    }

    // MARK: - Full

    private func groups(_ packs: inout PackAssembly) async throws -> Written {
        draft.keepMaps(of: [])
        try draft.flush()
        let geometry = draft.state.geometry
        let scatters = draft.state.scatters.values.filter { $0.liveCount > 0 }.sorted { $0.number < $1.number }
        var written: [(number: UInt32, entry: PackEntry, plain: Int)] = []
        for group in 0..<geometry.groupCount {
            if let finished = packs.makeRoom(for: Self.reserveBytes) { try await push(finished) }
            let plain = try map(of: group, scatters, geometry)
            let (entry, number, finished) = packs.append(try sealer.seal(plain, as: .map))
            // A map this large names no pack as its own: all its extents' packs were finished before it.
            if let finished { throw LedgerError.mapTooLarge(group: group, pack: finished.id) }
            draft.addMapBytes(entry.byteCount, in: number)
            written.append((number, entry, plain.count))
        }
        if let finished = packs.finish() { try await push(finished) }
        let state = draft.state
        let references = try written.enumerated().map { index, written in
            guard let pack = state.packs[written.number], index < state.groups.count else {
                throw LedgerError.unknownPack
            }
            return MapGroupReference(
                index: index, place: ChunkPlace(written.entry, in: pack.id, keyEpoch: keyEpoch),
                plainByteCount: written.plain, hash: state.groups[index])
        }
        return Written(map: .groups(references), base: nil, byteCount: written.reduce(0) { $0 + $1.plain })
    }

    private func map(of group: Int, _ scatters: [LedgerScatter], _ geometry: DatabaseGeometry) throws -> [UInt8] {
        let (range, state) = (geometry.extents(ofGroup: group), draft.state)
        let records = try draft.records(in: range)
        guard records.count == range.count else { throw LedgerError.recordMissing(group: group) }
        let last = min(geometry.pageCount, UInt64(range.upperBound) * UInt64(geometry.pagesPerExtent))
        let pages = UInt32(range.lowerBound * geometry.pagesPerExtent + 1)...UInt32(last)
        return try MapGroup(
            index: group, extents: try records.map { try entry($0, state) },
            scatter: try scatters.compactMap { try entry($0, state).restricted(to: pages) }
        ).encoded(in: geometry)
    }

    // MARK: - Entries

    private func entry(_ record: ExtentRecord, _ state: LedgerState) throws -> ExtentEntry {
        guard let place = state.place(record, keyEpoch: keyEpoch) else { throw LedgerError.unknownPack }
        return ExtentEntry(extent: record.extent, place: place, pageCount: record.chunkPages, hash: record.hash)
    }

    private func entry(_ scatter: LedgerScatter, _ state: LedgerState) throws -> ScatterEntry {
        guard let pack = state.packs[scatter.pack] else { throw LedgerError.unknownPack }
        return ScatterEntry(
            kind: scatter.kind,
            place: ChunkPlace(
                pack: pack.id, offset: scatter.offset, byteCount: scatter.byteCount, chunk: scatter.chunk,
                keyEpoch: keyEpoch),
            plainByteCount: scatter.plainByteCount, pages: scatter.pages, dead: scatter.dead)
    }
}

/// The ledger contradicts itself: it is thrown away, and the next snapshot is made without it.
package enum LedgerError: ActionableError {
    case unknownPack
    case recordMissing(group: Int)
    case mapTooLarge(group: Int, pack: PackID)
    case damaged(String)

    package var summary: String {
        switch self {
        case .unknownPack: "the agent's page ledger names a pack that it does not know"
        case .recordMissing(let group): "the agent's page ledger has no record of an extent in group \(group)"
        case .mapTooLarge(let group, let pack): "the map of group \(group) does not fit into pack \(pack)"
        case .damaged(let what): "the agent's page ledger is damaged: \(what)"
        }
    }
    package var hint: String {
        "Nothing needs to be done: the ledger is dropped and the next snapshot is taken without it."
    }
    package var isTransient: Bool { true }
}
