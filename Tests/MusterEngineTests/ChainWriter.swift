import MusterEngine
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport

/// Writes snapshots of a database that exists in memory only, as an agent would: full ones and deltas by the chain
/// rule, each changed extent as differences, as scatter pages or anew, and now and then old chunks merged.
struct ChainWriter {
    struct Choices: Sendable {
        var fullEvery = 40
        var inlineBytes = MapChanges.maximumInlineBytes
        var packBytes = 40_000
        var anew = 0.2
        var scatter = 0.3
        var mergeAbove = 6
        /// From a sequence and the last full one's.
        var base: @Sendable (UInt64, UInt64) -> UInt64 = { ManifestChain.baseSequence(of: $0, lastFull: $1) }
    }

    struct Written {
        let manifest: Manifest
        let place: SnapshotPlace
        let live: Set<PackID>
        let image: [[UInt8]]
        /// Sequences of the base chain, its own included.
        let chain: [UInt64]
    }

    /// What the last snapshot has of one extent.
    struct Row {
        var place: ChunkPlace
        var chunk: [[UInt8]]
        var suppliedPageCount: Int
        var hash: ExtentHash
        var placedAt: UInt64
        var changedAt: UInt64

        mutating func change(to hash: ExtentHash, at sequence: UInt64) {
            (self.hash, changedAt) = (hash, sequence)
        }
    }

    struct Chunk {
        var kind: ScatterEntry.Kind
        var place: ChunkPlace
        var plainByteCount: Int
        var pages: [UInt32]
        var payloads: [[UInt8]]
        var writtenAt: UInt64
    }

    let fleet: StoreFleet
    let pagesPerExtent: Int
    let pageSize: Int
    let choices: Choices
    let database: DatabaseID
    let lineage: LineageID
    var generator: SeededGenerator
    private(set) var written: [Written] = []
    private(set) var rows: [Int: Row] = [:]
    private(set) var chunks: [Chunk] = []
    /// Page to index of its chunk.
    private(set) var supplies: [UInt32: Int] = [:]
    private var mapPacks: [UInt64: Set<PackID>] = [:]
    private var lastFull: UInt64 = 0
    private let sealer: ChunkSealer
    private let differencer = PageDifferencer()

    init(
        _ fleet: StoreFleet, pageSize: Int = 512, pagesPerExtent: Int = 4, database: DatabaseID? = nil, seed: UInt64,
        choices: Choices = Choices()
    ) {
        (self.fleet, self.pageSize, self.pagesPerExtent, self.choices) = (fleet, pageSize, pagesPerExtent, choices)
        (self.database, lineage) = (database ?? DatabaseID(from: fleet.random), LineageID(from: fleet.random))
        generator = SeededGenerator(seed: seed)
        sealer = ChunkSealer(keys: fleet.keys)
    }

    private var next: UInt64 { UInt64(written.count) }

    /// Writes `image` as the next snapshot and commits it.
    ///
    /// - Parameter change: what to say otherwise than it is, before the manifest is signed.
    @discardableResult
    mutating func snapshot(
        _ image: [[UInt8]], change: (inout ManifestPublicPart, inout ManifestSealedPart) -> Void = { _, _ in }
    ) async throws -> Written {
        let isFull = written.isEmpty || next - lastFull >= UInt64(choices.fullEvery)
        if isFull { lastFull = next }
        guard
            let geometry = DatabaseGeometry(
                pageSize: pageSize, pagesPerExtent: pagesPerExtent, pageCount: UInt64(image.count))
        else { throw ChainFault() }
        var packs = PackWriter(limitBytes: choices.packBytes)
        cut(to: geometry)
        try emit(image, geometry, &packs)
        let base = isFull ? nil : written[Int(choices.base(next, lastFull))]
        let map = try await map(geometry, base, &packs)
        let live = livePacks(base)
        let parent = written.last
        var part = try publicPart(image, geometry)
        part.base = base.map(Self.reference)
        part.parent = parent.map(Self.reference)
        part.packs = Self.changes(from: base?.live ?? [], to: live)
        part.packsSinceParent = Self.changes(from: parent?.live ?? [], to: live)
        var sealedPart = ManifestSealedPart(
            sourcePath: "/db", map: map,
            inventory: SourceInventory(
                userVersion: 0, applicationID: 0, schemaHash: nil, journalMode: "wal", autoVacuum: 0, encoding: 1,
                writerVersion: 0, tables: []),
            sourceFingerprint: "")
        change(&part, &sealedPart)
        let manifest = try Manifest.make(
            publicPart: part, sealedPart: sealedPart, keys: fleet.keys, signer: fleet.signingKey)
        let place = SnapshotPlace(
            database: database, lineage: lineage, sequence: next, snapshot: part.snapshot)
        try await fleet.commit(manifest, place)
        let result = Written(
            manifest: manifest, place: place, live: live, image: image, chain: (base?.chain ?? []) + [next])
        written.append(result)
        return result
    }

