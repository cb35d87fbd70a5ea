import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import MusterTransfer
import SwiftProtobuf
import Synchronization
import Testing

@testable import MusterCoordinator

@Suite("gc and the stores")
struct CollectionTests {
    private static func count(_ rig: Rig, _ number: Int, _ prefix: ObjectPrefix) async throws -> Int {
        try await rig.store(number).objects(prefix, maximumCount: 1000).count
    }

    static func forget(_ server: Server, _ snapshots: [String]) async throws {
        var request = Muster_V1_SnapshotForgetRequest()
        (request.snapshotIds, request.grace) = (snapshots, "0h")
        let list: Muster_V1_SnapshotOutcomeList = try await server.asAdmin.post(
            .admin, "/v1/snapshots/forget", request)
        #expect(list.outcomes.allSatisfy { $0.done })
    }

    /// Orders a run and gives what is shown of it once it has ended.
    static func collect(_ server: Server, evenIfMuch: Bool = false) async throws -> Muster_V1_CollectionRun {
        let ordered: Muster_V1_CollectionState = try await server.asAdmin.post(
            .admin, "/v1/gc", Muster_V1_CollectionRunRequest.with { $0.evenIfMuch = evenIfMuch })
        for _ in 0..<20_000 {
            let state: Muster_V1_CollectionState = try await server.asAdmin.get(.admin, "/v1/gc")
            if state.run.id == ordered.run.id, !state.run.finishedAt.isEmpty { return state.run }
        }
        throw Unexpected("gc does not come to an end")
    }

    /// So many snapshots of one database, an hour apart, each with a pack of its own.
    static func fill(_ server: Server, _ node: TestNode, _ count: Int) async throws -> [String] {
        var ids: [String] = []
        var parent: Manifest?
        for seed in 0..<count {
            server.rig.clock.advance(by: .seconds(3600))
            let snapshot = try node.makeSnapshot(seed: UInt64(seed), after: parent)
            let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            guard answer.status == 200 else { throw Unexpected("\(answer.status) \(answer.error)") }
            ids.append(snapshot.id.description)
            parent = snapshot.manifest
        }
        return ids
    }

    @Test func whatNoSnapshotNeedsGoesFromEveryStore() async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 2")
        try await rig.serve { server in
            let node = try await server.makeNode()
            let ids = try await Self.fill(server, node, 4)
            try await ReplicationTests.settle(server)
            for store in [1, 2] { #expect(try await Self.count(rig, store, .packs) == 4) }
            try await Self.forget(server, [ids[0], ids[2]])
            _ = try await Self.collect(server)
            for store in [1, 2] {
                #expect(try await Self.count(rig, store, .packs) == 4, "leased for a day, and then condemned for one")
                #expect(try await Self.count(rig, store, .manifests) == 2)
            }
            rig.clock.advance(by: Catalog.leaseDuration + .seconds(1))
            let condemning = try await Self.collect(server)
            #expect(condemning.condemnedPacks == 2 && condemning.sweptPacks == 0)
            rig.clock.advance(by: server.service.coordinator.settings.collectionGrace + .seconds(1))
            let sweeping = try await Self.collect(server)
            #expect(sweeping.sweptPacks == 2 && sweeping.deletedObjects == 4)
            for store in [1, 2] {
                #expect(try await Self.count(rig, store, .packs) == 2)
                #expect(try await Self.count(rig, store, .manifests) == 2)
                #expect(try await Self.count(rig, store, .receipts) == 2)
            }
            for id in [ids[1], ids[3]] {
                var request = Muster_V1_VerificationRequest()
                (request.level, request.snapshotIds) = ("scrub", [id])
                let begun: Muster_V1_Verification = try await server.asAdmin.post(
                    .admin, "/v1/verifications", request)
                let ended = try await InspectionTests.finished(server, begun.run)
                #expect(ended.passed == 1, "\(ended)")
            }
        }
    }

    private static func audited(_ server: Server) async throws -> [String] {
        try await server.service.coordinator.catalog.auditEntries(limit: 100)
            .filter { $0.action == "gc" && $0.subject.hasPrefix("run ") }.map(\.subject).reversed()
    }

