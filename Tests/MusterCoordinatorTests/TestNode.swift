import Crypto
import Foundation
import MusterAPI
import MusterFormat
import MusterModel
import MusterTestSupport
import SwiftASN1
import X509

/// What a node's agent has: its keys, and how it makes packs and manifests.
struct TestNode: Sendable {
    let id = NodeID(from: .system)
    let name: String
    let scope = ScopeID(from: .system)
    let secret = ScopeSecret(from: .system)
    let signer = SigningKey(from: .system)
    let tlsKey = P256.Signing.PrivateKey()
    var keys: ScopeKeys
    let request: String
    let database = DatabaseID(from: .system)
    var certificate = ""
    var receiptKey = ""

    init(name: String) throws {
        self.name = name
        keys = ScopeKeys(secret: secret, scope: scope, epoch: 1)
        request = try Self.certificateRequest(tlsKey, id)
    }

    static func certificateRequest(_ key: P256.Signing.PrivateKey, _ id: NodeID) throws -> String {
        try CertificateSigningRequest(
            version: .v1, subject: try DistinguishedName { CommonName("\(id)") },
            privateKey: Certificate.PrivateKey(key), attributes: CertificateSigningRequest.Attributes(),
            signatureAlgorithm: .ecdsaWithSHA256
        ).serializeAsPEM().pemString
    }

    func joinRequest(_ token: JoinToken) throws -> Muster_V1_JoinRequest {
        let recipients = token.recoveryKeys.compactMap { Hex.decode($0).flatMap { RecoveryPublicKey(bytes: $0) } }
        var join = Muster_V1_JoinRequest()
        join.tokenSecret = token.secret
        join.nodeName = name
        join.nodeID = id.description
        join.certificateRequest = request
        join.keyRecord = Data(
            try KeyRecord.make(
                node: id, nodeName: name, secret: secret, scope: scope, keyEpoch: 1, recipients: recipients,
                signer: signer, random: .system))
        join.agentVersion = "test"
        return join
    }

    func renewRequest(signedAt: Timestamp) throws -> Muster_V1_RenewRequest {
        var renew = Muster_V1_RenewRequest()
        renew.nodeID = id.description
        renew.certificateRequest = try Self.certificateRequest(P256.Signing.PrivateKey(), id)
        renew.signedAt = signedAt.description
        let signed = Array("\(renew.nodeID)\0\(renew.signedAt)\0\(renew.certificateRequest)".utf8)
        renew.signature = Data(signer.sign(signed, as: .renewal))
        return renew
    }

    /// One snapshot of `extents` extents of 64 KiB, all in one pack.
    ///
    /// - Parameter seed: the same seed gives the same bytes.
    func makeSnapshot(
        extents: Int = 1, seed: UInt64 = 1, after parent: Manifest? = nil,
        change: (inout ManifestPublicPart) -> Void = { _ in }
    ) throws -> TestSnapshot {
        guard let geometry = DatabaseGeometry(pageSize: 4096, pagesPerExtent: 16, pageCount: UInt64(extents * 16))
        else { throw Unexpected("geometry") }
        let sealer = ChunkSealer(keys: keys)
        var builder = PackBuilder()
        var tree = ContentTree(geometry: geometry)
        var hasher = TreeHasher()
        let random = RandomSource.seeded(seed)
        var entries: [ExtentEntry] = []
        for extent in 0..<extents {
            let plain = random.bytes(geometry.extentBytes)
            let hash = hasher.extentHash(of: plain.span.bytes, pageSize: geometry.pageSize)
            tree.append(hash)
            let place = ChunkPlace(
                builder.append(try sealer.seal(plain, as: .extent)), in: MapGroup.ownPack, keyEpoch: 1)
            entries.append(ExtentEntry(extent: extent, place: place, pageCount: 16, hash: hash))
        }
        let map = try MapGroup(index: 0, extents: entries).encoded(in: geometry)
        let mapEntry = builder.append(try sealer.seal(map, as: .map))
        let built = builder.finish()
        guard let group = tree.groups.first else { throw Unexpected("one group") }
        let reference = MapGroupReference(
            index: 0, place: ChunkPlace(mapEntry, in: built.id, keyEpoch: 1), plainByteCount: map.count, hash: group)
        let isShared = parent.map { $0.publicPart.packs.added.contains(built.id) } ?? false
        let packs = PackChanges(added: [built.id])
        var part = ManifestPublicPart(
            snapshot: SnapshotID(from: .system), node: id, database: database, databaseName: "app",
            lineage: parent?.publicPart.lineage ?? LineageID(from: .system),
            sequence: parent.map { $0.publicPart.sequence + 1 } ?? 0,
            parent: parent.map { ManifestReference(snapshot: $0.publicPart.snapshot, manifest: $0.hash) }, base: nil,
            scope: scope, keyEpoch: 1, capturedBegin: Timestamp(microseconds: 1_700_000_000_000_000),
            capturedEnd: Timestamp(microseconds: 1_700_000_000_250_000), geometry: geometry,
            contentRoot: tree.contentRoot(), packs: packs,
            packsSinceParent: parent == nil
                ? packs
                : isShared
                    ? PackChanges(added: [])
                    : PackChanges(added: [built.id], dropped: parent?.publicPart.packs.added ?? []),
            labels: ["env": "prod"], captureMethod: .pinned, continuity: .scanned,
            sealedBytesAdded: isShared ? 0 : UInt64(built.bytes.count), storedBytes: UInt64(built.bytes.count))
        change(&part)
        let manifest = try Manifest.make(
            publicPart: part,
            sealedPart: ManifestSealedPart(
                sourcePath: "/srv/app.db",
                map: part.isFull ? .groups([reference]) : .changes(MapChanges()),
                inventory: SourceInventory(
                    userVersion: 0, applicationID: 0, schemaHash: nil, journalMode: "wal", autoVacuum: 0, encoding: 1,
                    writerVersion: 3_040_001, tables: []),
                sourceFingerprint: "inode 1"),
            keys: keys, signer: signer)
        return TestSnapshot(pack: built, manifest: manifest)
    }
}

struct TestSnapshot: Sendable {
    let pack: Pack
    let manifest: Manifest

    var id: SnapshotID { manifest.publicPart.snapshot }
}
