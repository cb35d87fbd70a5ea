import Testing

@testable import MusterSQLite

@Suite("A set of pages")
struct PageSetTests {
    private static func pages(_ set: PageSet) -> [UInt32] {
        var pages: [UInt32] = []
        set.forEach { pages.append($0) }
        return pages
    }

    @Test("agrees with a plain set whatever is done to it", arguments: 0..<20)
    func agreesWithAPlainSet(seed: UInt64) {
        var dice = SplitMix(state: seed)
        var (set, plain): (PageSet, Set<UInt32>) = (PageSet(), [])
        let spread = UInt32([70, 5000, 20_000, 4_000_000][Int(seed % 4)])
        for _ in 0..<60 {
            switch dice.next() % 10 {
            case 0:
                let first = UInt32(dice.next() % UInt64(spread))
                let last = first + UInt32(dice.next() % 9000)
                set.insert(after: first, upTo: last)
                plain.formUnion(first < last ? Set(first + 1...last) : [])
            case 1:
                let limit = dice.next() % UInt64(spread)
                set.remove(above: limit)
                plain = plain.filter { UInt64($0) <= limit }
            case 2:
                var other = PageSet()
                let added = (0..<50).map { _ in 1 + UInt32(dice.next() % UInt64(spread)) }
                added.forEach { other.insert($0) }
                set.formUnion(other)
                plain.formUnion(added)
            default:
                let page = 1 + UInt32(dice.next() % UInt64(spread))
                set.insert(page)
                plain.insert(page)
            }
        }
        #expect(Self.pages(set) == plain.sorted() && set.count == plain.count && set.isEmpty == plain.isEmpty)
        #expect((1..<100).allSatisfy { set.contains($0) == plain.contains($0) })
        var rebuilt = PageSet()
        plain.forEach { rebuilt.insert($0) }
        #expect(rebuilt == set)
        for pagesPerExtent in [1, 3, 16] {
            let extents = Set(plain.map { Int($0 - 1) / pagesPerExtent }).sorted()
            #expect(set.extents(pagesPerExtent: pagesPerExtent) == extents)
        }
        set.remove(above: 0)
        #expect(set == PageSet() && set.isEmpty)
    }

    @Test("holds the ends of its range")
    func holdsTheEnds() {
        var set = PageSet()
        for page in [1, 64, 65, 4096, 4097, UInt32.max] { set.insert(page) }
        #expect(Self.pages(set) == [1, 64, 65, 4096, 4097, .max])
        set.remove(above: UInt64(UInt32.max))
        #expect(set.count == 6)
        set.remove(above: 64)
        #expect(Self.pages(set) == [1, 64])
        set.insert(after: 0, upTo: 8192)
        #expect(set.count == 8192 && !set.contains(8193))
    }
}

private struct SplitMix {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
