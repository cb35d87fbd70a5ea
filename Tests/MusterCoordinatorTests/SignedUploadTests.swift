import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import MusterTransfer
import SwiftProtobuf
import Testing

@testable import MusterCoordinator

/// With a folder and a real SeaweedFS.
@Suite("Packs that go straight into a store", .timeLimit(.minutes(10)))
struct SignedUploadTests {
    /// - Parameter settings: lines for the coordinator's configuration.
    private static func serve(
        settings: String = "", _ body: @escaping @Sendable (Server) async throws -> Void
    ) async throws {
        let rig = try await Rig(stores: 1, placement: "replicas: 2")
        let text = try String(contentsOfFile: rig.place.settings, encoding: .utf8)
        try PrivateFile.write(text + settings, to: rig.place.settings)
        try await rig.serve { server in
            let s3 = try S3Server.seaweed.get()
            let (coordinator, now) = (server.service.coordinator, server.rig.clock.now())
            let address = try s3.address("grants-\(UUID().uuidString)")
            _ = try await coordinator.opening.reach.make(
                .s3(address), name: "bucket", S3Access(credentials: try s3.credentials()), now: now)
            let entry = try await coordinator.catalog.add(store: "bucket", url: address.description, at: now)
            // As the probe finds it, which takes its time.
            let proven = StoreFeature.signedUploads.needs.map { capability in
                Catalog.ProbeFinding(capability: capability.rawValue, isHeld: true, detail: "")
            }
            try await coordinator.catalog.record(probe: proven, ofStore: entry.number, at: now)
            coordinator.stores.put(try coordinator.opening.connect(entry))
            try await body(server)
        }
    }

    private static func ask(_ server: Server, _ node: TestNode, _ packs: [(PackID, Int)]) async throws -> Peer.Answer {
        var request = Muster_V1_UploadRequest()
        request.packs = packs.map { pack in
            Muster_V1_UploadPack.with { ($0.id, $0.sizeBytes) = (Data(pack.0.bytes), UInt64(pack.1)) }
        }
        return try await server.peer(node).tryPost(.agent, "/v1/uploads", request)
    }

    private static func ask(_ server: Server, _ node: TestNode, _ bytes: [UInt8]) async throws -> Muster_V1_Upload {
        let answer = try await ask(server, node, [(SHA256Hasher.hash(bytes), bytes.count)])
        try #require(answer.status == 200, "\(answer.error)")
        return try #require(try Muster_V1_UploadResponse(serializedBytes: answer.body).uploads.first)
    }

