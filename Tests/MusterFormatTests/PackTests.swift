import Testing

@testable import MusterFormat
@testable import MusterModel

@Suite("A pack accounts for every byte")
struct PackTests {
    /// What a receiver does with bytes that it has whole.
    private func receive(_ bytes: [UInt8], as id: PackID) throws -> PackDirectory {
        var receiver = PackReceiver(expecting: id)
        for start in stride(from: 0, to: bytes.count, by: 100) {
            try receiver.update(Array(bytes[start..<min(start + 100, bytes.count)]))
        }
        let byteCount = try receiver.finish()
        let read: (Range<Int>) -> [UInt8] = { Array(bytes[$0]) }
        let directory = try PackDirectory.read(of: id, packByteCount: byteCount, read: read)
        try directory.checkChunks(read: read)
        return directory
    }

    private func tiny() throws -> Pack {
        let sealer = ChunkSealer(keys: try Fixture().keys)
        var builder = PackBuilder()
        try builder.append(sealer.seal([1, 2, 3], as: .extent))
        try builder.append(sealer.seal([4, 5], as: .map))
        return builder.finish()
    }

    @Test func aPackIsReceivedAsItWasBuilt() throws {
        let pack = try SmallSnapshot(Fixture()).pack
        let directory = try receive(pack.bytes, as: pack.id)
        #expect(directory.entries == pack.entries)
        #expect(directory.packByteCount == pack.bytes.count)
    }

    @Test func theSameChunkIsHeldOnce() throws {
        let sealer = ChunkSealer(keys: try Fixture().keys)
        var builder = PackBuilder()
        let first = try builder.append(sealer.seal([1, 2, 3], as: .extent))
        let count = builder.byteCount
        #expect(try builder.append(sealer.seal([1, 2, 3], as: .extent)) == first)
        #expect(builder.byteCount == count)
        let pack = builder.finish()
        #expect(pack.bytes.count == count)
        #expect(pack.entries == [first])
    }

    @Test func aPackSaysWhenItIsFull() throws {
        var builder = PackBuilder()
        var number: UInt32 = 0
        while !builder.isFull {
            // The builder does not look inside, so an unsealed mebibyte will do.
            let bytes = littleEndianBytes(number) + [UInt8](repeating: 0, count: 1 << 20)
            builder.append(SealedChunk(id: SHA256Hasher.hash(bytes), bytes: bytes, plainByteCount: 1 << 20))
            number += 1
        }
        #expect(number == 16)
        #expect(builder.finish().bytes.count < 18 << 20)
    }

    @Test func everyFlippedBitIsRefusedByTheID() throws {
        let pack = try tiny()
        pack.bytes.forEachBitFlip { flipped, bit in
            #expect(throws: FormatError.self, "bit \(bit)") {
                var receiver = PackReceiver(expecting: pack.id)
                try receiver.update(flipped)
                _ = try receiver.finish()
            }
        }
    }

    @Test func aLyingNodeIsCaughtWithoutAKey() throws {
        // The liar names the pack after its own bytes; directory and chunk ids still refuse each flip.
        try tiny().bytes.forEachBitFlip { flipped, bit in
            #expect(throws: FormatError.self, "bit \(bit)") {
                try receive(flipped, as: SHA256Hasher.hash(flipped))
            }
        }
    }

    @Test func everyTruncationAndExtensionIsRefused() throws {
        let bytes = try tiny().bytes
        let cuts =
            (0..<bytes.count).map { Array(bytes.prefix($0)) } + (1...bytes.count).map { Array(bytes.dropFirst($0)) }
        for cut in cuts + [bytes + [0], [0] + bytes, bytes + bytes] {
            #expect(throws: FormatError.self) { try receive(cut, as: SHA256Hasher.hash(cut)) }
        }
    }

    @Test(
        arguments: [
            (0, 0), (1, 40), (UInt32.max, UInt32.max), (UInt32.max, 40), (3, 120), (2, 40), (1_000_000, 40_000_000),
            (0x0666_6666, 0xffff_fff0),
        ] as [(UInt32, UInt32)])
    func aFalseCountIsRefusedBeforeItIsAllocated(count: UInt32, length: UInt32) throws {
        var bytes = try tiny().bytes
        bytes.replaceSubrange(
            bytes.count - 16..<bytes.count - 8, with: littleEndianBytes(count) + littleEndianBytes(length))
        #expect(throws: FormatError.self) { try receive(bytes, as: SHA256Hasher.hash(bytes)) }
    }

    @Test func aChunkListedTwiceIsRefused() throws {
        let sealed = try ChunkSealer(keys: try Fixture().keys).seal([1, 2, 3], as: .extent)
        var bytes = Magic.pack.bytes + sealed.bytes + sealed.bytes
        for offset in [8, 8 + sealed.bytes.count] {
            bytes += sealed.id.bytes + littleEndianBytes(UInt32(offset)) + littleEndianBytes(UInt32(sealed.bytes.count))
        }
        bytes += littleEndianBytes(UInt32(2)) + littleEndianBytes(UInt32(80)) + Magic.packEnd.bytes
        #expect(throws: FormatError.self) { try receive(bytes, as: SHA256Hasher.hash(bytes)) }
    }

    @Test func aPackHoldsOnlyChunks() throws {
        let notSealed: [[UInt8]] = [
            [UInt8](repeating: 1, count: 64), [2, 0x11] + [UInt8](repeating: 1, count: 64),
            [1, 0x51] + [UInt8](repeating: 1, count: 64), [1, 0x12] + [UInt8](repeating: 1, count: 64),
        ]
        for bytes in notSealed {
            var builder = PackBuilder()
            builder.append(SealedChunk(id: SHA256Hasher.hash(bytes), bytes: bytes, plainByteCount: 1))
            let pack = builder.finish()
            #expect(throws: FormatError.self) { try receive(pack.bytes, as: pack.id) }
        }
    }

    @Test func anEndlessPackIsCutOff() throws {
        var receiver = PackReceiver(expecting: try tiny().id)
        let piece = [UInt8](repeating: 0, count: 1 << 20)
        for _ in 0..<64 { try receiver.update(piece) }
        do {
            try receiver.update([0])
            Issue.record("64 MiB and a byte were taken")
        } catch {
            #expect(error.reason == .tooLarge(what: "bytes", count: 64 << 20 | 1, limit: 64 << 20))
        }
    }

    @Test func aReaderThatReturnsTooLittleIsRefused() throws {
        let pack = try tiny()
        #expect(throws: FormatError.self) {
            try PackDirectory.read(of: pack.id, packByteCount: pack.bytes.count) { _ in [] }
        }
        let directory = try PackDirectory.read(of: pack.id, packByteCount: pack.bytes.count) { Array(pack.bytes[$0]) }
        #expect(throws: FormatError.self) { try directory.checkChunks { _ in [] } }
        #expect(throws: FormatError.self) { try directory.check([], is: try #require(directory.entries.first)) }
    }
}
