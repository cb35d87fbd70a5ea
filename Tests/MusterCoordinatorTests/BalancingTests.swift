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

@Suite("Replicas move with the placement")
struct BalancingTests {
    private static func place(_ name: String, _ state: String, _ server: Server) async throws {
        var change = Muster_V1_StoreChangeRequest()
        change.placement = state
        let _: Muster_V1_StoreList = try await server.asAdmin.post(.admin, "/v1/stores/\(name)", change)
    }

    private static func add(_ number: Int, _ server: Server) async throws {
        var request = Muster_V1_StoreAddRequest()
        (request.name, request.url) = ("store\(number)", server.rig.folder(number))
        let _: Muster_V1_StoreList = try await server.asAdmin.post(.admin, "/v1/stores", request)
    }

    /// Gives up all that is surplus and can go. The coordinator does the same beside it.
    private static func balance(_ server: Server) async throws {
        let coordinator = server.service.coordinator
        for _ in 0..<20_000 {
            let places = try await coordinator.surplusPlaces()
            if places.isEmpty { return }
            for place in places { _ = try await coordinator.giveUpSurplus(place, pace: nil) }
            // What is in doubt is repaired meanwhile, by the catalog's clock.
            server.rig.clock.advance(by: .seconds(1))
        }
        throw Unexpected("surplus replicas stay")
    }

    /// Lets the time pass that readers have, and gc delete.
    private static func collect(_ server: Server) async throws {
        server.rig.clock.advance(by: .seconds(3601))
        try await server.service.coordinator.collectIfWanted()
    }

    private static func status(_ name: String, _ server: Server) async throws -> Muster_V1_StoreStatus {
        let list: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
        return try #require(list.stores.first { $0.name == name })
    }

    private static func replicas(_ server: Server, _ id: SnapshotID) async throws -> [String: Bool] {
        let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(id)")
        return Dictionary(
            uniqueKeysWithValues: shown.replicas.filter { $0.state == "present" }.map { ($0.store, $0.surplus) })
    }

    @Test func aDrainingStoreBecomesEmptyAndSaysSo() async throws {
        let rig = try await Rig(stores: 3)
        try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 6)
            try await ReplicationTests.settle(server)
            let keepers = server.service.coordinator.stores.keepers(of: lineage.node.id)
            let (leaving, staying) = (keepers[0], keepers[1])
            #expect(try await server.service.coordinator.surplusPlaces().isEmpty)
            let sound = try await ReplicationTests.contents(rig, Int(leaving.number))
            try await Self.place(leaving.name, "draining", server)
            let last = try #require(lineage.snapshots.last)
            let first = try await Self.replicas(server, last.id)
            #expect(first[leaving.name] ?? true && first[staying.name] == false)
            try await ReplicationTests.settle(server)
            let coming = server.service.coordinator.stores.keepers(of: lineage.node.id)
                .first { $0.number != staying.number }
            let came = try #require(coming)
            #expect(try await ReplicationTests.contents(rig, Int(came.number)) == sound)

