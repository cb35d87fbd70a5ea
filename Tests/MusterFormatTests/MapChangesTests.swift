import Foundation
import MusterTestSupport
import Testing

@testable import MusterFormat
@testable import MusterModel

@Suite("The changes of a delta fit it or are refused")
struct MapChangesTests {
    private struct Case {
        let chain: ChainFixture
        let manifest: Manifest
        let changes: MapChanges
        var part: ManifestPublicPart { manifest.publicPart }

        init() throws {
            chain = try ChainFixture()
            manifest = chain.deltas[0].manifest
            guard case .changes(let changes) = try manifest.openSealedPart(with: chain.fixture.keys).map else {
                throw FormatError("it", .malformed("no changes"))
            }
            self.changes = changes
        }

        func parse(
            _ plain: [UInt8], extents: Range<Int> = 0..<3, ownPack: PackID? = nil
        ) throws(FormatError) -> MapChanges {
            try MapChanges.parse(plain, of: part, extents: extents, ownPack: ownPack, object: "it")
        }

        func message() throws -> StoredMapChanges {
            try StoredMessage.decode(try changes.encoded(in: part.geometry), fieldLimit: 100, object: "it")
        }
    }

    @Test func whatWasEncodedIsParsed() throws {
        let it = try Case()
        let plain = try it.changes.encoded(in: it.part.geometry)
        #expect(try it.parse(plain) == it.changes)
        #expect(try it.parse([]) == MapChanges())
        #expect(try MapChanges().encoded(in: it.part.geometry).isEmpty)
    }

