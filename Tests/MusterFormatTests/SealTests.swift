import Testing

@testable import MusterFormat
@testable import MusterModel

@Suite("A seal opens to what was sealed or not at all")
struct SealTests {
    static let chunkKinds: [SealedKind] = [.extent, .scatter, .difference, .map]

    private func open(
        _ sealed: [UInt8], as kind: SealedKind = .extent, keys: ScopeKeys, plainByteCount: Int
    ) throws(FormatError) -> [UInt8] {
        try ChunkOpener(keys: keys).open(
            sealed.span.bytes, as: kind, expecting: SHA256Hasher.hash(sealed), plainByteCount: plainByteCount)
    }

    private static let incompressible = Fixture.random("noise").bytes(3000)

    @Test(arguments: [1, 2, 15, 16, 100, 4096, 65_536, 1 << 20], chunkKinds)
    func whatWasSealedOpens(byteCount: Int, kind: SealedKind) throws {
        let keys = try Fixture().keys
        let sealer = ChunkSealer(keys: keys)
        let opener = ChunkOpener(keys: keys)
        let even = [UInt8](repeating: 7, count: byteCount)
        let noise = Fixture.random("noise \(byteCount)").bytes(byteCount)
        for plain in [even, noise] {
            let sealed = try sealer.seal(plain, as: kind)
            #expect(sealed.id == SHA256Hasher.hash(sealed.bytes))
            #expect(sealed.bytes.count <= plain.count + 30)
            var output = [UInt8](repeating: 0, count: byteCount)
            var span = output.mutableSpan
            var bytes = span.mutableBytes
            try opener.open(sealed.bytes.span.bytes, as: kind, expecting: sealed.id, into: &bytes)
            #expect(output == plain)
            #expect(try open(sealed.bytes, as: kind, keys: keys, plainByteCount: byteCount) == plain)
        }
    }

    @Test func theShorterFormIsStored() throws {
        let sealer = ChunkSealer(keys: try Fixture().keys)
        #expect(try sealer.seal([UInt8](repeating: 0, count: 4096), as: .extent).bytes[1] == 0x11)
        let plain = try sealer.seal(Self.incompressible, as: .extent)
        #expect(plain.bytes[1] == 0x10)
        #expect(plain.bytes.count == Self.incompressible.count + 30)
    }

