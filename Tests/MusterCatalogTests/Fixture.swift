import Foundation
import MusterModel
import MusterTestSupport

@testable import MusterCatalog

/// A catalog in a folder of its own, with one store and as many nodes as a test asks for.
struct Fixture {
    let directory: TemporaryDirectory
    let catalog: Catalog
    let store: Catalog.StoreEntry
    let random = RandomSource.seeded(7)
    let clock = ManualClock()

    /// - Parameter isDurable: false for tests of many steps.
    init(isDurable: Bool = true, names: ObjectNames = Self.names) async throws {
        directory = try TemporaryDirectory()
        catalog = try Catalog(
            path: directory.file("catalog.db"), names: names, isDurable: isDurable, sha256: Self.mix)
        store = try await catalog.add(store: "main", url: "file:///a", at: clock.now())
    }

    /// Not those of a store: the catalog only keeps them.
    static let names = ObjectNames(
        pack: { "pack \($0) \($1)" }, manifest: { "manifest \($0.snapshot) \($1)" },
        receipt: { "receipt \($0.snapshot) \($1)" })

    /// Not SHA-256: the catalog only needs some hash, and gets it as a parameter.
    static let mix: @Sendable ([UInt8]) -> [UInt8] = { bytes in
        var state = [UInt8](repeating: 17, count: 32)
        for (index, byte) in bytes.enumerated() {
            state[index % 32] = state[index % 32] &* 31 &+ byte &+ UInt8(truncatingIfNeeded: index)
        }
        return state
    }

    func digest<Kind>(_ kind: Digest<Kind>.Type = Digest<Kind>.self) throws -> Digest<Kind> {
        try required(Digest<Kind>(bytes: random.bytes(32)))
    }

    func required<Value>(_ value: Value?) throws -> Value {
        guard let value else { throw Missing() }
        return value
    }

    struct Missing: Error {}

    /// Invites a node and lets it join.
    ///
    /// - Parameter hasKeys: its key record is in the store.
    func makeNode(_ name: String = "alpha", hasKeys: Bool = true) async throws -> Catalog.Node {
        let secret = random.bytes(32)
        let now = clock.now()
        _ = try await catalog.invite(
            secretHash: secret, nodeName: name, now: now, expiresAt: now + .seconds(600))
        let registration = try registration(name, secret: secret)
        _ = try await catalog.redeem(registration, now: now)
        if hasKeys {
            try await catalog.recordKeys(
                of: registration.node.id, in: store.number, object: registration.node.keyObject, byteCount: 100,
                quarantine: .zero, now: now)
        }
        return registration.node
    }

    func registration(_ name: String, secret: [UInt8]) throws -> Catalog.Registration {
        let node = Catalog.Node(
            id: NodeID(from: random), name: name, scope: ScopeID(from: random), signingKey: random.bytes(32),
            keyObject: "nodes/x/keys-1.0000000000000000", joinedAt: clock.now(), agentVersion: "1")
        return Catalog.Registration(
            secretHash: secret, requestHash: random.bytes(32), node: node,
            certificate: Catalog.Certificate(
                fingerprint: try digest(), role: .node, node: node.id, subject: name, issuedAt: clock.now(),
                notAfter: clock.now() + .seconds(30 * 86_400)),
            certificatePEM: "pem of \(name)")
    }

    func makePack(_ node: Catalog.Node, chunks: [Catalog.ChunkPlace] = [], size: Int64 = 1000) async throws -> PackID {
        let id: PackID = try digest()
        try await catalog.add(
            Catalog.NewPack(
                id: id, scope: node.scope, sizeBytes: size, replicas: [(store.number, "00000000000000aa")],
                chunks: chunks),
            now: clock.now())
        return id
    }

    /// The next commit with a full manifest after another such one, of a lineage of its own where there is none.
    ///
    /// - Parameter packs: all that it needs.
    func commit(
        _ node: Catalog.Node, after parent: Catalog.Commit? = nil, database: DatabaseID? = nil, packs: [PackID] = [],
        name: String = "app"
    ) throws -> Catalog.Commit {
        var commit = Catalog.Commit(
            snapshot: SnapshotID(from: random), node: node.id, scope: node.scope,
            database: parent?.database ?? database ?? DatabaseID(from: random), databaseName: name,
            lineage: parent?.lineage ?? LineageID(from: random), sequence: parent.map { $0.sequence + 1 } ?? 0,
            manifestHash: try digest(), manifestBytes: 500, createdAt: clock.now(), receivedAt: clock.now(),
            sizeBytes: 4096, contentRoot: try digest(), pageSize: 4096, pageCount: 1, method: "pinned")
        commit.parent = parent?.snapshot
        commit.parentManifest = parent?.manifestHash
        commit.packs = Catalog.PackChanges(added: packs)
        let before = parent?.packs.added ?? []
        commit.packsSinceParent = Catalog.PackChanges(
            added: packs.filter { !before.contains($0) }, dropped: before.filter { !packs.contains($0) })
        commit.receipt = random.bytes(40)
        commit.places = [(store.number, "00000000000000bb", "00000000000000cc")]
        return commit
    }

    func page(_ change: (inout Catalog.SnapshotQuery) -> Void = { _ in }) async throws -> [SnapshotID] {
        var query = Catalog.SnapshotQuery(limit: 100)
        change(&query)
        return try await catalog.snapshots(query).map(\.id)
    }
}
