import Testing

@testable import MusterFormat
@testable import MusterModel

@Suite("No parser traps on what it is given")
struct FuzzTests {
    /// Changes a few bytes, cuts, doubles or inserts.
    private func mutate(_ bytes: [UInt8], _ generator: inout SplitMix) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
            let at = Int.random(in: 0..<bytes.count, using: &generator)
            switch Int.random(in: 0..<5, using: &generator) {
            case 0: bytes[at] = [0, 1, 0x7f, 0x80, 0xff].randomElement(using: &generator) ?? 0
            case 1: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 2: bytes.removeSubrange(at..<min(at + 3, bytes.count))
            case 3: bytes.insert(contentsOf: [0xff, 0xff, 0xff, 0x0f], at: at)
            default: bytes.insert(contentsOf: bytes[at..<min(at + 40, bytes.count)], at: at)
            }
        }
        return bytes
    }

    @Test func mutatedBytesAreTakenOrRefused() throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("FuzzTests seed \(seed)")
        var generator = SplitMix(state: seed)
        let fixture = try Fixture()
        let snapshot = try SmallSnapshot(fixture)
        let manifest = try snapshot.manifest(fixture)
        let receipt = try Receipt(
            manifest: manifest, receivedAt: Timestamp(microseconds: 0), stores: ["s"], coordinatorEpoch: 1
        ).signed(by: fixture.coordinator)
        let sealedPlain = try snapshot.sealedPart.encoded(in: snapshot.geometry, object: "it")
        let chain = try ChainFixture()
        let (inline, chunked) = (chain.deltas[0].manifest, chain.deltas[1].manifest)
        let deltaPlain = try inline.openSealedPart(with: fixture.keys).encoded(
            in: inline.publicPart.geometry, object: "it")
        let chunkedPlain = try chunked.openSealedPart(with: fixture.keys).encoded(
            in: chunked.publicPart.geometry, object: "it")
        let reference = MapChangesReference(
            extents: 0...2, place: snapshot.mapReference.place, plainByteCount: 100)
        let frame = try chain.difference(Fixture.page(2, size: 512), from: Fixture.page(1, size: 512))
        let differences = DifferenceChunk.encode(frames: [frame, frame])
        let differencer = PageDifferencer()
        let (grant, grantKey) = (try GrantFixture(fixture).foreign(), try GrantFixture(fixture).key)
        for _ in 0..<4000 {
            let pack = mutate(snapshot.pack.bytes, &generator)
            swallow {
                let directory = try PackDirectory.read(of: snapshot.pack.id, packByteCount: pack.count) {
                    Array(pack[$0])
                }
                try directory.checkChunks { Array(pack[$0]) }
            }
            let bytes = mutate(manifest.bytes, &generator)
            swallow { _ = try Manifest.parse(bytes).claimed.openSealedPart(with: fixture.keys) }
            let record = mutate(receipt, &generator)
            swallow { _ = try Receipt.parse(record) }
            swallow { _ = try KeyRecord.parse(record) }
            let order = mutate(grant.bytes, &generator)
            swallow { _ = try RestoreGrant.parse(order).openSecret(with: grantKey) }
            let map = mutate(snapshot.mapPlain, &generator)
            swallow { _ = try MapDecoder(snapshot.publicPart).group(from: map, of: snapshot.mapReference) }
            let delta = mutate(deltaPlain, &generator)
            swallow { _ = try ManifestSealedPart.parse(delta, of: inline.publicPart, object: "it") }
            let references = mutate(chunkedPlain, &generator)
            swallow { _ = try ManifestSealedPart.parse(references, of: chunked.publicPart, object: "it") }
            let changes = mutate(chain.deltas[1].mapPlains[1], &generator)
            swallow { _ = try MapDecoder(chunked.publicPart).changes(from: changes, of: reference) }
            let difference = mutate(differences, &generator)
            swallow { _ = try DifferenceChunk.frames(in: difference, count: 2) }
            let changed = mutate(frame, &generator)
            swallow {
                var page = [UInt8](repeating: 0, count: 512)
                var span = page.mutableSpan
                var output = span.mutableBytes
                try differencer.apply(changed.span.bytes, to: nil, into: &output)
            }
            let part = mutate(sealedPlain, &generator)
            swallow { _ = try ManifestSealedPart.parse(part, of: snapshot.publicPart, object: "it") }
        }
    }

    /// What it threw does not matter here: a trap would have ended the process.
    private func swallow(_ body: () throws -> Void) {
        do {
            try body()
        } catch {
            #expect(error is FormatError)
        }
    }
}

/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators".
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
