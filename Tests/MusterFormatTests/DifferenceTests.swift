import MusterTestSupport
import Testing

@testable import MusterFormat
@testable import MusterModel

@Suite("A difference gives its page or is refused")
struct DifferenceTests {
    private func apply(
        _ differencer: PageDifferencer, _ frame: [UInt8], to base: [UInt8]?, size: Int
    ) throws(FormatError) -> [UInt8] {
        var page = [UInt8](repeating: 0xee, count: size)
        var span = page.mutableSpan
        var output = span.mutableBytes
        if let base {
            try differencer.apply(frame.span.bytes, to: base.span.bytes, into: &output)
        } else {
            try differencer.apply(frame.span.bytes, to: nil, into: &output)
        }
        return page
    }

    private func difference(_ differencer: PageDifferencer, _ page: [UInt8], from base: [UInt8]?) throws -> [UInt8] {
        guard let base else { return try differencer.difference(of: page.span.bytes, from: nil) }
        return try differencer.difference(of: page.span.bytes, from: base.span.bytes)
    }

    @Test(arguments: [512, 1024, 4096, 8192, 65_536])
    func everyPageComesBackFromItsBase(size: Int) throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("DifferenceTests seed \(seed)")
        var generator = SeededGenerator(seed: seed)
        let (writer, reader) = (PageDifferencer(), PageDifferencer())
        var base = (0..<size).map { _ in UInt8.random(in: 0...255, using: &generator) }
        for round in 0..<40 {
            var page = base
            // Sometimes none: then both share their bytes, and the difference is short all the same.
            for _ in 0..<Int.random(in: 0...8, using: &generator) {
                let at = Int.random(in: 0..<size - 20, using: &generator)
                for index in at..<at + 20 { page[index] = UInt8.random(in: 0...255, using: &generator) }
            }
            let isFirst = round.isMultiple(of: 7)
            let frame = try difference(writer, page, from: isFirst ? nil : base)
            #expect(try apply(reader, frame, to: isFirst ? nil : base, size: size) == page)
            // Bytes that do not compress: only the base can make it short.
            if !isFirst { #expect(frame.count < 300, "\(frame.count) bytes") }
            base = page
        }
    }

    @Test func aPrefixCountsForOneFrameOnly() throws {
        let (base, page) = (Fixture.page(3, size: 4096), Fixture.page(6, size: 4096))
        let (used, fresh) = (PageDifferencer(), PageDifferencer())
        let short = try difference(used, base, from: base)
        #expect(short.count < 40)
        // Were the base still a prefix, these frames would be short, or open to another page.
        #expect(try difference(used, base, from: nil) == difference(fresh, base, from: nil))
        #expect(throws: FormatError.self) { try apply(used, short, to: nil, size: 4096) }
        #expect(try apply(used, short, to: base, size: 4096) == base)
        // A frame that is refused leaves nothing behind.
        #expect(throws: FormatError.self) { try apply(used, [1, 2, 3], to: base, size: 4096) }
        #expect(throws: FormatError.self) { try apply(used, short, to: nil, size: 4096) }
        #expect(try difference(used, page, from: base) == difference(fresh, page, from: base))
    }

    @Test func aFrameOfAnotherSizeIsABomb() throws {
        let differencer = PageDifferencer()
        for size in [4095, 4097, 8192, 1 << 20] {
            let frame = try zstdFrame([UInt8](repeating: 0, count: size))
            do {
                _ = try apply(differencer, frame, to: nil, size: 4096)
                Issue.record("a frame of \(size) bytes was taken")
            } catch {
                #expect(error.reason == .malformed("the zstd frame does not state 4096 plain bytes"))
            }
        }
    }

    @Test func everyTruncationAndEveryAdditionIsRefused() throws {
        let base = Fixture.page(3, size: 4096)
        var page = base
        page[77] ^= 1
        let differencer = PageDifferencer()
        let frame = try difference(differencer, page, from: base)
        for count in 0..<frame.count {
            #expect(throws: FormatError.self) {
                try apply(differencer, Array(frame.prefix(count)), to: base, size: 4096)
            }
        }
        for more in [[0], frame, try zstdFrame([1, 2, 3])] {
            #expect(throws: FormatError.self) { try apply(differencer, frame + more, to: base, size: 4096) }
        }
    }

    @Test func whatAChunkHoldsIsFound() throws {
        let frames: [[UInt8]] = [[1, 2, 3], [4], [UInt8](repeating: 5, count: 300)]
        let plain = DifferenceChunk.encode(frames: frames)
        #expect(plain.count == frames.map { DifferenceChunk.byteCount(ofFrame: $0.count) }.reduce(0, +))
        #expect(try DifferenceChunk.frames(in: plain, count: 3).map { Array(plain[$0]) } == frames)
    }

    @Test func aChunkThatDoesNotAddUpIsRefused() throws {
        let plain = DifferenceChunk.encode(frames: [[1, 2, 3], [4]])
        for count in [-1, 0, 1, 3, 65_536, .max] {
            #expect(throws: FormatError.self, "\(count)") { try DifferenceChunk.frames(in: plain, count: count) }
        }
        for count in 0..<plain.count {
            #expect(throws: FormatError.self) { try DifferenceChunk.frames(in: Array(plain.prefix(count)), count: 2) }
        }
        #expect(throws: FormatError.self) { try DifferenceChunk.frames(in: plain + [0], count: 2) }
        for (at, byte): (Int, UInt8) in [(0, 0), (0, 4), (3, 0xff), (7, 0), (7, 2), (7, 0xff)] {
            var lying = plain
            lying[at] = byte
            #expect(throws: FormatError.self) { try DifferenceChunk.frames(in: lying, count: 2) }
        }
    }
}
