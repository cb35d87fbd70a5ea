import Foundation
import Synchronization
import Testing

@testable import MusterFormat
@testable import MusterModel

/// Fixed keys and a small database in one pack, the same in every run.
struct Fixture {
    let scope: ScopeID
    let secret: ScopeSecret
    let keys: ScopeKeys
    let signer: SigningKey
    let coordinator: SigningKey
    let recovery: RecoveryKey

    init() throws {
        scope = try #require(ScopeID(bytes: [UInt8](repeating: 0x55, count: 16)))
        secret = try #require(ScopeSecret(bytes: Array(UInt8(0)..<32)))
        keys = ScopeKeys(secret: secret, scope: scope, epoch: 1)
        signer = try #require(SigningKey(privateBytes: Array(UInt8(32)..<64)))
        coordinator = try #require(SigningKey(privateBytes: Array(UInt8(64)..<96)))
        recovery = try #require(RecoveryKey(privateBytes: Array(UInt8(96)..<128)))
    }

    /// 32 bytes from a counter, again and again: random enough, and an independent reader can make them too.
    static func random(_ label: String) -> RandomSource {
        let counter = Mutex<UInt32>(0)
        return RandomSource { count in
            var bytes: [UInt8] = []
            while bytes.count < count {
                let number = counter.withLock { value in
                    value += 1
                    return value
                }
                bytes += SHA256Hasher.hash(Array(label.utf8) + littleEndianBytes(number), as: PageHash.self).bytes
            }
            return Array(bytes.prefix(count))
        }
    }

    func id<Kind>(_ byte: UInt8) throws -> Identifier<Kind> {
        try #require(Identifier<Kind>(bytes: [UInt8](repeating: byte, count: 16)))
    }

    /// Page `number` (from 1): every third one does not compress, the others do.
    static func page(_ number: UInt64, size: Int) -> [UInt8] {
        let label = Array("page".utf8) + littleEndianBytes(number)
        guard number.isMultiple(of: 3) else {
            let line = SHA256Hasher.hash(label, as: PageHash.self).bytes
            return Array((0..<size / 32).map { _ in line }.joined())
        }
        return (0..<UInt32(size / 32)).flatMap { block in
            SHA256Hasher.hash(label + littleEndianBytes(block), as: PageHash.self).bytes
        }
    }

    static func extent(_ extent: Int, of geometry: DatabaseGeometry) -> [UInt8] {
        (0..<geometry.pageCount(ofExtent: extent)).flatMap { page in
            Fixture.page(UInt64(extent * geometry.pagesPerExtent + page + 1), size: geometry.pageSize)
        }
    }
}

/// One full snapshot: ten pages of 512 bytes in three extents, all in one pack.
struct SmallSnapshot {
    let geometry: DatabaseGeometry
    let pack: Pack
    let mapPlain: [UInt8]
    let mapReference: MapGroupReference
    var publicPart: ManifestPublicPart
    var sealedPart: ManifestSealedPart

