import Testing

@testable import MusterFormat
@testable import MusterModel

@Suite("The hash tree is the one of format.md")
struct HashTreeTests {
    struct Shape: Sendable, CustomTestStringConvertible {
        let pageSize: Int
        let pagesPerExtent: Int
        let pageCount: UInt64
        var testDescription: String { "\(pageCount) pages of \(pageSize), \(pagesPerExtent) to an extent" }
    }

    static let shapes = [
        Shape(pageSize: 512, pagesPerExtent: 4, pageCount: 0),
        Shape(pageSize: 512, pagesPerExtent: 4, pageCount: 1),
        Shape(pageSize: 512, pagesPerExtent: 4, pageCount: 10),
        Shape(pageSize: 512, pagesPerExtent: 1, pageCount: 256),
        Shape(pageSize: 512, pagesPerExtent: 1, pageCount: 257),
        Shape(pageSize: 4096, pagesPerExtent: 16, pageCount: 33),
        Shape(pageSize: 65_536, pagesPerExtent: 1, pageCount: 2),
    ]

    /// Written from format.md, with nothing shared but SHA-256 itself.
    private static func naiveRoot(_ shape: Shape) -> String {
        func sha(_ bytes: [UInt8]) -> [UInt8] { SHA256Hasher.hash(bytes, as: PageHash.self).bytes }
        func groups(of list: [[UInt8]], _ size: Int) -> [[[UInt8]]] {
            stride(from: 0, to: list.count, by: size).map { Array(list[$0..<min($0 + size, list.count)]) }
        }
        let pages = (0..<shape.pageCount).map { sha(Fixture.page($0 + 1, size: shape.pageSize)) }
        let extents = groups(of: pages, shape.pagesPerExtent).map { sha([1] + $0.joined()) }
        let groupHashes = groups(of: extents, 256).map { sha([2] + $0.joined()) }
        var root: [UInt8] = [3]
        for shift in [0, 8, 16, 24] { root.append(UInt8(truncatingIfNeeded: shape.pageSize >> shift)) }
        for shift in [0, 8, 16, 24] { root.append(UInt8(truncatingIfNeeded: shape.pagesPerExtent >> shift)) }
        for shift in UInt64(0)..<8 { root.append(UInt8(truncatingIfNeeded: shape.pageCount >> (shift * 8))) }
        return Hex.encode(sha(root + groupHashes.joined()))
    }

    @Test(arguments: shapes)
    func theRootIsThatOfTheSpecification(shape: Shape) throws {
        let geometry = try #require(
            DatabaseGeometry(
                pageSize: shape.pageSize, pagesPerExtent: shape.pagesPerExtent, pageCount: shape.pageCount))
        var tree = ContentTree(geometry: geometry)
        var hasher = TreeHasher()
        for extent in 0..<geometry.extentCount {
            let bytes = Fixture.extent(extent, of: geometry)
            let hash = hasher.extentHash(of: bytes.span.bytes, pageSize: geometry.pageSize)
            let pages = (0..<geometry.pageCount(ofExtent: extent)).map { page in
                hasher.pageHash(of: Array(bytes[page * shape.pageSize..<(page + 1) * shape.pageSize]).span.bytes)
            }
            #expect(hasher.extentHash(of: pages) == hash)
            let isLastOfGroup = geometry.extents(ofGroup: extent / 256).upperBound == extent + 1
            #expect((tree.append(hash) != nil) == isLastOfGroup)
        }
        let root = tree.contentRoot()
        #expect(root.description == Self.naiveRoot(shape))
    }

    @Test func theRootTellsGeometriesApart() throws {
        var hasher = TreeHasher()
        let empty = try #require(DatabaseGeometry(pageSize: 512, pagesPerExtent: 4, pageCount: 0))
        let other = try #require(DatabaseGeometry(pageSize: 1024, pagesPerExtent: 4, pageCount: 0))
        let third = try #require(DatabaseGeometry(pageSize: 512, pagesPerExtent: 8, pageCount: 0))
        let roots = [empty, other, third].map { hasher.contentRoot(of: [], in: $0) }
        #expect(Set(roots).count == 3)
    }

    @Test(arguments: [(512, 128), (4096, 16), (65_536, 1)])
    func theDefaultExtentIs64KiB(pageSize: Int, pages: Int) {
        #expect(Format.pagesPerExtent(pageSize: pageSize) == pages)
    }
}