    @Test func theAuditSaysThatARunBeginsBeforeAnythingIsDeleted() async throws {
        let (rig, hooks) = (try await Rig(stores: 1), StoreHooks())
        try await rig.serve(wrapStore: { HookedStore($0, hooks) }) { server in
            let ids = try await Self.fill(server, try await server.makeNode(), 3)
            try await Self.forget(server, [ids[0]])
            let before = Mutex<[[String]]>([])
            hooks.onDelete { name throws(StoreError) in
                do {
                    let rows = try await Self.audited(server)
                    before.withLock { $0.append(rows) }
                } catch {
                    throw StoreError.failed(store: "1", object: "\(name)", operation: "delete", code: EIO)
                }
            }
            let run = try await Self.collect(server)
            hooks.onDelete(nil)
            #expect(run.forgottenSnapshots == 1 && run.deletedObjects > 0)
            let begun = try #require(before.withLock { $0 }.first)
            #expect(begun.count == 1 && begun[0].hasPrefix("run \(run.id): begins: 1 of 3 snapshots"))
            let ended = try await Self.audited(server)
            #expect(ended.count == 2 && ended[1].contains("1 snapshots forgotten"), "\(ended)")
            #expect(ended[1].contains("\(run.deletedObjects) objects of \(run.deletedBytes) bytes deleted"))
        }
    }

    @Test func theAuditCountsWhatARunDidThatBrokeOff() async throws {
        try await Rig.serve { server in
            var run = CollectionRun(id: "one", actor: "eve", startedAt: "")
            (run.forgottenSnapshots, run.condemnedPacks, run.stopped) = (4, 2, "it broke off: the disk is full")
            try await server.service.coordinator.tell(run)
            let told = try #require(try await Self.audited(server).last)
            #expect(told.hasPrefix("run one: 4 snapshots forgotten, 2 packs condemned"))
            #expect(told.hasSuffix("; stopped: it broke off: the disk is full"))
        }
    }

    @Test func aReadersPinAndAHoldKeepWhatIsMarked() async throws {
        try await Rig.serve { server in
            let ids = try await Self.fill(server, try await server.makeNode(), 3)
            #expect(try await server.asAdmin.send(.admin, .get, "/v1/snapshots/\(ids[0])/manifest").status == 200)
            try await Self.forget(server, [ids[0], ids[1]])
            #expect(try await Self.collect(server).forgottenSnapshots == 1)
            #expect(try await server.asAdmin.send(.admin, .get, "/v1/snapshots/\(ids[0])").status == 200)
            #expect(try await server.asAdmin.send(.admin, .get, "/v1/snapshots/\(ids[1])").status == 404)
            server.rig.clock.advance(by: .seconds(25 * 3600))
            #expect(try await Self.collect(server).forgottenSnapshots == 1)
        }
    }

    @Test func whatIsImplausiblyMuchStopsItUntilAPersonSaysSo() async throws {
        try await Rig.serve { server in
            let ids = try await Self.fill(server, try await server.makeNode(), 30)
            try await Self.forget(server, Array(ids.dropLast()))
            let stopped = try await Self.collect(server)
            #expect(stopped.stopped.contains("29 of 30 snapshots") && stopped.forgottenSnapshots == 0)
            let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(status.alarms.contains { $0.kind == "gc" && $0.hint.contains("--even-if-much") })
            #expect(try await Self.collect(server, evenIfMuch: true).forgottenSnapshots == 29)
            let after: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(!after.alarms.contains { $0.kind == "gc" })
        }
    }

    /// What was given up stays until its store is back, and a name that is gone already is done.
    @Test func aStoreThatIsAwayKeepsItsObjectsUntilItIsBack() async throws {
        let rig = try await Rig(stores: 1)
        let absence = Absence()
        try await rig.serve(wrapStore: { AbsentStore($0, absence) }) { server in
            let coordinator = server.service.coordinator
            let ids = try await Self.fill(server, try await server.makeNode(), 3)
            try await Self.forget(server, [ids[0], ids[1]])
            let manifests = try await rig.store(1).objects(.manifests, maximumCount: 10)
            absence.name = try #require(coordinator.stores.all.first).name
            #expect(try await Self.collect(server).forgottenSnapshots == 2)
            // A record of the fleet's state may have been replaced meanwhile.
            let discarded = try await coordinator.catalog.discardedObjects(limit: 100)
            #expect(discarded.count { !$0.hasPrefix("coordinator/") } == 4)
            #expect(try await Self.count(rig, 1, .manifests) == 3)

            let first = try #require(manifests.first { $0.name.description.contains(ids[0]) })
            try FileManager.default.removeItem(atPath: rig.folder(1) + "/" + first.name.description)
            absence.name = ""
            for _ in 0..<20_000 {
                server.rig.clock.advance(by: .seconds(1))
                _ = try await Self.collect(server)
                if try await coordinator.catalog.discardedCount() == 0 { break }
            }
            #expect(try await Self.count(rig, 1, .manifests) == 1)
            #expect(try await Self.count(rig, 1, .receipts) == 1)
        }
    }
}
