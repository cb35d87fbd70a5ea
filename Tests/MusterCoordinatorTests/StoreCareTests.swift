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

@Suite("Looking at a store and repairing it")
struct StoreCareTests {
    private static func check(
        _ name: String, _ level: String, _ server: Server
    ) async throws -> Muster_V1_StoreCheck {
        var request = Muster_V1_StoreCheckRequest()
        request.level = level
        var check: Muster_V1_StoreCheck = try await server.asAdmin.post(.admin, "/v1/stores/\(name)/check", request)
        for _ in 0..<20_000 where check.state != "finished" {
            check = try await server.asAdmin.get(.admin, "/v1/stores/\(name)/check")
        }
        return check
    }

    private static func repair(_ name: String, _ server: Server) async throws -> Muster_V1_StoreRepair {
        var repair: Muster_V1_StoreRepair = try await server.asAdmin.post(
            .admin, "/v1/stores/\(name)/repair", Muster_V1_StoreChangeRequest())
        for _ in 0..<20_000 where repair.waiting > 0 && repair.state == "ok" {
            repair = try await server.asAdmin.get(.admin, "/v1/stores/\(name)/repair")
            // One that waits for another comes again by the catalog's clock.
            server.rig.clock.advance(by: .seconds(1))
        }
        return repair
    }

    private static func paths(_ rig: Rig, _ number: Int, _ prefix: ObjectPrefix) async throws -> [String] {
        try await rig.store(number).objects(prefix, maximumCount: 100).map { rig.folder(number) + "/\($0.name)" }
            .sorted()
    }

    private static func flip(_ path: String) throws {
        var bytes = try Data(contentsOf: URL(filePath: path))
        bytes[bytes.count / 2] ^= 1
        try FileManager.default.removeItem(atPath: path)
        try bytes.write(to: URL(filePath: path))
    }

    /// `format.json`, the coordinator's two keys, its epoch, and the fleet's state.
    private static let own = 5

    @Test func aCheckCountsEveryObjectAndNamesWhatIsGone() async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            _ = try await TestLineage.make(server, count: 4)
            try await ReplicationTests.settle(server)
            let sound = try await Self.check("store2", "check", server)
            // Of each snapshot a pack, a manifest and a receipt, and the node's keys.
            #expect(sound.passed == 13 + Self.own && sound.total == 13 + Self.own && sound.failed.isEmpty)
            for prefix in [ObjectPrefix.packs, .manifests] {
                try FileManager.default.removeItem(atPath: try #require(try await Self.paths(rig, 2, prefix).first))
            }
            try Self.flip(try #require(try await Self.paths(rig, 2, .receipts).first))
            let found = try await Self.check("store2", "check", server)
            #expect(found.passed == 11 + Self.own && found.failedCount == 2, "a size tells nothing of a bit")
            #expect(found.total == 13 + Self.own)
            #expect(found.failed.allSatisfy { $0.store == "store2" && $0.reason == "the object is missing" })
            #expect(Set(found.failed.map { $0.object.split(separator: "/")[0] }) == ["packs", "manifests"])
            try await ReplicationTests.settle(server)
            let scrubbed = try await Self.check("store2", "scrub", server)
            #expect(scrubbed.failedCount == 1 && scrubbed.total == 13 + Self.own && scrubbed.bytesRead > 1 << 16)
            #expect(scrubbed.failed[0].reason.contains("hash to"))
            #expect(scrubbed.run != found.run)
            try await ReplicationTests.settle(server)
            let healed = try await Self.check("store2", "scrub", server)
            #expect(healed.passed == 13 + Self.own && healed.failedCount == 0)
        }
    }

    @Test func aCheckGoesOnAfterARestartAndEndsWhereTheStoreIsAway() async throws {
        let rig = try await Rig(stores: 2)
        let absence = Absence()
        let run = RunID(from: .system)
        try await rig.serve { server in
            _ = try await TestLineage.make(server, count: 3)
            try await ReplicationTests.settle(server)
            let coordinator = server.service.coordinator
            let store = try #require(coordinator.stores.store(named: "store2"))
            var check = StoreCheck(run: run, level: .check, expected: 10, now: server.rig.clock.now())
            let pace = CopyPace(bytesPerSecond: 0, clock: server.rig.clock)
            try await coordinator.step(&check, in: store, pace)
            #expect(!check.isFinished && check.passed == 3)
            try await coordinator.keep(check, of: store)
        }
        try await rig.serve(wrapStore: { AbsentStore($0, absence) }) { server in
            var check = Muster_V1_StoreCheck()
            for _ in 0..<20_000 where check.state != "finished" {
                check = try await server.asAdmin.get(.admin, "/v1/stores/store2/check")
            }
            #expect(check.run == run.description && check.passed == 10 + Self.own && check.total == check.passed)
            absence.name = "store2"
            var request = Muster_V1_StoreCheckRequest()
            request.level = "check"
            let begun = try await server.asAdmin.tryPost(.admin, "/v1/stores/store2/check", request)
            if begun.status == 200 {
                for _ in 0..<20_000 where check.run == run.description || check.state != "finished" {
                    check = try await server.asAdmin.get(.admin, "/v1/stores/store2/check")
                }
                #expect(check.passed < check.total && check.failed.contains { $0.reason.contains("away") })
            } else {
                #expect(begun.status == 503 && begun.code == "store_away")
            }
            let away = try await server.asAdmin.tryPost(.admin, "/v1/stores/store2/check", request)
            #expect(away.status == 503 && away.code == "store_away")
        }
    }

    @Test func aRepairTriesAllOfItAtOnceAndNamesWhatCannotBeHad() async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 3)
            try await ReplicationTests.settle(server)
            let gone = try #require(try await Self.paths(rig, 2, .packs).first)
            let pack = try #require(lineage.snapshots.first { gone.contains("\($0.pack.id)") }).pack
            let id = pack.id
            let twin = try #require(try await Self.paths(rig, 1, .packs).first { $0.contains("\(id)") })
            // Away from both stores: nobody can heal it.
            for path in [gone, twin] { try FileManager.default.moveItem(atPath: path, toPath: path + ".away") }
            #expect(try await Self.check("store2", "check", server).failedCount == 1)
            #expect(try await Self.check("main", "check", server).failedCount == 1)
            let vain = try await Self.repair("store2", server)
            #expect(vain.waiting == 0 && vain.failing == 1 && vain.state == "ok")
            #expect(
                vain.failed.map(\.object) == ["pack \(id)"] && vain.failed[0].reason.contains("no store has a good"))
            // The node sends it once more, to the first store that takes it; the other has waited long, and is hurried.
            #expect(try await server.peer(lineage.node).put(pack).status == 200)
            for name in ["main", "store2"] {
                let repair = try await Self.repair(name, server)
                #expect(repair.waiting == 0 && repair.failing == 0, "\(name): \(repair.failed)")
                #expect(try await Self.check(name, "scrub", server).failedCount == 0)
            }
        }
    }

    @Test func aLevelThatNeedsKeysIsRefused() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            var request = Muster_V1_StoreCheckRequest()
            request.level = "verify"
            let known = try await server.asAdmin.tryPost(.admin, "/v1/stores/main/check", request)
            let unknown = try await server.asAdmin.tryPost(.admin, "/v1/stores/none/check", request)
            let never = try await server.asAdmin.send(.admin, .get, "/v1/stores/main/check")
            #expect(known.status == 400 && unknown.status == 404 && never.status == 404)
        }
    }
}
