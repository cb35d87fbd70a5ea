import Foundation
import Testing

@testable import MusterFormat
@testable import MusterModel

@Suite("A map fits its manifest or is refused")
struct MapGroupTests {
    private struct Case {
        let fixture: Fixture
        let snapshot: SmallSnapshot
        let group: MapGroup

        init() throws {
            fixture = try Fixture()
            snapshot = try SmallSnapshot(fixture)
            group = try MapDecoder(snapshot.publicPart).group(from: snapshot.mapPlain, of: snapshot.mapReference)
        }

        func decode(_ plain: [UInt8]) throws(FormatError) -> MapGroup {
            try MapDecoder(snapshot.publicPart).group(from: plain, of: snapshot.mapReference)
        }

        func message() throws(FormatError) -> StoredMapGroup {
            try StoredMessage.decode(snapshot.mapPlain, fieldLimit: 100, object: "it")
        }

        func scatter(kind: ScatterEntry.Kind = .scatter, pages: [UInt32], dead: [Int] = [], plainByteCount: Int)
            -> ScatterEntry
        {
            let id: ChunkID = SHA256Hasher.hash([9])
            return ScatterEntry(
                kind: kind,
                place: ChunkPlace(pack: snapshot.pack.id, offset: 8, byteCount: 99, chunk: id, keyEpoch: 1),
                plainByteCount: plainByteCount, pages: pages, dead: dead)
        }
    }

    @Test func whatWasEncodedIsDecoded() throws {
        let it = try Case()
        var group = it.group
        group.scatter = [
            it.scatter(pages: [1, 2, 10], dead: [1], plainByteCount: 1536),
            it.scatter(kind: .difference, pages: [3, 4_294_967_294], dead: [1], plainByteCount: 40),
        ]
        #expect(try it.decode(try group.encoded(in: it.snapshot.geometry)) == group)
        #expect(try group.encoded(in: it.snapshot.geometry) == group.encoded(in: it.snapshot.geometry))
    }

    @Test func theOwnPackBecomesThePackOfTheMap() throws {
        let it = try Case()
        #expect(it.group.extents.allSatisfy { $0.place.pack == it.snapshot.pack.id })
        // Named twice, once by the placeholder: refused, as one pack has one row.
        var group = it.group
        group.extents[0].place.pack = MapGroup.ownPack
        #expect(throws: FormatError.self) { try it.decode(try group.encoded(in: it.snapshot.geometry)) }
    }

    @Test func everyTruncationIsRefused() throws {
        let it = try Case()
        for count in 0..<it.snapshot.mapPlain.count {
            #expect(throws: FormatError.self) { try it.decode(Array(it.snapshot.mapPlain.prefix(count))) }
        }
    }

    struct Change: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let make: @Sendable (inout StoredMapGroup) -> Void

