import Testing

@testable import MusterFormat
@testable import MusterModel

/// Three deltas on top of `SmallSnapshot`; `proto/vectors/README.md` says what each shows.
struct ChainFixture {
    struct Delta {
        let manifest: Manifest
        let pack: Pack?
        let mapPlains: [[UInt8]]
        let pages: [[UInt8]]
    }

    let fixture: Fixture
    let full: SmallSnapshot
    let fullManifest: Manifest
    private(set) var deltas: [Delta] = []
    private let sealer: ChunkSealer
    private let differencer = PageDifferencer()

    init() throws {
        fixture = try Fixture()
        full = try SmallSnapshot(fixture)
        fullManifest = try full.manifest(fixture)
        sealer = ChunkSealer(keys: fixture.keys)
        let first = try firstDelta()
        deltas.append(first.delta)
        let second = try secondDelta(after: first.delta, first.changes)
        deltas.append(second)
        deltas.append(try thirdDelta(after: second, first.delta))
    }

    /// Page `number` with four of its bytes replaced.
    static func changed(_ number: UInt64) -> [UInt8] {
        var page = Fixture.page(number, size: 512)
        page.replaceSubrange(100..<104, with: Array("ABCD".utf8))
        return page
    }

    private static func old(_ numbers: ClosedRange<UInt64>) -> [[UInt8]] {
        numbers.map { Fixture.page($0, size: 512) }
    }

    func difference(_ page: [UInt8], from base: [UInt8]?) throws -> [UInt8] {
        guard let base else { return try differencer.difference(of: page.span.bytes, from: nil) }
        return try differencer.difference(of: page.span.bytes, from: base.span.bytes)
    }

    /// Two pages more; a page as a difference, an extent anew, a page as a difference from nothing, one as it is.
    private func firstDelta() throws -> (delta: Delta, changes: MapChanges) {
        let pages = [Self.old(1...1), [Self.changed(2)], Self.old(3...4), Self.old(105...108), Self.old(9...12)]
            .flatMap(\.self)
        var builder = PackBuilder()
        let frames = [try difference(pages[1], from: Fixture.page(2, size: 512)), try difference(pages[10], from: nil)]
        let plain = DifferenceChunk.encode(frames: frames)
        let differences = builder.append(try sealer.seal(plain, as: .difference))
        let scatter = builder.append(try sealer.seal(Fixture.page(6, size: 512) + pages[11], as: .scatter))
        let extent = builder.append(try sealer.seal(Array(pages[4..<8].joined()), as: .extent))
        let pack = builder.finish()
        let geometry = try #require(DatabaseGeometry(pageSize: 512, pagesPerExtent: 4, pageCount: 12))
        let hashes = try hashes(pages, geometry)
        func place(_ entry: PackEntry) -> ChunkPlace { ChunkPlace(entry, in: pack.id, keyEpoch: 1) }
        let changes = MapChanges(
            placed: [ExtentEntry(extent: 1, place: place(extent), pageCount: 4, hash: hashes[1])],
            continued: [ContinuedExtent(extent: 0, hash: hashes[0]), ContinuedExtent(extent: 2, hash: hashes[2])],
            scatter: [
                ScatterEntry(
                    kind: .difference, place: place(differences), plainByteCount: plain.count, pages: [2, 11]),
                // Page 6 is in the extent chunk of the same snapshot.
                ScatterEntry(kind: .scatter, place: place(scatter), plainByteCount: 1024, pages: [6, 12], dead: [0]),
            ])
        let manifest = try manifest(
            geometry, pages, .changes(changes), sequence: 1, base: fullManifest, parent: fullManifest,
            packs: PackChanges(added: [pack.id]), sinceParent: PackChanges(added: [pack.id]))
        return (Delta(manifest: manifest, pack: pack, mapPlains: [], pages: pages), changes)
    }

