import MusterAPI
import MusterFormat
import MusterModel
import Testing

@testable import MusterCoordinator

@Suite("Settings that ask for more than the stores give", .timeLimit(.minutes(10)))
struct PlacementAlarmTests {
    @Test func theyAreToldAndEndWithTheirCause() async throws {
        let rig = try await Rig(stores: 1, placement: "replicas: 3, before_receipt: 2")
        try await rig.serve { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot()
            let refused = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            #expect(refused.status == 503 && refused.code == "no_store", "\(refused.error)")
            func told() async throws -> Muster_V1_Status { try await server.asAdmin.get(.admin, "/v1/status") }
            let before = try await told()
            let alarm = try #require(before.alarms.first { $0.kind == "store" })
            #expect(alarm.summary == "a receipt waits for 2 stores, and the fleet has 1")
            #expect(alarm.severity == "critical" && alarm.hint.contains("before_receipt"))
            #expect(before.alarms.contains { $0.kind == "debt" && $0.summary.contains("3 replicas are wanted") })

            var request = Muster_V1_StoreAddRequest()
            (request.name, request.url) = ("second", rig.folder(2))
            let _: Muster_V1_StoreList = try await server.asAdmin.post(.admin, "/v1/stores", request)
            let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            #expect(answer.status == 200, "\(answer.error)")
            try await ReplicationTests.settle(server)
            let after = try await told()
            #expect(!after.alarms.contains { $0.kind == "store" })
            #expect(after.alarms.contains { $0.kind == "debt" && $0.summary.contains("3 replicas are wanted") })
            #expect(after.heldReplicas == 2 && after.wantedReplicas == 3)
            let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(snapshot.id)")
            #expect(shown.replicas.count == 2 && shown.wantedReplicas == 3)
        }
    }
}