    private static func put(_ bytes: [UInt8], _ upload: Muster_V1_Upload) async throws -> SignedPutSender.Outcome {
        let sender = try SignedPutSender(authority: nil, takesLoopback: true, connectTimeout: .seconds(100))
        defer { sender.shutdown() }
        let place = SignedPut(
            url: upload.url, headers: upload.headers, expiresAt: try #require(Timestamp(upload.expiresAt)))
        return try await sender.put(bytes, to: place, stallTimeout: .seconds(100))
    }

    private static func claim(
        _ server: Server, _ node: TestNode, _ pack: PackID, _ grant: String
    ) async throws -> Peer.Answer {
        try await server.peer(node).tryPost(
            .agent, "/v1/packs/\(pack)/claim", Muster_V1_PackClaim.with { $0.grant = grant })
    }

    /// The coordinator's own scrub comes by too.
    private static func scrub(
        _ server: Server, until pack: PackID, of node: TestNode, isProvenIn store: OpenStore
    ) async throws {
        let coordinator = server.service.coordinator
        var passed = ScrubService.PassedOver()
        for _ in 0..<20_000 {
            let replicas = try await coordinator.catalog.replicas(of: pack, in: node.scope)
            if try #require(replicas.first { $0.store == store.number }).isProven { return }
            _ = try await ScrubService(coordinator: coordinator).scrubBatch(
                of: store, CopyPace(bytesPerSecond: 0, clock: server.rig.clock), &passed)
        }
        throw Unexpected("the scrub does not come to the pack")
    }

    /// A pack's bytes with another directory, and the right id for them.
    private static func changed(_ pack: Pack, at offset: Int) -> (id: PackID, bytes: [UInt8]) {
        var bytes = pack.bytes
        bytes[offset] ^= 1
        return (SHA256Hasher.hash(bytes), bytes)
    }

    @Test func noAddressIsGivenBeyondTheQuota() async throws {
        try await Self.serve(settings: "quota: {node_gib: 1}\n") { server in
            let (catalog, node) = (server.service.coordinator.catalog, try await server.makeNode())
            let (known, coming) = (try node.makeSnapshot().pack, try node.makeSnapshot(seed: 2).pack)
            try await catalog.add(
                Catalog.NewPack(
                    id: known.id, scope: node.scope, sizeBytes: 1 << 30, replicas: [(1, "00000000000000aa")], chunks: []
                ),
                now: server.rig.clock.now())
            let refused = try await Self.ask(server, node, [(coming.id, coming.bytes.count)])
            #expect(refused.status == 507 && refused.code == "quota_reached")
            let healing = try await Self.ask(server, node, [(known.id, known.bytes.count)])
            #expect(healing.status == 200, "it counts already")
        }
    }

    @Test func aPackIsPutClaimedCommittedAndProven() async throws {
        try await Self.serve { server in
            let (coordinator, node) = (server.service.coordinator, try await server.makeNode())
            let snapshot = try node.makeSnapshot(extents: 8)
            let pack = snapshot.pack
            let upload = try await Self.ask(server, node, pack.bytes)
            #expect(upload.store == "bucket" && upload.authority.isEmpty)
            #expect(!upload.url.contains("only-for-this-machine"))
            let expires = try #require(Timestamp(upload.expiresAt))
            #expect(expires <= server.rig.clock.now() + .seconds(900))
            #expect(try await Self.put(pack.bytes, upload) == .put)
            #expect(try await server.peer(node).commit(snapshot.manifest).code == "packs_missing", "it is not claimed")
            for _ in 0..<2 {
                let answer = try await Self.claim(server, node, pack.id, upload.grant)
                #expect(answer.status == 200, "\(answer.error)")
                let accepted = try Muster_V1_PackAccepted(serializedBytes: answer.body)
                #expect(accepted.id == "\(pack.id)" && accepted.sizeBytes == UInt64(pack.bytes.count))
            }
            #expect(try await server.peer(node).commit(snapshot.manifest).status == 200)
            let receipt = try #require(try await coordinator.catalog.snapshot(snapshot.id))
            let bucket = try #require(coordinator.stores.store(named: "bucket"))
            #expect(receipt.replicas.contains { $0.store == bucket.number }, "the receipt waits for no copy")
            #expect(try await Self.ask(server, node, pack.bytes).isPresent)

            try await Self.scrub(server, until: pack.id, of: node, isProvenIn: bucket)
            let ids = pack.entries.map(\.id)
            let present = try await coordinator.catalog.presentChunks(
                ids, in: node.scope, now: server.rig.clock.now())
            #expect(present.count == 8, "the map is no extent chunk")
            var copied: [StoredObject] = []
            for round in 0..<20_000 where copied.isEmpty {
                copied = try await server.rig.store(1).objects(.packs, maximumCount: 10)
                // What was tried in vain is due later by this clock, which must not run ahead of SeaweedFS's own.
                if round.isMultiple(of: 200) { server.rig.clock.advance(by: .seconds(1)) }
            }
            #expect(copied.map(\.byteCount) == [UInt64(pack.bytes.count)])
        }
    }

    @Test func aNodeThatLiesIsRefused() async throws {
        try await Self.serve { server in
            let node = try await server.makeNode()
            let pack = try node.makeSnapshot(extents: 8).pack
            let upload = try await Self.ask(server, node, pack.bytes)
            // Other bytes: the store refuses them, and then there is nothing to claim.
            let outcome = try await Self.put(pack.bytes.map { ~$0 }, upload)
            guard case .refused = outcome else { throw Unexpected("\(outcome)") }
            #expect(try await Self.claim(server, node, pack.id, upload.grant).code == "not_uploaded")
            // Another node's grant, an invented one, another pack's.
            let stranger = try await server.makeNode("beta")
            #expect(try await Self.put(pack.bytes, upload) == .put)
            #expect(try await Self.claim(server, stranger, pack.id, upload.grant).code == "no_grant")
            #expect(try await Self.claim(server, node, pack.id, "00000000000000aa").code == "no_grant")
            let other = try node.makeSnapshot(extents: 8, seed: 2).pack
            #expect(try await Self.claim(server, node, other.id, upload.grant).code == "no_grant")
            // What is no pack, though its hash is right; and one whose directory contradicts itself.
            let directory = pack.bytes.count - 16 - pack.entries.count * 40
            for (id, bytes) in [
                (SHA256Hasher.hash([UInt8](repeating: 7, count: 5000)), [UInt8](repeating: 7, count: 5000)),
                Self.changed(pack, at: directory + 32), Self.changed(pack, at: 0),
                Self.changed(pack, at: pack.bytes.count - 12), (SHA256Hasher.hash([1]), [1]),
            ] as [(PackID, [UInt8])] {
                let upload = try await Self.ask(server, node, bytes)
                #expect(try await Self.put(bytes, upload) == .put)
                let answer = try await Self.claim(server, node, id, upload.grant)
                #expect(answer.status == 400, "\(answer.error)")
                let coordinator = server.service.coordinator
                #expect(try await !coordinator.catalog.hasPack(id, in: node.scope))
            }
        }
    }

    /// The ids in its directory are not those of its chunks: only reading all of it shows that.
    @Test func aDirectoryThatNamesOtherChunksIsFoundByTheFirstScrub() async throws {
        try await Self.serve { server in
            let (coordinator, node) = (server.service.coordinator, try await server.makeNode())
            let honest = try node.makeSnapshot(extents: 8)
            let directory = honest.pack.bytes.count - 16 - honest.pack.entries.count * 40
            let (id, bytes) = Self.changed(honest.pack, at: directory)
            let upload = try await Self.ask(server, node, bytes)
            #expect(try await Self.put(bytes, upload) == .put)
            #expect(try await Self.claim(server, node, id, upload.grant).status == 200)
            let bucket = try #require(coordinator.stores.store(named: "bucket"))
            try await Self.scrub(server, until: id, of: node, isProvenIn: bucket)
            #expect(try await coordinator.catalog.replicas(of: id, in: node.scope).map(\.state) == [.damaged])
            let ids = honest.pack.entries.map(\.id)
            let now = server.rig.clock.now()
            #expect(try await coordinator.catalog.presentChunks(ids, in: node.scope, now: now).isEmpty)
            let packs = PackChanges(added: [id, honest.pack.id])
            let manifest = try node.makeSnapshot(extents: 8) { part in
                (part.packs, part.packsSinceParent) = (packs, packs)
            }.manifest
            #expect(try await server.peer(node).put(honest.pack).status == 200)
            let refused = try await server.peer(node).commit(manifest)
            #expect(refused.code == "packs_missing" && refused.error.missingPacks == ["\(id)"], "\(refused.error)")
            // Through the coordinator it gets no further.
            #expect(try await server.peer(node).put(id, bytes).status == 400)
        }
    }

    @Test func addressesAreBounded() async throws {
        try await Self.serve { server in
            let node = try await server.makeNode()
            func wishes(_ count: Int, _ seed: Int) -> [(PackID, Int)] {
                (0..<count).map { (SHA256Hasher.hash(Array("\(seed) \($0)".utf8)), 5000) }
            }
            var granted = 0
            for round in 0..<5 {
                let answer = try await Self.ask(server, node, wishes(16, round))
                let uploads = try Muster_V1_UploadResponse(serializedBytes: answer.body).uploads
                #expect(uploads.count == 16)
                granted += uploads.count { !$0.url.isEmpty }
            }
            #expect(granted == Coordinator.openGrants)
            let other = try await server.makeNode("beta")
            #expect(try await !Self.ask(server, other, [1, 2, 3]).url.isEmpty)
            #expect(try await Self.ask(server, other, wishes(17, 9)).code == "malformed")
            #expect(try await Self.ask(server, other, []).code == "malformed")
            #expect(try await Self.ask(server, other, wishes(1, 9) + wishes(1, 9)).code == "malformed")
            let id: PackID = SHA256Hasher.hash([1])
            #expect(try await Self.ask(server, other, [(id, Format.maximumPackBytes + 1)]).code == "too_large")
            #expect(try await Self.ask(server, other, [(id, 0)]).code == "too_large")
        }
    }

    private static func offers(_ server: Server, _ node: TestNode) async throws -> Bool {
        let answer = try await Self.ask(server, node, [(SHA256Hasher.hash([1]), 5000)])
        let response = try Muster_V1_UploadResponse(serializedBytes: answer.body)
        #expect(response.uploads.isEmpty == (response.askAgainAfterSeconds > 0))
        return !response.uploads.isEmpty
    }

    @Test func withoutProofOrAgainstTheSettingsThereAreNone() async throws {
        try await Self.serve(settings: "signed_uploads: off\n") { server in
            let node = try await server.makeNode()
            #expect(try await !Self.offers(server, node))
        }
        try await Self.serve { server in
            let (coordinator, node) = (server.service.coordinator, try await server.makeNode())
            #expect(try await Self.offers(server, node))
            let bucket = try #require(coordinator.stores.store(named: "bucket"))
            server.rig.clock.advance(by: .seconds(1))
            try await coordinator.catalog.record(
                probe: [.init(capability: "create-only", isHeld: false, detail: "a second put replaced an object")],
                ofStore: bucket.number, at: server.rig.clock.now())
            #expect(try await !Self.offers(server, node), "the newest probe counts")
        }
        try await Self.serve { server in
            let (coordinator, node) = (server.service.coordinator, try await server.makeNode())
            func isOffered() async throws -> Bool { try await coordinator.uploadTarget(of: node.id) != nil }
            server.rig.clock.advance(by: Coordinator.probeLasts - .seconds(1))
            #expect(try await isOffered())
            server.rig.clock.advance(by: .seconds(1))
            #expect(try await !isOffered(), "what was proven a month ago is not relied on")
            // A clock that was set back does not make it young for ever.
            server.rig.clock.advance(by: .zero - Coordinator.probeLasts - .seconds(86_400))
            #expect(try await !isOffered())
        }
    }
}