    private static func reference(_ other: Written) -> ManifestReference {
        ManifestReference(snapshot: other.place.snapshot, manifest: other.manifest.hash)
    }

    private static func changes(from old: Set<PackID>, to new: Set<PackID>) -> PackChanges {
        PackChanges(added: new.subtracting(old), dropped: old.subtracting(new))
    }

    private func publicPart(_ image: [[UInt8]], _ geometry: DatabaseGeometry) throws -> ManifestPublicPart {
        var tree = ContentTree(geometry: geometry)
        for extent in 0..<geometry.extentCount { tree.append(try row(extent).hash) }
        return ManifestPublicPart(
            snapshot: SnapshotID(from: fleet.random), node: fleet.node, database: database, databaseName: "chain",
            lineage: lineage, sequence: next, parent: nil, base: nil, scope: fleet.keys.scope, keyEpoch: 1,
            capturedBegin: Timestamp(microseconds: 0), capturedEnd: Timestamp(microseconds: 1), geometry: geometry,
            contentRoot: tree.contentRoot(), packs: PackChanges(added: []), packsSinceParent: PackChanges(added: []),
            labels: [:], captureMethod: .followed, continuity: .proven, sealedBytesAdded: 0, storedBytes: 0)
    }

    private func row(_ extent: Int) throws -> Row {
        guard let row = rows[extent] else { throw ChainFault() }
        return row
    }

    // MARK: - Chunks

    private mutating func cut(to geometry: DatabaseGeometry) {
        rows = rows.filter { $0.key < geometry.extentCount }
        for (extent, row) in rows {
            rows[extent]?.suppliedPageCount = min(row.suppliedPageCount, geometry.pageCount(ofExtent: extent))
        }
        supplies = supplies.filter { UInt64($0.key) <= geometry.pageCount }
    }

    private mutating func emit(_ image: [[UInt8]], _ geometry: DatabaseGeometry, _ packs: inout PackWriter) throws {
        let (old, sequence) = (written.last?.image ?? [], next)
        var hasher = TreeHasher()
        var differences: [(page: UInt32, payload: [UInt8])] = []
        var scatter: [(page: UInt32, payload: [UInt8])] = []
        for extent in 0..<geometry.extentCount {
            let numbers = extent * pagesPerExtent..<extent * pagesPerExtent + geometry.pageCount(ofExtent: extent)
            let changed = numbers.filter { $0 >= old.count || old[$0] != image[$0] }
            let isShorter = numbers.upperBound == image.count && image.count < old.count
            if changed.isEmpty, !isShorter, rows[extent] != nil { continue }
            let bytes = Array(image[numbers].joined())
            let hash = hasher.extentHash(of: bytes.span.bytes, pageSize: pageSize)
            guard hash != rows[extent]?.hash else { continue }
            if rows[extent] == nil || Double.random(in: 0..<1, using: &generator) < choices.anew {
                let place = try packs.append(sealer.seal(bytes, as: .extent))
                rows[extent] = Row(
                    place: place, chunk: Array(image[numbers]), suppliedPageCount: numbers.count, hash: hash,
                    placedAt: next, changedAt: next)
                for number in numbers { supplies[UInt32(number + 1)] = nil }
                continue
            }
            rows[extent]?.change(to: hash, at: sequence)
            for number in changed {
                if Double.random(in: 0..<1, using: &generator) < choices.scatter {
                    scatter.append((UInt32(number + 1), image[number]))
                } else {
                    let base = rows[extent]?.chunk.dropFirst(number - numbers.lowerBound).first
                    differences.append((UInt32(number + 1), try difference(image[number], from: base)))
                }
            }
        }
        try write(scatter, as: .scatter, &packs)
        try write(differences, as: .difference, &packs)
        try merge(&packs)
    }

