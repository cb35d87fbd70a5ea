import Foundation
import MusterModel
import MusterTestSupport
import Synchronization
import Testing

@testable import MusterEngine

@Suite("The pack cache")
struct PackCacheTests {
    private let folder: TemporaryDirectory
    private let random = RandomSource.seeded(11)

    init() throws { folder = try TemporaryDirectory() }

    private func cache(quota: Int, reserve: UInt64 = 0) throws -> PackCache {
        try PackCache(folder: folder.file("packs"), quotaBytes: quota, reserveBytes: reserve)
    }

    private func pack(_ byteCount: Int) throws -> (id: PackID, bytes: [UInt8]) {
        (try #require(PackID(bytes: random.bytes(32))), random.bytes(byteCount))
    }

    @Test func whatIsKeptIsReadInRangesAfterARestartToo() async throws {
        let pack = try pack(500_000)
        try await cache(quota: 1_000_000).keep(pack.id, pack.bytes)
        let cache = try cache(quota: 1_000_000)
        #expect(cache.read(pack.id, 100..<400_000) == Array(pack.bytes[100..<400_000]))
        #expect(cache.read(pack.id, 499_990..<500_010) == nil)
        #expect(cache.byteCount == 500_000)
    }

    @Test func theLeastUsedGoesFirst() async throws {
        let (first, second, third) = (try pack(4000), try pack(4000), try pack(4000))
        let cache = try cache(quota: 9000)
        await cache.keep(first.id, first.bytes)
        await cache.keep(second.id, second.bytes)
        _ = cache.read(first.id, 0..<1)
        await cache.keep(third.id, third.bytes)
        #expect(cache.read(second.id, 0..<1) == nil)
        #expect(cache.read(first.id, 0..<4000) == first.bytes)
        #expect(cache.read(third.id, 0..<4000) == third.bytes)
        #expect(cache.byteCount == 8000)
    }

    @Test func itKeepsNothingThatIsTooLargeOrThatWouldFillTheDisk() async throws {
        let pack = try pack(4000)
        let small = try cache(quota: 3000)
        await small.keep(pack.id, pack.bytes)
        #expect(small.read(pack.id, 0..<1) == nil)
        let careful = try cache(quota: 10_000, reserve: .max / 2)
        await careful.keep(pack.id, pack.bytes)
        #expect(careful.read(pack.id, 0..<1) == nil)
    }

    @Test func aDiskThatOthersFillGetsItsRoomBack() async throws {
        let packs = try (0..<3).map { _ in try pack(4000) }
        let free = Mutex<UInt64?>(100_000)
        let cache = try PackCache(
            folder: folder.file("packs"), quotaBytes: 20_000, reserveBytes: 50_000, freeBytes: { free.withLock { $0 } })
        for pack in packs { await cache.keep(pack.id, pack.bytes) }
        await cache.makeRoom()
        #expect(cache.byteCount == 12_000)
        free.withLock { $0 = 45_000 }
        await cache.makeRoom()
        #expect(cache.byteCount == 4000)
        #expect(cache.read(packs[2].id, 0..<1) != nil, "the last used stays longest")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.file("packs")).count == 1)
        free.withLock { $0 = nil }
        await cache.makeRoom()
        #expect(cache.byteCount == 4000, "a disk that does not say is no full one")
        free.withLock { $0 = 0 }
        let more = try pack(10)
        await cache.keep(more.id, more.bytes)
        #expect(cache.byteCount == 0)
    }

    @Test func aWriteThatWasCutOffIsGoneAfterARestart() throws {
        _ = try cache(quota: 10_000)
        let torn = folder.file("packs") + "/\(try pack(1).id).new"
        #expect(FileManager.default.createFile(atPath: torn, contents: Data([1, 2])))
        _ = try cache(quota: 10_000)
        #expect(!FileManager.default.fileExists(atPath: torn))
    }

    @Test func aFileThatSomebodyRemovedIsJustNotThere() async throws {
        let pack = try pack(100)
        let cache = try cache(quota: 10_000)
        await cache.keep(pack.id, pack.bytes)
        try FileManager.default.removeItem(atPath: folder.file("packs") + "/\(pack.id)")
        #expect(cache.read(pack.id, 0..<1) == nil)
        #expect(cache.byteCount == 0)
    }
}

@Suite("Records of extents")
struct ExtentRecordTests {
    private let random = RandomSource.seeded(12)

    private func record(_ pages: Int) throws -> ExtentRecord {
        ExtentRecord(
            extent: 7, changed: 1 << 40, placed: 1 << 33, pack: 9, offset: 8, byteCount: 4000,
            chunk: try #require(ChunkID(bytes: random.bytes(32))), chunkPages: pages,
            hash: try #require(ExtentHash(bytes: random.bytes(32))),
            pageHashes: try (0..<pages).map { _ in try #require(PageHash(bytes: random.bytes(32))) },
            supplies: [.init(page: 0, scatter: 3, byteCount: 12)])
    }

    @Test(arguments: [1, 16, 128]) func comeBackAsTheyWere(pages: Int) throws {
        let record = try record(pages)
        #expect(ExtentRecord(extent: 7, changed: 1 << 40, pack: 9, body: record.body) == record)
    }

    @Test func ofAnyOtherLengthAreRefused() throws {
        let body = try record(16).body
        for count in 0..<body.count {
            #expect(ExtentRecord(extent: 7, changed: 1, pack: 9, body: Array(body[..<count])) == nil)
        }
        #expect(ExtentRecord(extent: 7, changed: 1, pack: 9, body: body + [0]) == nil)
    }
}
