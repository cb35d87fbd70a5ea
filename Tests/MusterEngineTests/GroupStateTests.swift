import MusterFormat
import MusterModel
import Testing

@testable import MusterEngine

@Suite("The state of a group follows its changes")
struct GroupStateTests {
    private let place: ChunkPlace

    init() {
        place = ChunkPlace(
            pack: SHA256Hasher.hash([1]), offset: 8, byteCount: 100, chunk: SHA256Hasher.hash([2]), keyEpoch: 1)
    }

    private func geometry(_ pageCount: UInt64) throws -> DatabaseGeometry {
        try #require(DatabaseGeometry(pageSize: 512, pagesPerExtent: 4, pageCount: pageCount))
    }

    private func entry(_ extent: Int, _ pageCount: Int = 4) -> ExtentEntry {
        ExtentEntry(extent: extent, place: place, pageCount: pageCount, hash: SHA256Hasher.hash([UInt8(extent & 255)]))
    }

    private func scatter(_ pages: [UInt32], dead: [Int] = []) -> ScatterEntry {
        ScatterEntry(
            kind: .scatter, place: place, plainByteCount: pages.count * 512, pages: pages, dead: dead)
    }

    @Test func whatADatabaseGaveUpDoesNotComeBack() throws {
        var state = GroupState(group: 0, pagesPerExtent: 4)
        state.begin(
            with: MapGroup(index: 0, extents: [entry(0), entry(1), entry(2)], scatter: [scatter([2, 6, 9])]),
            in: try geometry(12))
        state.cut(to: try geometry(5))
        state.cut(to: try geometry(12))
        #expect(state.rows[0]?.suppliedPageCount == 4)
        #expect(state.rows[1]?.suppliedPageCount == 1)
        // What it gave up is a base page still.
        #expect(state.rows[1]?.chunkPageCount == 4)
        #expect(state.rows[2] == nil)
        #expect(state.supplies.keys.sorted() == [2])
        let continued = MapChanges(continued: [ContinuedExtent(extent: 2, hash: SHA256Hasher.hash([9]))])
        #expect(state.apply(continued, in: try geometry(12)) == 2)
    }

    @Test func anExtentPlacedAnewDropsWhatOtherChunksSaid() throws {
        var state = GroupState(group: 0, pagesPerExtent: 4)
        state.begin(
            with: MapGroup(index: 0, extents: [entry(0), entry(1)], scatter: [scatter([1, 5, 8])]),
            in: try geometry(8))
        let changes = MapChanges(placed: [entry(1)], scatter: [scatter([6, 7], dead: [1])])
        #expect(state.apply(changes, in: try geometry(8)) == nil)
        #expect(state.supplies == [1: .init(chunk: 0, position: 0), 6: .init(chunk: 1, position: 0)])
        #expect(state.supplied(1, pageCount: 4).map(\.page) == [6])
    }

    @Test func aGroupTakesItsOwnPartOnly() throws {
        let geometry = try geometry(3000)
        var state = GroupState(group: 1, pagesPerExtent: 4)
        let changes = MapChanges(
            placed: [entry(255), entry(256), entry(511), entry(512)],
            scatter: [scatter([1024, 1025]), scatter([2048, 2049]), scatter([7])])
        #expect(state.apply(changes, in: geometry) == nil)
        #expect(state.rows.keys.sorted() == [256, 511])
        #expect(state.supplies == [1025: .init(chunk: 0, position: 1), 2048: .init(chunk: 1, position: 0)])
    }

    @Test func theLastGroupThatThereCanBeHasPages() throws {
        // 2^32 - 2 pages of one extent each.
        let geometry = try #require(
            DatabaseGeometry(pageSize: 65_536, pagesPerExtent: 1, pageCount: DatabaseGeometry.maximumPageCount))
        let last = Int(DatabaseGeometry.maximumPageCount) - 1
        var state = GroupState(group: geometry.groupCount - 1, pagesPerExtent: 1)
        let changes = MapChanges(placed: [entry(last, 1)], scatter: [scatter([4_294_967_294])])
        #expect(state.apply(changes, in: geometry) == nil)
        #expect(state.supplied(last, pageCount: 1).map(\.page) == [4_294_967_294])
    }
}
