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

@Suite("Damage that turns up outside an inspection")
struct DamageTests {
    private let rig: Rig

    init() async throws { rig = try await Rig() }

    /// The number of the pack's chunks that need not be sent again.
    private static func presentChunks(_ server: Server, _ node: TestNode, _ pack: Pack) async throws -> Int {
        var request = Muster_V1_MissingRequest()
        for entry in pack.entries { request.chunkIds.append(contentsOf: entry.id.bytes) }
        let answer: Muster_V1_MissingResponse = try await server.peer(node).post(
            .agent, "/v1/chunks/missing", request)
        return answer.present.count
    }

    private func packFile() async throws -> URL {
        let object = try #require(try await rig.store().objects(.packs, maximumCount: 10).first)
        return URL(filePath: rig.place.store + "/" + object.name.description)
    }

    @Test func aPackThatAReaderMissedCountsAsMissing() async throws {
        try await rig.serve { server in
            let node = try await server.makeNode()
            let peer = server.peer(node)
            let pack = try node.makeSnapshot(extents: 3).pack
            #expect(try await peer.put(pack).status == 200)
            #expect(try await Self.presentChunks(server, node, pack) == 3)
            try FileManager.default.removeItem(at: try await packFile())
            #expect(try await peer.send(.agent, .get, "/v1/packs/\(pack.id)").status == 404)
            #expect(try await Self.presentChunks(server, node, pack) == 0)
            #expect(try await peer.put(pack).status == 200)
            #expect(try await peer.send(.agent, .get, "/v1/packs/\(pack.id)").body == pack.bytes)
        }
    }

    @Test(arguments: [true, false])
    func aPackThatIsSentAgainIsDroppedOnlyWhereItIsStored(isInline: Bool) async throws {
        try await rig.serve { server in
            let node = try await server.makeNode()
            let peer = server.peer(node)
            let snapshot = try node.makeSnapshot()
            #expect(try await peer.put(snapshot.pack).status == 200)
            try FileManager.default.removeItem(at: try await packFile())
            if isInline {
                #expect(try await peer.commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            } else {
                #expect(try await peer.put(snapshot.pack).status == 200)
            }
            #expect(try await peer.send(.agent, .get, "/v1/packs/\(snapshot.pack.id)").body == snapshot.pack.bytes)
        }
    }

    @Test(arguments: [true, false])
    func whatANodeFoundIsLookedAtAndNotBelieved(isDamaged: Bool) async throws {
        try await rig.serve { server in
            let node = try await server.makeNode()
            let peer = server.peer(node)
            let snapshot = try node.makeSnapshot(extents: 3)
            #expect(try await peer.put(snapshot.pack).status == 200)
            #expect(try await peer.commit(snapshot.manifest).status == 200)
            if isDamaged {
                let file = try await packFile()
                var bytes = try Data(contentsOf: file)
                bytes[bytes.count / 2] ^= 1
                try FileManager.default.removeItem(at: file)
                try bytes.write(to: file)
            }
            let path = try await Self.jobToVerify(snapshot.id, server, peer)
            var outcome = Muster_V1_JobOutcome()
            (outcome.state, outcome.snapshotID) = ("done", SnapshotID(from: .system).description)
            outcome.failed = [.with { ($0.object, $0.reason) = ("pack \(snapshot.pack.id)", "it does not open") }]
            #expect(try await peer.tryPost(.agent, path, outcome).status == 400, "no snapshot of the database")
            outcome.snapshotID = snapshot.id.description
            #expect(try await peer.tryPost(.agent, path, outcome).status == 200)
            if isDamaged {
                for _ in 0..<20_000 where try await Self.presentChunks(server, node, snapshot.pack) > 0 {}
            } else {
                let coordinator = server.service.coordinator
                for replica in try await coordinator.catalog.replicas(of: snapshot.pack.id, in: nil) {
                    try await coordinator.look(into: .pack(replica.pack, replica.store))
                }
            }
            #expect(try await Self.presentChunks(server, node, snapshot.pack) == (isDamaged ? 0 : 3))
        }
    }

    /// Asks for a snapshot to be verified, and lets its node take the job up.
    ///
    /// - Returns: where the outcome goes.
    private static func jobToVerify(_ snapshot: SnapshotID, _ server: Server, _ peer: Peer) async throws -> String {
        var request = Muster_V1_VerificationRequest()
        (request.level, request.snapshotIds) = ("verify", [snapshot.description])
        let _: Muster_V1_Verification = try await server.asAdmin.post(.admin, "/v1/verifications", request)
        let work: Muster_V1_WorkResponse = try await peer.post(
            .agent, "/v1/work", Muster_V1_WorkRequest.with { $0.bootID = "one" })
        return "/v1/jobs/\(try #require(work.jobs.first).id)/outcome"
    }

    /// Of a job that is closed an outcome has nothing read: it may come as often as a node likes.
    @Test func whatComesOfAClosedJobIsNotLookedAt() async throws {
        try await rig.serve { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot()
            let peer = server.peer(node)
            #expect(try await peer.commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            let path = try await Self.jobToVerify(snapshot.id, server, peer)
            var outcome = Muster_V1_JobOutcome()
            outcome.state = "done"
            #expect(try await peer.tryPost(.agent, path, outcome).status == 200)
            outcome.failed = [.with { ($0.object, $0.reason) = ("pack \(snapshot.pack.id)", "it does not open") }]
            #expect(try await peer.tryPost(.agent, path, outcome).status == 200)
            let coordinator = server.service.coordinator
            for replica in try await coordinator.catalog.replicas(of: snapshot.pack.id, in: nil) {
                let suspicion = Suspicion.pack(replica.pack, replica.store)
                #expect(coordinator.suspicions.add(suspicion, by: "test", now: rig.clock.now()), "nobody suspects it")
            }
            let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(snapshot.id)")
            #expect(shown.verdict == "passed verify")
        }
    }

    @Test(arguments: [("äöü", 4, "äö"), ("äöü", 3, "ä"), ("a\u{301}\u{301}", 3, "a\u{301}"), ("abc", 9, "abc")])
    func aTextIsCutByItsBytes(text: String, byteCount: Int, cut: String) {
        #expect(Array(text.cut(byteCount).utf8) == Array(cut.utf8))
    }
}