    /// The same base, in two map chunks; a difference chunk with a page in each.
    private func secondDelta(after first: Delta, _ since: MapChanges) throws -> Delta {
        var pages = first.pages
        (pages[0], pages[8]) = (Self.changed(1), Self.changed(9))
        let geometry = first.manifest.publicPart.geometry
        let hashes = try hashes(pages, geometry)
        var builder = PackBuilder()
        let frames = try [1, 9].map { try difference(Self.changed($0), from: Fixture.page($0, size: 512)) }
        let plain = DifferenceChunk.encode(frames: frames)
        let entry = builder.append(try sealer.seal(plain, as: .difference))
        var changes = since
        changes.continued = [0, 2].map { ContinuedExtent(extent: $0, hash: hashes[$0]) }
        changes.scatter.append(
            ScatterEntry(
                kind: .difference, place: ChunkPlace(entry, in: MapGroup.ownPack, keyEpoch: 1),
                plainByteCount: plain.count, pages: [1, 9]))
        let parts = try changes.parts(in: geometry, maximumBytes: 350)
        let plains = try parts.map { try $0.changes.encoded(in: geometry) }
        let entries = try plains.map { builder.append(try sealer.seal($0, as: .map)) }
        let pack = builder.finish()
        let references = parts.indices.map { index in
            MapChangesReference(
                extents: parts[index].extents, place: ChunkPlace(entries[index], in: pack.id, keyEpoch: 1),
                plainByteCount: plains[index].count)
        }
        let manifest = try manifest(
            geometry, pages, .changeChunks(references), sequence: 2, base: fullManifest, parent: first.manifest,
            packs: PackChanges(added: [try #require(first.pack).id, pack.id]),
            sinceParent: PackChanges(added: [pack.id]))
        return Delta(manifest: manifest, pack: pack, mapPlains: plains, pages: pages)
    }

    /// Three pages fewer: nothing but a hash.
    private func thirdDelta(after second: Delta, _ first: Delta) throws -> Delta {
        let pages = Array(second.pages.prefix(9))
        let geometry = try #require(DatabaseGeometry(pageSize: 512, pagesPerExtent: 4, pageCount: 9))
        let hash = try #require(try hashes(pages, geometry).last)
        let manifest = try manifest(
            geometry, pages, .changes(MapChanges(continued: [ContinuedExtent(extent: 2, hash: hash)])), sequence: 3,
            base: second.manifest, parent: second.manifest, packs: PackChanges(added: []),
            sinceParent: PackChanges(added: []))
        return Delta(manifest: manifest, pack: nil, mapPlains: [], pages: pages)
    }

    private func hashes(_ pages: [[UInt8]], _ geometry: DatabaseGeometry) throws -> [ExtentHash] {
        try #require(pages.count == Int(geometry.pageCount))
        var hasher = TreeHasher()
        return (0..<geometry.extentCount).map { extent in
            let bytes = Array(pages.dropFirst(extent * 4).prefix(4).joined())
            return hasher.extentHash(of: bytes.span.bytes, pageSize: 512)
        }
    }

    private func manifest(
        _ geometry: DatabaseGeometry, _ pages: [[UInt8]], _ map: ManifestMap, sequence: UInt64, base: Manifest,
        parent: Manifest, packs: PackChanges, sinceParent: PackChanges
    ) throws -> Manifest {
        var tree = ContentTree(geometry: geometry)
        for hash in try hashes(pages, geometry) { tree.append(hash) }
        var part = full.publicPart
        part.snapshot = try fixture.id(UInt8(0x10 + sequence))
        part.sequence = sequence
        part.base = ManifestReference(snapshot: base.publicPart.snapshot, manifest: base.hash)
        part.parent = ManifestReference(snapshot: parent.publicPart.snapshot, manifest: parent.hash)
        (part.geometry, part.contentRoot) = (geometry, tree.contentRoot())
        (part.packs, part.packsSinceParent) = (packs, sinceParent)
        (part.captureMethod, part.continuity) = (.followed, .proven)
        var sealedPart = full.sealedPart
        sealedPart.map = map
        return try Manifest.make(
            publicPart: part, sealedPart: sealedPart, keys: fixture.keys, signer: fixture.signer)
    }
}
