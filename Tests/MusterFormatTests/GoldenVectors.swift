import Foundation

@testable import MusterFormat
@testable import MusterModel

/// The files of `proto/vectors`, as today's code writes them. `proto/vectors/README.md` says what each shows.
enum GoldenVectors {
    /// Made once by an independent program (`read_vectors.py --make-difference`); the seal around it is ours.
    static let differencePlainName = "difference.plain"

    static func files(differencePlain: [UInt8]) throws -> [String: [UInt8]] {
        let fixture = try Fixture()
        let snapshot = try SmallSnapshot(fixture)
        let manifest = try snapshot.manifest(fixture)
        let receipt = Receipt(
            manifest: manifest, receivedAt: Timestamp(microseconds: 1_700_000_001_000_000),
            stores: ["main", "second"], coordinatorEpoch: 3)
        let text = fixture.recovery.fileText(comments: ["Keep this file offline."])
        var files = try chunks(fixture, differencePlain: differencePlain)
        files["keys.json"] = try json(keys(fixture))
        files["hash-tree.json"] = try json(try hashTrees())
        files["snapshot.pack"] = snapshot.pack.bytes
        files["snapshot.map.plain"] = snapshot.mapPlain
        files["snapshot.manifest"] = manifest.bytes
        files["snapshot.receipt"] = try receipt.signed(by: fixture.coordinator)
        files["node.keys"] = try KeyRecord.make(
            node: manifest.publicPart.node, nodeName: "db-1", secret: fixture.secret, scope: fixture.scope, keyEpoch: 1,
            recipients: [fixture.recovery.publicKey], signer: fixture.signer, random: Fixture.random("key record"))
        files["coordinator.sealed"] = try SealedRecord.make(
            Array("not really a CA key".utf8), name: "ca-key", coordinatorEpoch: 3,
            recipients: [fixture.recovery.publicKey], signer: fixture.coordinator,
            random: Fixture.random("sealed record"))
        files["recovery.key"] = Array(text.utf8)
        let grant = try GrantFixture(fixture)
        files["grant-keys.json"] = try json(grant.values)
        files["restore.grant"] = try grant.foreign().bytes
        files["restore-own.grant"] = try grant.own().bytes
        for (index, delta) in try ChainFixture().deltas.enumerated() {
            files["delta-\(index + 1).manifest"] = delta.manifest.bytes
            files["delta-\(index + 1).pack"] = delta.pack?.bytes
        }
        return files
    }

    private static func chunks(_ fixture: Fixture, differencePlain: [UInt8]) throws -> [String: [UInt8]] {
        let sealer = ChunkSealer(keys: fixture.keys)
        let pages = (UInt64(1)...4).map { Fixture.page($0, size: 512) }
        let plains: [(String, SealedKind, [UInt8])] = [
            ("chunk-extent-zstd", .extent, Array(pages.joined())),
            ("chunk-extent-stored", .extent, pages[2]),
            ("chunk-scatter-zstd", .scatter, pages[0] + pages[3]),
            ("chunk-scatter-stored", .scatter, pages[2]),
            ("chunk-difference", .difference, differencePlain),
        ]
        var files: [String: [UInt8]] = [:]
        var index: [[String: String]] = []
        for (name, kind, plain) in plains {
            let sealed = try sealer.seal(plain, as: kind)
            files[name + ".sealed"] = sealed.bytes
            index.append([
                "file": name + ".sealed", "kind": "\(kind.rawValue)", "id": sealed.id.description,
                "plain_length": "\(plain.count)", "plain_sha256": "\(SHA256Hasher.hash(plain, as: PageHash.self))",
            ])
        }
        files["chunks.json"] = try json(index)
        return files
    }

    private static func keys(_ fixture: Fixture) -> [String: String] {
        var values = [
            "scope_secret": Hex.encode(fixture.secret.bytes), "scope": fixture.scope.description, "key_epoch": "1",
            "node_signing_private": Hex.encode(fixture.signer.privateBytes),
            "node_signing_public": Hex.encode(fixture.signer.verifyingKey.bytes),
            "node_signing_key_id": fixture.signer.verifyingKey.id.description,
            "coordinator_signing_private": Hex.encode(fixture.coordinator.privateBytes),
            "coordinator_signing_public": Hex.encode(fixture.coordinator.verifyingKey.bytes),
            "recovery_private": Hex.encode(fixture.recovery.privateBytes),
            "recovery_public": Hex.encode(fixture.recovery.publicKey.bytes),
        ]
        for purpose in KeyPurpose.allCases {
            values["\(purpose.rawValue)_key"] = Hex.encode(fixture.keys.pair(for: purpose).key)
            values["\(purpose.rawValue)_nonce_key"] = Hex.encode(fixture.keys.pair(for: purpose).nonceKey)
        }
        return values
    }

    private struct Tree: Codable {
        var pageSize: Int
        var pagesPerExtent: Int
        var pageCount: UInt64
        var extents: [String]
        var groups: [String]
        var contentRoot: String
    }

    private static func hashTrees() throws -> [Tree] {
        try HashTreeTests.shapes.map { shape in
            guard
                let geometry = DatabaseGeometry(
                    pageSize: shape.pageSize, pagesPerExtent: shape.pagesPerExtent, pageCount: shape.pageCount)
            else { throw FormatError("shape", .malformed("geometry")) }
            var hasher = TreeHasher()
            var tree = ContentTree(geometry: geometry)
            let extents = (0..<geometry.extentCount).map { extent in
                let bytes = Fixture.extent(extent, of: geometry)
                return hasher.extentHash(of: bytes.span.bytes, pageSize: shape.pageSize)
            }
            for hash in extents { tree.append(hash) }
            return Tree(
                pageSize: shape.pageSize, pagesPerExtent: shape.pagesPerExtent, pageCount: shape.pageCount,
                extents: extents.map(\.description), groups: tree.groups.map(\.description),
                contentRoot: tree.contentRoot().description)
        }
    }

    private static func json(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return Array(try encoder.encode(value)) + [UInt8(ascii: "\n")]
    }
}