    @Test func aLargeDeltaLiesInMapChunks() throws {
        let it = try Case()
        let delta = it.chain.deltas[1]
        guard case .changeChunks(let references) = try delta.manifest.openSealedPart(with: it.chain.fixture.keys).map
        else {
            Issue.record("no change chunks")
            return
        }
        #expect(references.map(\.extents) == [0...0, 1...2])
        let decoder = MapDecoder(delta.manifest.publicPart)
        let parts = try zip(delta.mapPlains, references).map { try decoder.changes(from: $0, of: $1) }
        // The difference chunk of pages 1 and 9 is in both, each time with the page that is the map's own.
        let shared = parts.map { $0.scatter.filter { $0.place.pack == delta.pack?.id } }
        #expect(shared.map { $0.map(\.pages) } == [[[1]], [[9]]])
        #expect(shared.map { $0.map(\.firstPosition) } == [[0], [1]])
        #expect(shared.map { $0.map(\.chunkPageCount) } == [[2], [2]])
        // The other one's changes are of other extents.
        #expect(throws: FormatError.self) { try decoder.changes(from: delta.mapPlains[0], of: references[1]) }
        #expect(throws: FormatError.self) {
            try MapDecoder(it.chain.full.publicPart).changes(from: delta.mapPlains[0], of: references[0])
        }
    }

    @Test func aFullManifestHasGroupsAndADeltaHasNot() throws {
        let it = try Case()
        let part = it.chain.full.publicPart
        var full = it.chain.full.sealedPart
        full.map = .changes(MapChanges())
        #expect(throws: FormatError.self) { try made(part, full, it) }
        var delta = it.chain.full.sealedPart
        #expect(throws: FormatError.self) { try made(it.part, delta, it) }
        delta.map = .changeChunks([])
        #expect(throws: FormatError.self) { try made(it.part, delta, it) }
        #expect(throws: FormatError.self) {
            try MapDecoder(it.part).group(from: it.chain.full.mapPlain, of: it.chain.full.mapReference)
        }
    }

    private func made(
        _ part: ManifestPublicPart, _ sealedPart: ManifestSealedPart, _ it: Case
    ) throws(FormatError) -> Manifest {
        try Manifest.make(
            publicPart: part, sealedPart: sealedPart, keys: it.chain.fixture.keys, signer: it.chain.fixture.signer)
    }

    struct Change: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let make: @Sendable (inout StoredMapChanges) -> Void

        init(_ description: String, _ make: @escaping @Sendable (inout StoredMapChanges) -> Void) {
            (testDescription, self.make) = (description, make)
        }
    }

    static let changes = [
        Change("a placed extent behind the end") { $0.placedSteps = [4] },
        Change("a far placed extent") { $0.placedSteps = [.max] },
        Change("a step of nothing") { $0.placedSteps = [0] },
        Change("a placed extent without its columns") { $0.placedSteps = [1, 1] },
        Change("columns without an extent") { $0.placedSteps = [] },
        Change("a placed extent of another pack") { $0.placedPack = [1] },
        Change("an offset into the magic") { $0.placedOffset = [7] },
        Change("a length beyond any chunk") { $0.placedLength = [.max] },
        Change("an extent chunk above one extent") { $0.placedPages = [5] },
        Change("a column of pages that is too long") { $0.placedPages = [1, 1] },
        Change("a chunk id cut") { $0.placedChunks.removeLast() },
        Change("a hash missing") { $0.placedHashes = Data() },
        Change("a continued extent behind the end") { $0.continuedSteps = [1, 3] },
        Change("a continued extent twice") { $0.continuedSteps = [1, 0] },
        Change("an extent both placed and continued") { $0.continuedSteps = [1, 1] },
        Change("a continued hash missing") { $0.continuedHashes.removeLast(32) },
        Change("a continued hash too many") { $0.continuedHashes += Data(count: 32) },
        Change("a continued hash cut") { $0.continuedHashes.removeLast() },
        Change("no epochs") { $0.packEpochs = [] },
        Change("a pack twice") {
            $0.packs += $0.packs
            $0.packEpochs += $0.packEpochs
        },
        Change("a pack that a manifest does not lie in") { $0.packs = Data(count: 32) },
        Change("a pack id cut") { $0.packs.removeLast() },
        Change("a scatter page behind the end") { $0.scatter[0].pageSteps = [2, 11] },
        Change("a scatter chunk of another size") { $0.scatter[1].plainLength = 1025 },
        Change("a difference chunk of less than its lengths") { $0.scatter[0].plainLength = 9 },
        Change("a difference chunk of 2 MiB") { $0.scatter[0].plainLength = 2 << 20 },
        Change("no live page") { $0.scatter[1].deadSteps = [1, 1] },
        Change("a dead position behind the run") { $0.scatter[1].deadSteps = [3] },
        Change("a far dead position") { $0.scatter[1].deadSteps = [.max] },
        Change("dead positions out of order") { $0.scatter[1].deadSteps = [1, 0] },
        Change("a chunk shorter than its run") { $0.scatter[0].chunkPages = 1 },
    ]

    @Test(arguments: changes)
    func changesThatDoNotFitAreRefused(change: Change) throws {
        let it = try Case()
        var message = try it.message()
        #expect(try it.parse(try StoredMessage.encode(message, object: "it")) == it.changes)
        change.make(&message)
        let changed = try StoredMessage.encode(message, object: "it")
        #expect(throws: FormatError.self) { try it.parse(changed) }
    }

    @Test func whatTheManifestDropsIsNotNamed() throws {
        let it = try Case()
        var part = it.part
        part.packs = PackChanges(added: [], dropped: it.part.packs.added)
        let plain = try it.changes.encoded(in: part.geometry)
        #expect(throws: FormatError.self) {
            try MapChanges.parse(plain, of: part, extents: 0..<3, ownPack: nil, object: "it")
        }
    }

    @Test func anExtentOutsideOfItsMapChunkIsRefused() throws {
        let it = try Case()
        let plain = try it.changes.encoded(in: it.part.geometry)
        for range in [0..<2, 1..<3] { #expect(throws: FormatError.self) { try it.parse(plain, extents: range) } }
    }

    @Test(arguments: [1, 2, 3, 4, 5]) func changeChunksThatDoNotFitAreRefused(_ fault: Int) throws {
        let it = try Case()
        let delta = it.chain.deltas[1]
        var sealedPart = try delta.manifest.openSealedPart(with: it.chain.fixture.keys)
        guard case .changeChunks(var references) = sealedPart.map else { return }
        switch fault {
        case 1: references.reverse()
        case 2: references[0] = references[1]
        case 3: references[1].extents = 1...3
        case 4: references[1].plainByteCount = 2 << 20
        default: references[0].place.offset = 0
        }
        sealedPart.map = .changeChunks(references)
        #expect(throws: FormatError.self) { try made(delta.manifest.publicPart, sealedPart, it) }
    }

    @Test func changesInTheManifestAreBounded() throws {
        let it = try Case()
        let geometry = try #require(DatabaseGeometry(pageSize: 512, pagesPerExtent: 4, pageCount: 40_000))
        var part = it.part
        part.geometry = geometry
        var sealedPart = it.chain.full.sealedPart
        func changes(_ count: Int) -> MapChanges {
            MapChanges(continued: (0..<count).map { ContinuedExtent(extent: $0, hash: SHA256Hasher.hash([1])) })
        }
        sealedPart.map = .changes(changes(1900))
        _ = try made(part, sealedPart, it)
        sealedPart.map = .changes(changes(2000))
        #expect(try changes(2000).encoded(in: geometry).count > MapChanges.maximumInlineBytes)
        #expect(throws: FormatError.self) { try made(part, sealedPart, it) }
    }

    /// The budget of DESIGN.md: 100 rows in 1 GiB, each in an extent of its own.
    @Test func aHundredScatteredRowsTakeFortyBytesEach() throws {
        let it = try Case()
        let geometry = try #require(DatabaseGeometry(pageSize: 4096, pagesPerExtent: 16, pageCount: 1 << 18))
        var generator = SeededGenerator(seed: 5)
        let pages = Set((0..<100).map { _ in UInt32.random(in: 1...1 << 18, using: &generator) }).sorted()
        let extents = Set(pages.map { geometry.extent(ofPage: $0) }).sorted()
        let id: ChunkID = SHA256Hasher.hash([9])
        let changes = MapChanges(
            continued: extents.map { ContinuedExtent(extent: $0, hash: SHA256Hasher.hash([UInt8($0 & 255)])) },
            scatter: [
                ScatterEntry(
                    kind: .difference,
                    place: ChunkPlace(
                        pack: try #require(it.part.packs.added.first), offset: 8, byteCount: 3000, chunk: id,
                        keyEpoch: 1),
                    plainByteCount: 4000, pages: pages)
            ])
        let byteCount = try changes.encoded(in: geometry).count
        #expect(byteCount <= 40 * extents.count, "\(byteCount) bytes for \(extents.count) extents")
    }

    @Test func partsTogetherAreTheWhole() throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("MapChangesTests seed \(seed)")
        var generator = SeededGenerator(seed: seed)
        let it = try Case()
        let geometry = try #require(DatabaseGeometry(pageSize: 512, pagesPerExtent: 4, pageCount: 3998))
        let all = (0..<geometry.extentCount).filter { _ in Bool.random(using: &generator) }
        let placed = all.filter { $0.isMultiple(of: 5) }
        let pack = try #require(it.part.packs.added.first)
        func place() -> ChunkPlace {
            ChunkPlace(pack: pack, offset: 8, byteCount: 900, chunk: SHA256Hasher.hash([1]), keyEpoch: 1)
        }
        let changes = MapChanges(
            placed: placed.map { ExtentEntry(extent: $0, place: place(), pageCount: 2, hash: SHA256Hasher.hash([2])) },
            continued: Set(all).subtracting(placed).sorted().map {
                ContinuedExtent(extent: $0, hash: SHA256Hasher.hash([3]))
            },
            scatter: (0..<20).map { _ in
                let pages = (UInt32(1)...3998).filter { _ in Int.random(in: 0..<40, using: &generator) == 0 }
                let dead = pages.indices.dropFirst().filter { _ in Bool.random(using: &generator) }
                return ScatterEntry(
                    kind: .difference, place: place(), plainByteCount: pages.count * 9, pages: pages, dead: Array(dead))
            })
        let parts = try changes.parts(in: geometry, maximumBytes: 4000)
        #expect(parts.count > 4)
        #expect(zip(parts, parts.dropFirst()).allSatisfy { $0.extents.upperBound < $1.extents.lowerBound })
        #expect(parts.flatMap(\.changes.placed) == changes.placed)
        #expect(parts.flatMap(\.changes.continued) == changes.continued)
        var part = it.part
        part.geometry = geometry
        for piece in parts {
            let plain = try piece.changes.encoded(in: geometry)
            #expect(plain.count <= 4000)
            let parsed = try MapChanges.parse(
                plain, of: part, extents: Range(piece.extents), ownPack: nil, object: "it")
            #expect(parsed == piece.changes)
        }
        func live(_ scatter: [ScatterEntry]) -> [[UInt32]] {
            scatter.map { entry in
                var list: [UInt32] = []
                entry.forEachLive { page, position in list += [page, UInt32(position)] }
                return list
            }
        }
        #expect(live(parts.flatMap(\.changes.scatter)).joined().sorted() == live(changes.scatter).joined().sorted())
        #expect(throws: FormatError.self) { try changes.parts(in: geometry, maximumBytes: 60) }
    }

    @Test func aBaseIsTheSequenceWithoutItsLowestBit() {
        let bases = (1...8).map { ManifestChain.baseSequence(of: 100 + $0, lastFull: 100) - 100 }
        #expect(bases == [0, 0, 2, 0, 4, 4, 6, 0])
        for sequence: UInt64 in [12_345, 1 << 62, .max] {
            var (current, length) = (sequence, 1)
            while current > 7 {
                let base = ManifestChain.baseSequence(of: current, lastFull: 7)
                #expect(base < current)
                (current, length) = (base, length + 1)
            }
            #expect(current == 7 && length <= 65)
        }
    }
}