    @Test func equalContentInOneScopeGivesEqualBytes() throws {
        let fixture = try Fixture()
        let plain = [UInt8](repeating: 9, count: 4096)
        let first = try ChunkSealer(keys: fixture.keys).seal(plain, as: .extent)
        let sealer = ChunkSealer(keys: fixture.keys)
        _ = try sealer.seal(Self.incompressible, as: .scatter)
        #expect(try sealer.seal(plain, as: .extent) == first)
        let others = [
            ScopeKeys(secret: fixture.secret, scope: fixture.scope, epoch: 2),
            ScopeKeys(secret: fixture.secret, scope: try fixture.id(9), epoch: 1),
            ScopeKeys(secret: ScopeSecret(from: Fixture.random("other")), scope: fixture.scope, epoch: 1),
        ]
        for keys in others {
            #expect(try ChunkSealer(keys: keys).seal(plain, as: .extent).id != first.id)
            #expect(throws: FormatError("chunk \(first.id)", .sealBroken)) {
                try open(first.bytes, keys: keys, plainByteCount: plain.count)
            }
        }
    }

    @Test(arguments: chunkKinds, SealedKind.allCases)
    func noKindOpensAsAnother(kind: SealedKind, wanted: SealedKind) throws {
        let keys = try Fixture().keys
        let sealed = try ChunkSealer(keys: keys).seal([1, 2, 3], as: kind)
        guard kind != wanted else { return }
        #expect(throws: FormatError.self) { try open(sealed.bytes, as: wanted, keys: keys, plainByteCount: 3) }
        // Not even where the type byte was changed to suit.
        var forged = sealed.bytes
        forged[1] = wanted.rawValue << 4 | forged[1] & 15
        #expect(throws: FormatError("chunk \(SHA256Hasher.hash(forged, as: ChunkID.self))", .sealBroken)) {
            try open(forged, as: wanted, keys: keys, plainByteCount: 3)
        }
    }

    @Test func everyFlippedBitIsRefused() throws {
        let keys = try Fixture().keys
        let opener = ChunkOpener(keys: keys)
        for plain in [[UInt8](repeating: 3, count: 512), Array(Self.incompressible.prefix(64))] {
            let sealed = try ChunkSealer(keys: keys).seal(plain, as: .extent)
            sealed.bytes.forEachBitFlip { flipped, bit in
                #expect(throws: FormatError.self, "bit \(bit)") {
                    try opener.open(
                        flipped.span.bytes, as: .extent, expecting: sealed.id, plainByteCount: plain.count)
                }
                // The seal itself refuses too, where the id was forged to suit.
                #expect(throws: FormatError.self, "bit \(bit)") {
                    try opener.open(
                        flipped.span.bytes, as: .extent, expecting: SHA256Hasher.hash(flipped),
                        plainByteCount: plain.count)
                }
            }
        }
    }

    @Test func everyTruncationIsRefused() throws {
        let keys = try Fixture().keys
        let sealed = try ChunkSealer(keys: keys).seal(Array(Self.incompressible.prefix(40)), as: .extent)
        for count in 0..<sealed.bytes.count {
            #expect(throws: FormatError.self) {
                try open(Array(sealed.bytes.prefix(count)), keys: keys, plainByteCount: 40)
            }
        }
        #expect(throws: FormatError.self) { try open(sealed.bytes + [0], keys: keys, plainByteCount: 40) }
    }

    @Test(arguments: [0, -1, 1, 99, 101, 1 << 20, 1 << 21, Int.max])
    func anotherPlainSizeIsRefused(byteCount: Int) throws {
        let keys = try Fixture().keys
        for plain in [[UInt8](repeating: 3, count: 100), Array(Self.incompressible.prefix(100))] {
            let sealed = try ChunkSealer(keys: keys).seal(plain, as: .extent)
            #expect(throws: FormatError.self) { try open(sealed.bytes, keys: keys, plainByteCount: byteCount) }
        }
    }

    @Test func aBombIsRefusedAtTheStatedSize() throws {
        let keys = try Fixture().keys
        let bomb = try zstdFrame([UInt8](repeating: 0, count: 32 << 20))
        #expect(bomb.count < 4096)
        let sealed = try forgeSeal(bomb, type: 0x11, keys: keys)
        for stated in [bomb.count + 1, 65_536, 1 << 20, 32 << 20] {
            #expect(throws: FormatError.self) { try open(sealed, keys: keys, plainByteCount: stated) }
        }
    }

    @Test func aForgedSealOfSoundContentOpens() throws {
        // So that the refusals of the next test are of the content, not of the forging.
        let keys = try Fixture().keys
        let plain = [UInt8](repeating: 3, count: 1000)
        let sealed = try forgeSeal(try zstdFrame(plain), type: 0x11, keys: keys)
        #expect(try open(sealed, keys: keys, plainByteCount: 1000) == plain)
        #expect(try ChunkSealer(keys: keys).seal(plain, as: .extent).bytes == sealed)
    }

    @Test func onlyOneWholeFrameIsOpened() throws {
        let keys = try Fixture().keys
        let frame = try zstdFrame([UInt8](repeating: 3, count: 1000))
        let skippable: [UInt8] = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0]
        let contents: [[UInt8]] = [
            frame + [0], frame + frame, frame + skippable, skippable + frame, Array(frame.dropLast()),
            [UInt8](repeating: 0, count: 40), Array("not a zstd frame at all".utf8),
        ]
        for content in contents {
            let sealed = try forgeSeal(content, type: 0x11, keys: keys)
            for stated in [1000, 2000] {
                #expect(throws: FormatError.self) { try open(sealed, keys: keys, plainByteCount: stated) }
            }
        }
    }

    @Test func aSealThatOpensToSomethingElseIsNotGivenOut() throws {
        let keys = try Fixture().keys
        var lane = SealLane(keys: keys, level: 3)
        for plain in [[UInt8](repeating: 3, count: 1000), Self.incompressible] {
            let sealed = try ChunkSealer(keys: keys).seal(plain, as: .extent).bytes
            var (changedPlain, changedSeal) = (plain, sealed)
            changedPlain[500] ^= 1
            changedSeal[40] ^= 1
            #expect(try isSound(sealed, plain, &lane))
            #expect(try !isSound(sealed, changedPlain, &lane))
            #expect(try !isSound(changedSeal, plain, &lane))
        }
    }

    private func isSound(_ sealed: [UInt8], _ plain: [UInt8], _ lane: inout SealLane) throws -> Bool {
        let context = [Format.version, sealed[1]] + lane.keys.scope.bytes
        do {
            try plain.withUnsafeBytes { try lane.check(sealed, opensTo: $0, as: .extent, context: context) }
            return true
        } catch let error as FormatError {
            #expect(error.reason == .selfCheckFailed)
            return false
        }
    }

    @Test func aFrameThatDoesNotStateItsSizeIsRefused() throws {
        // RFC 8878: magic, no content size, a window of 1 KiB, one last block: 7 repeated 1000 times.
        let frame: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00, 0x43, 0x1f, 0x00, 7]
        let keys = try Fixture().keys
        let sealed = try forgeSeal(frame, type: 0x11, keys: keys)
        #expect(throws: FormatError.self) { try open(sealed, keys: keys, plainByteCount: 1000) }
    }

    @Test(arguments: [0x12, 0x1f, 0x01, 0x61, 0xf0] as [UInt8])
    func anUnknownTypeIsRefused(type: UInt8) throws {
        let keys = try Fixture().keys
        var sealed = try ChunkSealer(keys: keys).seal([1, 2, 3], as: .extent).bytes
        sealed[1] = type
        #expect(throws: FormatError.self) { try open(sealed, keys: keys, plainByteCount: 3) }
    }

    @Test func anotherVersionIsNamed() throws {
        let keys = try Fixture().keys
        var sealed = try ChunkSealer(keys: keys).seal([1, 2, 3], as: .extent).bytes
        sealed[0] = 2
        let id: ChunkID = SHA256Hasher.hash(sealed)
        #expect(throws: FormatError("chunk \(id)", .unknownVersion(2))) {
            try open(sealed, keys: keys, plainByteCount: 3)
        }
    }

    @Test func aWrongChunkIsNamedByBothIDs() throws {
        let keys = try Fixture().keys
        let sealed = try ChunkSealer(keys: keys).seal([1, 2, 3], as: .extent)
        let other = try ChunkSealer(keys: keys).seal([4, 5, 6], as: .extent)
        let expected = FormatError(
            "chunk \(sealed.id)", .wrongHash(expected: sealed.id.description, actual: other.id.description))
        #expect(throws: expected) {
            try ChunkOpener(keys: keys).open(
                other.bytes.span.bytes, as: .extent, expecting: sealed.id, plainByteCount: 3)
        }
    }
}
