import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterCoordinator

/// All snapshots of a lineage are based on the first: what that has lost must not keep the others where they are.
@Suite("Copies of a lineage of which a pack is lost")
struct LostPackCopyTests {
    private static func add(_ number: Int, _ server: Server) async throws {
        var request = Muster_V1_StoreAddRequest()
        (request.name, request.url) = ("store\(number)", server.rig.folder(number))
        let _: Muster_V1_StoreList = try await server.asAdmin.post(.admin, "/v1/stores", request)
    }

    /// Five snapshots in one store; the first one's pack, which no later one needs, is gone from it, and that is known.
    private static func makeLineage(_ server: Server) async throws -> TestLineage {
        var lineage = TestLineage(try await server.makeNode())
        for sequence in 0..<5 {
            let base = sequence == 0 ? nil : Int(ManifestChain.baseSequence(of: UInt64(sequence), lastFull: 0))
            try await lineage.add(try lineage.next(base: base, dropping: sequence == 1 ? [0] : []), to: server)
        }
        let lost = lineage.snapshots[0].pack
        let packs = try await server.rig.store(1).objects(.packs, maximumCount: 10)
        let object = try #require(packs.first { "\($0.name)".contains("\(lost.id)") })
        try FileManager.default.removeItem(atPath: server.rig.folder(1) + "/\(object.name)")
        #expect(try await server.peer(lineage.node).send(.agent, .get, "/v1/packs/\(lost.id)").status == 404)
        return lineage
    }

    private static func status(_ name: String, _ server: Server) async throws -> Muster_V1_StoreStatus {
        let list: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
        return try #require(list.stores.first { $0.name == name })
    }

    /// Waits until a store has so many snapshots, whatever else is wanted there.
    private static func wait(for count: UInt64, in store: String, _ server: Server) async throws {
        for _ in 0..<20_000 {
            if try await status(store, server).heldSnapshots == count { return }
            server.rig.clock.advance(by: .seconds(1))
        }
        throw Unexpected("the snapshots are not copied")
    }

    @Test func reachANewStoreAndTheLostOneIsNotedAsLacking() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            let lineage = try await Self.makeLineage(server)
            try await Self.add(2, server)
            let coordinator = server.service.coordinator
            let second = try #require(coordinator.stores.store(named: "store2"))
            try await Self.wait(for: 5, in: "store2", server)
            let lost = lineage.snapshots[0].pack
            let contents = try await ReplicationTests.contents(rig, 2)
            #expect(contents.count == 15, "all but the pack that is lost")

            // Nobody takes the store for whole.
            let number = try #require(try await coordinator.catalog.lostPacks(limit: 10).first { $0.id == lost.id })
                .number
            #expect(try await coordinator.catalog.isWanted(pack: number, in: second.number))
            let told = try await Self.status("store2", server)
            #expect(told.wantedCopies == 1 && told.badReplicas == 0)
            let found = try await InspectionTests.verify(server, "scrub", [lineage.snapshots[0]])
            #expect(Set(found.failed.map(\.store)) == ["main", "store2"])

            let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(status.heldReplicas == 10 && status.wantedReplicas == 10 && status.heldAtMost)

            // Its node has the bytes still.
            #expect(try await server.peer(lineage.node).put(lost).status == 200)
            try await ReplicationTests.settle(server)
            #expect(try await ReplicationTests.contents(rig, 2) == ReplicationTests.contents(rig, 1))
            #expect(try await ReplicationTests.contents(rig, 2).count == 16)
            let healed: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(healed.heldReplicas == 10 && !healed.heldAtMost)
        }
    }

    @Test func leaveADrainingStoreEmpty() async throws {
        let rig = try await Rig(stores: 1, placement: "replicas: 1")
        try await rig.serve { server in
            _ = try await Self.makeLineage(server)
            try await Self.add(2, server)
            let coordinator = server.service.coordinator
            var change = Muster_V1_StoreChangeRequest()
            change.placement = "draining"
            let _: Muster_V1_StoreList = try await server.asAdmin.post(.admin, "/v1/stores/main", change)
            try await Self.wait(for: 5, in: "store2", server)
            for _ in 0..<20_000 {
                let places = try await coordinator.surplusPlaces()
                for place in places { _ = try await coordinator.giveUpSurplus(place, pace: nil) }
                let main = try await Self.status("main", server)
                if places.isEmpty, main.heldSnapshots == 0, main.heldPacks == 0 { return }
                server.rig.clock.advance(by: .seconds(1))
            }
            Issue.record("it does not become empty")
        }
    }
}