    private func difference(_ page: [UInt8], from base: [UInt8]?) throws -> [UInt8] {
        guard let base else { return try differencer.difference(of: page.span.bytes, from: nil) }
        return try differencer.difference(of: page.span.bytes, from: base.span.bytes)
    }

    /// Cuts into chunks: a scatter chunk holds one extent's worth of pages, a difference chunk as many here.
    private mutating func write(
        _ pages: [(page: UInt32, payload: [UInt8])], as kind: ScatterEntry.Kind, _ packs: inout PackWriter
    ) throws {
        let most = kind == .scatter ? pagesPerExtent : 300
        for start in stride(from: 0, to: pages.count, by: most) {
            let part = pages[start..<min(start + most, pages.count)]
            let plain =
                kind == .scatter
                ? Array(part.map(\.payload).joined()) : DifferenceChunk.encode(frames: part.map(\.payload))
            let place = try packs.append(sealer.seal(plain, as: kind.sealedKind))
            for (page, _) in part { supplies[page] = chunks.count }
            chunks.append(
                Chunk(
                    kind: kind, place: place, plainByteCount: plain.count, pages: part.map(\.page),
                    payloads: part.map(\.payload), writtenAt: next))
        }
    }

    /// Live pages of many small chunks become few chunks: frames are copied, as their base is the same.
    private mutating func merge(_ packs: inout PackWriter) throws {
        for kind in [ScatterEntry.Kind.scatter, .difference] {
            let live = Dictionary(grouping: supplies, by: \.value).filter { index, _ in
                chunks[index].kind == kind && chunks[index].writtenAt < next
            }
            guard live.count > choices.mergeAbove else { continue }
            var pages: [(page: UInt32, payload: [UInt8])] = []
            for (index, supplied) in live {
                for (page, _) in supplied {
                    guard let at = chunks[index].pages.firstIndex(of: page) else { throw ChainFault() }
                    pages.append((page, chunks[index].payloads[at]))
                }
            }
            try write(pages.sorted { $0.page < $1.page }, as: kind, &packs)
        }
    }

    // MARK: - Map

    private mutating func map(
        _ geometry: DatabaseGeometry, _ base: Written?, _ packs: inout PackWriter
    ) async throws -> ManifestMap {
        // Chunks of the pack that is still open are given its id once it is known.
        let chunkPacks = packs.finish()
        for (extent, row) in rows { rows[extent]?.place.pack = packs.id(row.place.pack) }
        for index in chunks.indices { chunks[index].place.pack = packs.id(chunks[index].place.pack) }
        for pack in chunkPacks { try await fleet.put(pack.id, bytes: pack.bytes) { _ in } }
        guard let base else { return try await groups(geometry) }
        let changes = try changes(since: base.place.sequence, geometry)
        if try changes.encoded(in: geometry).count <= choices.inlineBytes { return .changes(changes) }
        var maps = PackWriter(limitBytes: 64 << 20)
        var references: [MapChangesReference] = []
        for (extents, part) in try changes.parts(in: geometry, maximumBytes: max(choices.inlineBytes, 2000)) {
            let plain = try part.encoded(in: geometry)
            references.append(
                MapChangesReference(
                    extents: extents, place: try maps.append(sealer.seal(plain, as: .map)), plainByteCount: plain.count)
            )
        }
        let finished = maps.finish()
        for pack in finished { try await fleet.put(pack.id, bytes: pack.bytes) { _ in } }
        for index in references.indices { references[index].place.pack = maps.id(references[index].place.pack) }
        mapPacks[next] = Set(finished.map(\.id))
        return .changeChunks(references)
    }