        init(_ description: String, _ make: @escaping @Sendable (inout StoredMapGroup) -> Void) {
            (testDescription, self.make) = (description, make)
        }
    }

    static let changes = [
        Change("another group") { $0.index = 1 },
        Change("an extent missing") { $0.dropLastExtent() },
        Change("an extent twice") { $0.extent[1] = 0 },
        Change("extents out of order") { $0.extent.reverse() },
        Change("an extent behind the end") { $0.extent[2] = 3 },
        Change("a far extent") { $0.extent[2] = .max },
        Change("a short column") { $0.extentOffset.removeLast() },
        Change("a long column") { $0.extentLength.append(100) },
        Change("a column of packs missing") { $0.extentPack = [] },
        Change("a chunk id cut") { $0.extentChunks.removeLast() },
        Change("a chunk id missing") { $0.extentChunks.removeLast(32) },
        Change("a hash missing") { $0.extentHashes.removeLast(32) },
        Change("another extent's hash") { $0.extentHashes = Data($0.extentHashes.reversed()) },
        Change("a pack that is not there") { $0.extentPack[0] = 1 },
        Change("a pack that the manifest does not list") { $0.packs = Data(repeating: 1, count: 32) },
        Change("a pack twice") {
            $0.packs += $0.packs
            $0.packEpochs += $0.packEpochs
        },
        Change("no epochs") { $0.packEpochs = [] },
        Change("an offset into the magic") { $0.extentOffset[0] = 7 },
        Change("an offset beyond any pack") { $0.extentOffset[0] = .max },
        Change("a length of nothing") { $0.extentLength[0] = 30 },
        Change("a length beyond any chunk") { $0.extentLength[0] = (1 << 20) + 31 },
        Change("an extent chunk above one extent") { $0.extentPages = [0, 5, 0] },
        Change("a short column of pages") { $0.extentPages = [0, 1] },
        Change("a scatter chunk of no kind") { $0.addScatter { $0.kind = .unspecified } },
        Change("a scatter chunk of an unknown kind") { $0.addScatter { $0.kind = .UNRECOGNIZED(9) } },
        Change("a scatter chunk without pages") { $0.addScatter { $0.pageSteps = [] } },
        Change("page 0") { $0.addScatter { $0.pageSteps = [0] } },
        Change("a page twice") { $0.addScatter { $0.pageSteps = [1, 0] } },
        Change("a page beyond SQLite's last") { $0.addScatter { $0.pageSteps = [.max] } },
        Change("page numbers that overflow") { $0.addScatter { $0.pageSteps = [.max, .max, .max] } },
        Change("no page in the group") { $0.addScatter { $0.pageSteps = [5000] } },
        Change("a page behind the last one") {
            $0.addScatter {
                $0.pageSteps = [1, 10]
                $0.plainLength = 1024
            }
        },
        Change("all pages dead") { $0.addScatter { $0.deadSteps = [1] } },
        Change("a dead page that is not there") { $0.addScatter { $0.deadSteps = [2] } },
        Change("a dead page twice") {
            $0.addScatter {
                $0.pageSteps = [1, 1, 1]
                $0.deadSteps = [1, 0]
                $0.plainLength = 1536
            }
        },
        Change("a run beyond the chunk's pages") {
            $0.addScatter {
                $0.firstPosition = 2
                $0.chunkPages = 2
                $0.plainLength = 1024
            }
        },
        Change("a chunk of more pages than there can be") {
            $0.addScatter {
                $0.kind = .difference
                $0.chunkPages = 65_537
                $0.plainLength = 1 << 20
            }
        },
        Change("a run that begins too far") {
            $0.addScatter {
                $0.kind = .difference
                $0.firstPosition = .max
                $0.plainLength = 1 << 20
            }
        },
        Change("scatter bytes that are not whole pages") { $0.addScatter { $0.plainLength = 511 } },
        Change("a scatter chunk above one extent") {
            $0.addScatter {
                $0.pageSteps = [1, 1, 1, 1, 1]
                $0.plainLength = 5 * 512
            }
        },
        Change("a difference without differences") {
            $0.addScatter {
                $0.kind = .difference
                $0.plainLength = 4
            }
        },
        Change("a scatter chunk in a pack that is not there") { $0.addScatter { $0.pack = 7 } },
        Change("65,537 pages") {
            $0.addScatter {
                $0.kind = .difference
                $0.pageSteps = [UInt32](repeating: 1, count: 65_537)
                $0.plainLength = 1 << 20
            }
        },
    ]

    @Test(arguments: changes)
    func aMapThatDoesNotFitIsRefused(change: Change) throws {
        let it = try Case()
        var message = try it.message()
        let plain = try StoredMessage.encode(message, object: "it")
        #expect(try it.decode(plain) == it.group)
        change.make(&message)
        let changed = try StoredMessage.encode(message, object: "it")
        #expect(throws: FormatError.self) { try it.decode(changed) }
    }

    @Test func aSoundScatterEntryIsTaken() throws {
        // So that the refusals above are of what each changed.
        let it = try Case()
        var message = try it.message()
        message.addScatter { _ in }
        let plain = try StoredMessage.encode(message, object: "it")
        #expect(try it.decode(plain).scatter.count == 1)
    }

    @Test func aFloodOfFieldsIsRefusedBeforeItIsDecoded() throws {
        let it = try Case()
        // Half a million empty scatter entries of two bytes each.
        let flood = [UInt8](repeating: 0, count: 1 << 20).enumerated().map {
            UInt8($0.offset.isMultiple(of: 2) ? 0x52 : 0)
        }
        do {
            _ = try it.decode(flood)
            Issue.record("the flood was taken")
        } catch {
            #expect(error.reason == .tooLarge(what: "fields", count: 65_537, limit: 65_536))
        }
    }
}

extension StoredMapGroup {
    fileprivate mutating func dropLastExtent() {
        extent.removeLast()
        extentPack.removeLast()
        extentOffset.removeLast()
        extentLength.removeLast()
        extentChunks.removeLast(32)
        extentHashes.removeLast(32)
    }

    fileprivate mutating func addScatter(_ change: (inout StoredScatterEntry) -> Void) {
        var entry = StoredScatterEntry()
        entry.kind = .scatter
        entry.offset = 8
        entry.length = 99
        entry.chunk = Data(repeating: 7, count: 32)
        entry.pageSteps = [1]
        entry.plainLength = 512
        change(&entry)
        scatter.append(entry)
    }
}