    init(_ fixture: Fixture) throws {
        geometry = try #require(DatabaseGeometry(pageSize: 512, pagesPerExtent: 4, pageCount: 10))
        let sealer = ChunkSealer(keys: fixture.keys)
        var builder = PackBuilder()
        var tree = ContentTree(geometry: geometry)
        var hasher = TreeHasher()
        var extents: [ExtentEntry] = []
        for extent in 0..<geometry.extentCount {
            let plain = Fixture.extent(extent, of: geometry)
            let hash = hasher.extentHash(of: plain.span.bytes, pageSize: geometry.pageSize)
            tree.append(hash)
            let entry = builder.append(try sealer.seal(plain, as: .extent))
            let place = ChunkPlace(entry, in: MapGroup.ownPack, keyEpoch: 1)
            extents.append(
                ExtentEntry(
                    extent: extent, place: place, pageCount: geometry.pageCount(ofExtent: extent), hash: hash))
        }
        mapPlain = try MapGroup(index: 0, extents: extents).encoded(in: geometry)
        let mapEntry = builder.append(try sealer.seal(mapPlain, as: .map))
        pack = builder.finish()
        mapReference = MapGroupReference(
            index: 0, place: ChunkPlace(mapEntry, in: pack.id, keyEpoch: 1), plainByteCount: mapPlain.count,
            hash: try #require(tree.groups.first))
        let packs = PackChanges(added: [pack.id])
        publicPart = ManifestPublicPart(
            snapshot: try fixture.id(1), node: try fixture.id(2), database: try fixture.id(3),
            databaseName: "orders \u{e9}\n'2'", lineage: try fixture.id(4), sequence: 0, parent: nil, base: nil,
            scope: fixture.scope, keyEpoch: 1, capturedBegin: Timestamp(microseconds: 1_700_000_000_000_000),
            capturedEnd: Timestamp(microseconds: 1_700_000_000_250_000), geometry: geometry,
            contentRoot: tree.contentRoot(), packs: packs, packsSinceParent: packs,
            labels: ["env": "production", "app": "shop"], captureMethod: .pinned, continuity: .scanned,
            sealedBytesAdded: UInt64(pack.bytes.count), storedBytes: UInt64(pack.bytes.count))
        sealedPart = ManifestSealedPart(
            sourcePath: "/srv/orders/orders.db", map: .groups([mapReference]),
            inventory: SourceInventory(
                userVersion: -7, applicationID: 42, schemaHash: SHA256Hasher.hash(Array("schema".utf8)),
                journalMode: "wal", autoVacuum: 0, encoding: 1, writerVersion: 3_040_001,
                tables: [.init(name: "orders", rowEstimate: 1000), .init(name: "lines", rowEstimate: 5000)]),
            sourceFingerprint: "inode 12 size 5120")
    }

    var groups: [MapGroupReference] {
        get { if case .groups(let groups) = sealedPart.map { groups } else { [] } }
        set { sealedPart.map = .groups(newValue) }
    }

    func manifest(_ fixture: Fixture) throws -> Manifest {
        try Manifest.make(
            publicPart: publicPart, sealedPart: sealedPart, keys: fixture.keys, signer: fixture.signer)
    }
}

/// Seals `content` as it stands, for tests that need seals which no sealer of ours would make.
func forgeSeal(_ content: [UInt8], type: UInt8, keys: ScopeKeys) throws -> [UInt8] {
    let kind = try #require(SealedKind(rawValue: type >> 4))
    let context = [Format.version, type] + keys.scope.bytes
    let pair = keys.pair(for: kind.purpose)
    let message =
        SHA256Hasher.hash(context, as: PageHash.self).bytes + [type] + littleEndianBytes(UInt64(content.count))
        + SHA256Hasher.hash(content, as: PageHash.self).bytes
    let nonce = Array(KeyDerivation.hmac(key: pair.nonceKey, message: message).prefix(12))
    var cipher = AuthenticatedCipher(key: pair.key)
    var output = [UInt8](repeating: 0, count: content.count + 16)
    content.withUnsafeBytes { input in
        output.withUnsafeMutableBytes { cipher.seal(input, nonce: nonce, context: context, into: $0) }
    }
    return [Format.version, type] + nonce + output
}

func zstdFrame(_ plain: [UInt8]) throws -> [UInt8] {
    var zstandard = Zstandard()
    var output = [UInt8](repeating: 0, count: plain.count + 1024)
    let count = plain.withUnsafeBytes { input in
        output.withUnsafeMutableBytes { zstandard.compress(input, into: $0) }
    }
    return Array(output.prefix(try #require(count)))
}

extension [UInt8] {
    /// Every copy of these bytes with one bit flipped.
    func forEachBitFlip(_ body: (_ flipped: [UInt8], _ bit: Int) throws -> Void) rethrows {
        for bit in 0..<count * 8 {
            var flipped = self
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            try body(flipped, bit)
        }
    }
}
