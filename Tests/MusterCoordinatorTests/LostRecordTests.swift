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

/// One store, in which a manifest or a key record turns bad: nobody else has it.
@Suite("Records that no store has any more")
struct LostRecordTests {
    /// Reads everything again, as the scrub does once it is due.
    static func scrub(_ server: Server, afterDays days: Int = 8) async throws {
        let coordinator = server.service.coordinator
        server.rig.clock.advance(by: .seconds(days * 86_400))
        let scrub = ScrubService(coordinator: coordinator)
        for store in coordinator.stores.all {
            var passed = ScrubService.PassedOver()
            while try await scrub.scrubBatch(of: store, CopyPace(bytesPerSecond: 0, clock: server.rig.clock), &passed) {
            }
            #expect(passed.count == 0)
        }
    }

    /// - Returns: how to make it good again.
    private static func flip(
        _ prefix: ObjectPrefix, naming text: String, _ server: Server
    ) async throws -> @Sendable () throws -> Void {
        let objects = try await server.rig.store().objects(prefix, maximumCount: 100)
        let name = try #require(objects.map(\.name.description).first { $0.contains(text) })
        let file = URL(filePath: server.rig.place.store + "/" + name)
        let sound = try Data(contentsOf: file)
        var bytes = sound
        bytes[bytes.count / 2] ^= 1
        try bytes.write(to: file)
        return { try sound.write(to: file) }
    }

    private static func losses(_ server: Server) async throws -> [Muster_V1_Alarm] {
        let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
        return status.alarms.filter { $0.kind == "lost" }
    }

    private static func state(of database: DatabaseID, _ server: Server) async throws -> ProvenState? {
        let coordinator = server.service.coordinator
        let found = try #require(try await coordinator.catalog.database(database))
        return try await coordinator.fleetScene().state(of: found)
    }

    private static func poll(_ peer: Peer) async throws -> Muster_V1_WorkResponse {
        try await peer.post(.agent, "/v1/work", Muster_V1_WorkRequest.with { $0.bootID = "one" })
    }

    @Test func aManifestIsNamedAndASnapshotIsMadeThatDoesWithoutIt() async throws {
        try await Rig.serve { server in
            var lineage = try await TestLineage.make(server, count: 3)
            let coordinator = server.service.coordinator
            let base = lineage.snapshots[0].id
            let heal = try await Self.flip(.manifests, naming: "\(base)", server)
            #expect(try await Self.losses(server).isEmpty)
            try await Self.scrub(server)

            let alarm = try #require(try await Self.losses(server).first)
            #expect(alarm.node == "alpha" && alarm.database == "app" && alarm.severity == "critical")
            #expect(alarm.summary.contains("manifest of snapshot \(base)") && alarm.summary.contains("3 snapshots"))
            #expect(alarm.summary.contains("\(lineage.snapshots[2].id)"), "the newest")
            #expect(try await Self.state(of: lineage.node.database, server) == .failing)

            try await coordinator.recallLostRecords(limit: 10)
            try await coordinator.recallLostRecords(limit: 10)
            #expect(try await Self.poll(server.peer(lineage.node)).jobs.map(\.kind) == ["snapshot"])
            let delta = try lineage.next(base: 2)
            #expect(
                try await server.peer(lineage.node).commit(delta.manifest, packs: [delta.pack.bytes]).code
                    == "base_missing")
            try await lineage.add(try lineage.next(base: nil), to: server)
            #expect(try await coordinator.catalog.lostManifests(limit: 10).isEmpty, "the present is whole again")
            #expect(try await Self.losses(server).map(\.summary) == [alarm.summary], "the past is not")

            try heal()
            try await Self.scrub(server)
            #expect(try await Self.losses(server).isEmpty)
            #expect(try await Self.state(of: lineage.node.database, server) != .failing)
        }
    }

    @Test func aKeyRecordIsNamedAndSentAgainByItsNode() async throws {
        try await Rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 1)
            let (node, coordinator) = (lineage.node, server.service.coordinator)
            let (peer, other) = (server.peer(node), server.peer(try await server.makeNode("beta")))
            try await coordinator.recallLostRecords(limit: 10)
            #expect(try await !Self.poll(peer).wantsKeys)
            _ = try await Self.flip(.nodes, naming: "\(node.id)", server)
            try await Self.scrub(server)

            let alarm = try #require(try await Self.losses(server).first)
            #expect(alarm.node == "alpha" && alarm.database.isEmpty && alarm.summary.contains("key record"))
            #expect(try await Self.state(of: node.database, server) == .failing)
            try await coordinator.recallLostRecords(limit: 10)
            #expect(try await !Self.poll(other).wantsKeys)
            #expect(try await Self.poll(peer).wantsKeys)
            #expect(try await !Self.poll(peer).wantsKeys, "asked once")

            let answer: Muster_V1_KeysAccepted = try await peer.post(
                .agent, "/v1/keys", try Self.record(of: node, server))
            #expect(answer.stores == 1)
            #expect(try await Self.losses(server).isEmpty)
            #expect(try await Self.state(of: node.database, server) != .failing)
            let read = try await server.asAdmin.send(.admin, .get, "/v1/nodes/alpha/keys")
            let key = try RecoveryKey(
                fileText: String(contentsOfFile: server.rig.place.recoveryKey, encoding: .utf8))
            let record = try KeyRecord.parse(read.body).verified(by: node.signer.verifyingKey)
            #expect(try record.openSecret(with: key).bytes == node.secret.bytes)

            let again: Muster_V1_KeysAccepted = try await peer.post(
                .agent, "/v1/keys", try Self.record(of: node, server))
            #expect(again.stores == 0)
            #expect(try await server.asAdmin.send(.admin, .get, "/v1/nodes/alpha/keys").body == read.body, "it stays")
        }
    }

    @Test func noOtherKeyRecordIsTaken() async throws {
        try await Rig.serve { server in
            let (node, other) = (try await server.makeNode(), try await server.makeNode("beta"))
            _ = try await Self.flip(.nodes, naming: "\(node.id)", server)
            try await Self.scrub(server)
            let sound = try Self.record(of: node, server)
            let stranger = Hex.encode(RecoveryKey(from: .system).publicKey.bytes)
            var broken = sound
            broken.keyRecord[80] ^= 1
            let refused = [
                try Self.record(of: other, server), broken, Muster_V1_KeysRequest(),
                try Self.record(of: node, server, recoveryKeys: [stranger]),
            ]
            for request in refused {
                #expect(try await server.peer(node).tryPost(.agent, "/v1/keys", request).status == 400)
            }
            #expect(try await server.asAdmin.send(.admin, .get, "/v1/nodes/alpha/keys").status != 200)
            #expect(try await server.peer(node).tryPost(.agent, "/v1/keys", sound).status == 200)
        }
    }

    private static func record(
        of node: TestNode, _ server: Server, recoveryKeys: [String]? = nil
    ) throws -> Muster_V1_KeysRequest {
        let own = server.service.coordinator.recoveryKeys.map { Hex.encode($0.bytes) }
        let token = JoinToken(
            url: "", authority: "", recoveryKeys: recoveryKeys ?? own, secret: "", nodeName: node.name, expiresAt: "")
        return try Muster_V1_KeysRequest.with { $0.keyRecord = try node.joinRequest(token).keyRecord }
    }
}