            try await Self.balance(server)
            #expect(try await Self.replicas(server, last.id) == [came.name: false, staying.name: false])
            try await Self.collect(server)
            #expect(try await ReplicationTests.contents(rig, Int(leaving.number)).isEmpty)
            let status = try await Self.status(leaving.name, server)
            #expect(status.empty && status.heldSnapshots == 0 && status.placement == "draining")
            let run = try await InspectionTests.verify(server, "scrub", lineage.snapshots)
            #expect(run.failed.isEmpty && run.passed == 6)
            for store in [came, staying] {
                #expect(try await ReplicationTests.contents(rig, Int(store.number)) == sound)
            }
        }
    }

    /// To prove the other copies all of them may have to be read: no faster than the scrub reads.
    @Test func whatIsReadToProveACopyCountsForTheScrub() async throws {
        let rig = try await Rig(stores: 3)
        try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 3)
            try await ReplicationTests.settle(server)
            let coordinator = server.service.coordinator
            let staying = coordinator.stores.keepers(of: lineage.node.id)[1]
            try await Self.place(coordinator.stores.keepers(of: lineage.node.id)[0].name, "draining", server)
            try await ReplicationTests.settle(server)
            // All that was hashed is hashed too long ago.
            server.rig.clock.advance(by: .seconds(Int64(3 * coordinator.settings.scrub.everySeconds)))
            let before = coordinator.readingPace(of: staying).spentBytes
            try await Self.balance(server)
            let stored = lineage.snapshots.reduce(0) { $0 + $1.pack.bytes.count }
            #expect(coordinator.readingPace(of: staying).spentBytes >= before + stored)
        }
    }

    @Test func whatAnAddedStoreTakesOverGoesFromWhereItWas() async throws {
        let rig = try await Rig(stores: 1, placement: "replicas: 1")
        try await rig.serve { server in
            var lineages: [TestLineage] = []
            for name in ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"] {
                var lineage = TestLineage(try await server.makeNode(name))
                for base in [nil, 0] { try await lineage.add(try lineage.next(base: base), to: server) }
                lineages.append(lineage)
            }
            for number in 2...3 { try await Self.add(number, server) }
            try await ReplicationTests.settle(server)
            try await Self.balance(server)
            try await Self.collect(server)
            let coordinator = server.service.coordinator
            var places: Set<String> = []
            for lineage in lineages {
                let keeper = coordinator.stores.keepers(of: lineage.node.id)[0]
                places.insert(keeper.name)
                for snapshot in lineage.snapshots {
                    #expect(try await Self.replicas(server, snapshot.id) == [keeper.name: false])
                    let pack = try await server.peer(lineage.node).send(.agent, .get, "/v1/packs/\(snapshot.pack.id)")
                    #expect(pack.body == snapshot.pack.bytes)
                }
            }
            let held = try await (1...3).asyncMap { try await ReplicationTests.names(rig, $0).count }
            let total = held.reduce(0, +)
            #expect(total == 6 * 4, "each object once: \(held)")
            #expect(places.count > 1, "six nodes on one of three stores: \(places)")
        }
    }

    /// The wanted store has a bad copy that nobody knows of: it is found before the good one goes.
    @Test(arguments: ["gone", "flipped"])
    func aWantedCopyIsLookedAtBeforeTheSurplusOneGoes(damage: String) async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 1")
        try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 2)
            let keeper = server.service.coordinator.stores.keepers(of: lineage.node.id)[0]
            try await Self.place(keeper.name, "draining", server)
            try await ReplicationTests.settle(server)
            let other = server.service.coordinator.stores.keepers(of: lineage.node.id)[0]
            let pack = try #require(
                try await rig.store(Int(other.number)).objects(.packs, maximumCount: 10).first?.name.description)
            let path = rig.folder(Int(other.number)) + "/" + pack
            // So old that a look is needed, or even a hash.
            if damage == "gone" {
                try FileManager.default.removeItem(atPath: path)
                server.rig.clock.advance(by: .seconds(2 * 86_400))
            } else {
                var bytes = try Data(contentsOf: URL(filePath: path))
                bytes[bytes.count / 2] ^= 1
                try FileManager.default.removeItem(atPath: path)
                try bytes.write(to: URL(filePath: path))
                server.rig.clock.advance(by: .seconds(30 * 86_400))
            }
            try await Self.balance(server)
            try await Self.collect(server)
            #expect(try await ReplicationTests.contents(rig, Int(keeper.number)).isEmpty)
            #expect(try await InspectionTests.verify(server, "scrub", lineage.snapshots).passed == 2)
        }
    }

    @Test func aNumberOfReplicasThatCannotBeHadKeepsWhatThereIs() async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 2")
        try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 2)
            try await ReplicationTests.settle(server)
            try await Self.place("store2", "draining", server)
            try await ReplicationTests.settle(server)
            #expect(try await server.service.coordinator.surplusPlaces().isEmpty)
            #expect(try await Self.replicas(server, lineage.snapshots[1].id).count == 2)
        }
    }

    @Test func aPlaceThatFailsKeepsNoOtherWaiting() async throws {
        let rig = try await Rig(stores: 1, placement: "replicas: 1")
        let hooks = StoreHooks()
        try await rig.serve(wrapStore: { HookedStore($0, hooks) }) { server in
            var lineages: [TestLineage] = []
            for name in ["alpha", "beta"] {
                var lineage = TestLineage(try await server.makeNode(name))
                try await lineage.add(try lineage.next(base: nil), to: server)
                lineages.append(lineage)
            }
            try await Self.add(2, server)
            try await Self.place("main", "draining", server)
            try await ReplicationTests.settle(server)
            let coordinator = server.service.coordinator
            let places = try await coordinator.surplusPlaces()
            #expect(places.count == 2)
            let first = try #require(lineages.first { $0.node.id == places[0].node })
            // What was copied yesterday has to be looked at again.
            server.rig.clock.advance(by: .seconds(2 * 86_400))
            hooks.onLook { name throws(StoreError) in
                guard name.description.contains("\(first.snapshots[0].pack.id)") else { return false }
                throw .failed(store: "store2", object: "\(name)", operation: "look at", code: ETIMEDOUT)
            }
            let service = BalanceService(coordinator: coordinator)
            var rests: [Coordinator.SurplusPlace: BalanceService.Rest] = [:]
            try await service.balance(&rests, CopyPace(bytesPerSecond: 0, clock: server.rig.clock))
            #expect(rests.keys.contains(places[0]), "it rests")
            let left = try await coordinator.catalog.holdings(inStore: places[0].store).map(\.node)
            #expect(left == [places[0].node])
        }
    }

    /// A step of the walk was under way, and had asked where snapshots belong.
    @Test func aStoreThatIsAddedBesideAStepOfTheWalkIsWalkedFor() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            let coordinator = server.service.coordinator
            _ = try await TestLineage.make(server, count: 3)
            try await coordinator.beginPlacementWalk()
            let old = PlacementWalk(of: .seeded(1)).moved(to: 0)
            try await Self.add(2, server)
            #expect(try await coordinator.step(old), "it has not come to its end")
            let end = PlacementWalk(of: .seeded(1)).moved(to: 9)
            #expect(try await coordinator.step(end), "nor has the one that takes its place")
            try await ReplicationTests.settle(server)
            #expect(try await ReplicationTests.contents(rig, 1) == ReplicationTests.contents(rig, 2))
        }
    }

    @Test func aWalkIsKnownByMoreThanHowFarItIs() throws {
        let (one, other) = (PlacementWalk(of: .seeded(1)), PlacementWalk(of: .seeded(2)))
        #expect(one.last == 0 && one.bytes != other.bytes)
        #expect(PlacementWalk(one.moved(to: 7).bytes) == one.moved(to: 7))
        #expect(PlacementWalk(Array("601000".utf8))?.bytes == Array("601000".utf8), "as versions before wrote it")
        #expect(PlacementWalk([]) == nil)
    }

    @Test func settingsThatWereEditedMoveWhatIsThere() async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 1")
        let lineage = try await rig.serve { try await TestLineage.make($0, count: 3) }
        let text = try String(contentsOfFile: rig.place.settings, encoding: .utf8)
        try PrivateFile.write(text.replacing("replicas: 1", with: "replicas: 2"), to: rig.place.settings)
        try await rig.serve { server in
            // The walk begins by itself, with the first round of the copies.
            for _ in 0..<20_000 {
                if try await Self.replicas(server, lineage.snapshots[2].id).count == 2 { break }
            }
            try await ReplicationTests.settle(server)
            #expect(try await ReplicationTests.contents(rig, 1) == ReplicationTests.contents(rig, 2))
        }
    }

    @Test func aDatabaseWhoseOnlyStoreWasLostGoesOn() async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 1")
        try await rig.serve { server in
            var lineage = try await TestLineage.make(server, count: 2)
            let coordinator = server.service.coordinator
            let keeper = coordinator.stores.keepers(of: lineage.node.id)[0]
            try await Self.place(keeper.name, "lost", server)
            while try await coordinator.forgetLostReplicas() {}
            // A delta is refused, as its base is gone.
            let delta = try lineage.next(base: 0)
            let refused = try await server.peer(lineage.node).commit(delta.manifest, packs: [delta.pack.bytes])
            #expect(refused.status == 412)
            // What the node has in its cache it sends again.
            for snapshot in lineage.snapshots {
                #expect(try await server.peer(lineage.node).put(snapshot.pack).status == 200)
            }
            try await lineage.add(try lineage.next(base: nil), to: server)
            let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(status.stores.count == 1)
            for _ in 0..<20_000 {
                let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
                if status.alarms.contains(where: { $0.kind == "damaged" && $0.database == "app" }) { return }
            }
            Issue.record("nobody says that the snapshots of before are lost")
        }
    }

    @Test func aStoreOnARevokedNodeIsUsedNoMore() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            let keeper = try await server.makeNode("keeper")
            let coordinator = server.service.coordinator
            let entry = try await coordinator.catalog.add(
                store: "edge", url: "node://127.0.0.1:1/\(keeper.id)", node: keeper.id, at: server.rig.clock.now())
            coordinator.stores.put(try coordinator.opening.connect(entry))
            let node = try await server.makeNode("alpha")
            #expect(coordinator.stores.keepers(of: node.id).map(\.name) == ["main", "edge"])
            try await coordinator.catalog.revoke(keeper.id, at: server.rig.clock.now())
            #expect(coordinator.stores.giveUp([entry.number]) == ["edge"])
            try await coordinator.followPlacement()
            #expect(coordinator.stores.keepers(of: node.id).map(\.name) == ["main"])
        }
        // And after a restart.
        try await rig.serve { server in
            #expect(server.service.coordinator.stores.active.map(\.name) == ["main"])
        }
    }
}

extension ClosedRange<Int> {
    fileprivate func asyncMap<Value>(_ body: (Int) async throws -> Value) async throws -> [Value] {
        var values: [Value] = []
        for number in self { values.append(try await body(number)) }
        return values
    }
}