    private mutating func groups(_ geometry: DatabaseGeometry) async throws -> ManifestMap {
        var maps = PackWriter(limitBytes: 64 << 20)
        var references: [MapGroupReference] = []
        var hasher = TreeHasher()
        for index in 0..<geometry.groupCount {
            let extents = geometry.extents(ofGroup: index)
            let entries = try extents.map { try entry($0) }
            let pages =
                UInt32(
                    extents.lowerBound * pagesPerExtent + 1)...UInt32(
                    min(geometry.pageCount, UInt64(extents.upperBound * pagesPerExtent)))
            let group = MapGroup(
                index: index, extents: entries, scatter: scatter(since: nil).compactMap { $0.restricted(to: pages) })
            let plain = try group.encoded(in: geometry)
            references.append(
                MapGroupReference(
                    index: index, place: try maps.append(sealer.seal(plain, as: .map)), plainByteCount: plain.count,
                    hash: hasher.groupHash(of: entries.map(\.hash))))
        }
        let finished = maps.finish()
        for pack in finished { try await fleet.put(pack.id, bytes: pack.bytes) { _ in } }
        for index in references.indices { references[index].place.pack = maps.id(references[index].place.pack) }
        mapPacks[next] = Set(finished.map(\.id))
        return .groups(references)
    }

    private func entry(_ extent: Int) throws -> ExtentEntry {
        let row = try row(extent)
        return ExtentEntry(extent: extent, place: row.place, pageCount: row.chunk.count, hash: row.hash)
    }

    private func changes(since base: UInt64, _ geometry: DatabaseGeometry) throws -> MapChanges {
        let changed = rows.filter { $0.value.changedAt > base }.keys.sorted()
        let placed = try changed.filter { try row($0).placedAt > base }
        return MapChanges(
            placed: try placed.map(entry),
            continued: try Set(changed).subtracting(placed).sorted().map {
                ContinuedExtent(extent: $0, hash: try row($0).hash)
            },
            scatter: scatter(since: base))
    }

    private func scatter(since base: UInt64?) -> [ScatterEntry] {
        chunks.indices.compactMap { index in
            let chunk = chunks[index]
            let dead = chunk.pages.indices.filter { supplies[chunk.pages[$0]] != index }
            guard base.map({ chunk.writtenAt > $0 }) ?? true, dead.count < chunk.pages.count else { return nil }
            return ScatterEntry(
                kind: chunk.kind, place: chunk.place, plainByteCount: chunk.plainByteCount, pages: chunk.pages,
                dead: dead)
        }
    }

    private func livePacks(_ base: Written?) -> Set<PackID> {
        var live = Set(rows.values.map(\.place.pack)).union(supplies.values.map { chunks[$0].place.pack })
        for sequence in (base?.chain ?? []) + [next] { live.formUnion(mapPacks[sequence] ?? []) }
        return live
    }
}

/// The writer was used wrongly.
struct ChainFault: Error {}

/// Packs that are filled one after the other; a chunk's pack has a stand-in id until its pack is finished.
struct PackWriter {
    private let limitBytes: Int
    private var builder: PackBuilder?
    private var finished: [Pack] = []
    private var ids: [PackID: PackID] = [:]
    private var standIn: PackID

    init(limitBytes: Int) {
        self.limitBytes = limitBytes
        standIn = SHA256Hasher.hash([UInt8](repeating: 1, count: 40))
    }

    mutating func append(_ chunk: SealedChunk) throws -> ChunkPlace {
        if let open = builder, open.byteCount + chunk.bytes.count > limitBytes { close() }
        var open = builder ?? PackBuilder()
        builder = nil
        let entry = open.append(chunk)
        builder = open
        return ChunkPlace(entry, in: standIn, keyEpoch: 1)
    }

    mutating func finish() -> [Pack] {
        close()
        return finished
    }

    func id(_ pack: PackID) -> PackID { ids[pack] ?? pack }

    private mutating func close() {
        guard let open = builder else { return }
        let pack = open.finish()
        finished.append(pack)
        ids[standIn] = pack.id
        standIn = SHA256Hasher.hash(standIn.bytes + pack.id.bytes)
        builder = nil
    }
}
