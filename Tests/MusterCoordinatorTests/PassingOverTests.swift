import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import Synchronization
import Testing

@testable import MusterCoordinator

/// The store is there, and one object of it does not come in time: that says nothing of the object nor of the others.
@Suite("An object that cannot be read now", .timeLimit(.minutes(10)))
struct PassingOverTests {
    private static let stall = StoreError.failed(store: "main", object: "", operation: "read", code: ETIMEDOUT)

    /// Every store that was opened, as a coordinator opens one again where it needs to.
    private final class Opened: Sendable {
        private let stores = Mutex<[FaultyStore]>([])
        private let faults = Mutex<[FaultyStore.Fault]>([])

        func open(_ store: any Store) -> FaultyStore {
            let opened = FaultyStore(store, faults: faults.withLock { $0 })
            stores.withLock { $0.append(opened) }
            return opened
        }

        func add(_ fault: FaultyStore.Fault) {
            faults.withLock { $0.append(fault) }
            for store in stores.withLock({ $0 }) { store.add(fault) }
        }
    }

    private static func serve(
        _ body: @escaping @Sendable (Server, Opened, OpenStore) async throws -> Void
    ) async throws {
        let opened = Opened()
        try await Rig().serve(wrapStore: { opened.open($0) }) { server in
            try await body(server, opened, try #require(server.service.coordinator.stores.all.first))
        }
    }

    @Test func isPassedOverByTheScrub() async throws {
        try await Self.serve { server, opened, store in
            _ = try await TestLineage.make(server, count: 3)
            let coordinator = server.service.coordinator
            server.rig.clock.advance(by: .seconds(8 * 86_400))
            let due = try await coordinator.catalog.overdue(
                in: store.number, hashedBefore: server.rig.clock.now(), limit: 100)
            #expect(due.packs.count == 3)
            let stalled = try #require(due.packs.first)
            let object = try #require(stalled.objectName)
            opened.add(.failReads(of: object, Self.stall))
            var passed = ScrubService.PassedOver()
            let scrub = ScrubService(coordinator: coordinator)
            let pace = CopyPace(bytesPerSecond: 0, clock: server.rig.clock)
            while try await scrub.scrubBatch(of: store, pace, &passed) {}
            #expect(passed.count == 1 && passed.packs == [stalled.pack])
            let left = try await coordinator.catalog.overdue(
                in: store.number, hashedBefore: server.rig.clock.now() - .seconds(86_400), limit: 100)
            #expect(left.packs.map(\.pack) == [stalled.pack] && left.packs.map(\.state) == [.present])
            #expect(left.snapshots.isEmpty && left.nodes.isEmpty)
        }
    }

    @Test func keepsNoOtherSnapshotFromItsInspection() async throws {
        try await Self.serve { server, opened, store in
            var lineages: [TestLineage] = []
            for name in ["alpha", "beta", "gamma"] {
                var lineage = TestLineage(try await server.makeNode(name))
                try await lineage.add(try lineage.next(base: nil), to: server)
                lineages.append(lineage)
            }
            let coordinator = server.service.coordinator
            let pack = try #require(lineages.first?.snapshots.first).pack.id
            let stalled = try #require(try await coordinator.catalog.replicas(of: pack, in: nil).first)
            let object = try #require(stalled.objectName)
            opened.add(.failReads(of: object, Self.stall))
            let ids = lineages.flatMap { $0.snapshots.map(\.id) }
            let run = RunID(from: .system)
            try await coordinator.catalog.begin(
                run, level: .scrub, snapshots: ids, jobs: [], now: server.rig.clock.now())
            await coordinator.inspections.ring(true)
            for _ in 0..<20_000 {
                let seen: Muster_V1_Verification = try await server.asAdmin.get(.admin, "/v1/verifications/\(run)")
                guard seen.passed == 2 else { continue }
                #expect(seen.state != "finished" && seen.failed.isEmpty && seen.total == 3)
                return
            }
            Issue.record("those behind it are not inspected")
        }
    }

    @Test(arguments: ["check", "scrub"])
    func doesNotPassTheCheckOfAStoreAndDoesNotEndIt(level: String) async throws {
        try await Self.serve { server, opened, store in
            _ = try await TestLineage.make(server, count: 3)
            let coordinator = server.service.coordinator
            let due = try await coordinator.catalog.overdue(
                in: store.number, hashedBefore: server.rig.clock.now() + .seconds(1), limit: 100)
            let node = try #require(due.nodes.first)
            let keys = try #require(try await coordinator.catalog.keyReplicas(of: node).first)
            let object = try #require(ObjectName(keys.object))
            opened.add(.failReads(of: object, Self.stall))
            if level == "scrub" {
                let pack = try #require(due.packs.first?.objectName)
                opened.add(.failReads(of: pack, Self.stall))
            }
            var request = Muster_V1_StoreCheckRequest()
            request.level = level
            let _: Muster_V1_StoreCheck = try await server.asAdmin.post(
                .admin, "/v1/stores/\(store.name)/check", request)
            var check = Muster_V1_StoreCheck()
            for _ in 0..<20_000 where check.state != "finished" {
                check = try await server.asAdmin.get(.admin, "/v1/stores/\(store.name)/check")
            }
            let missed = level == "scrub" ? 2 : 1
            #expect(check.state == "finished" && check.failedCount == UInt64(missed))
            // Ten of the node and its snapshots, and what the store has of the coordinator's own.
            #expect(check.total == 15 && check.passed == UInt64(15 - missed))
            #expect(check.failed.allSatisfy { $0.reason.hasPrefix("not looked at: ") }, "\(check.failed)")
        }
    }
}
