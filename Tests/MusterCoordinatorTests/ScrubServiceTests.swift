import MusterAPI
import MusterCatalog
import MusterModel
import MusterStore
import MusterTestSupport
import Testing

@testable import MusterCoordinator

@Suite("A scrub of several stores", .timeLimit(.minutes(10)))
struct ScrubServiceTests {
    private static let day = Duration.seconds(86_400)

    private static func due(_ server: Server, _ store: OpenStore) async throws -> Int {
        let coordinator = server.service.coordinator
        let before = server.rig.clock.now() - .seconds(coordinator.settings.scrub.everySeconds)
        let overdue = try await coordinator.catalog.overdue(in: store.number, hashedBefore: before, limit: 1000)
        return overdue.packs.count + overdue.snapshots.count + overdue.nodes.count
    }

    /// One that does not come to an end keeps no other from its rounds.
    @Test func goesOnInOneWhileItIsNotDoneInAnother() async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 2")
        let hang = HangingStore.Hang()
        try await rig.serve(wrapStore: { $0.name == "main" ? HangingStore($0, hang) : $0 }) { server in
            let coordinator = server.service.coordinator
            _ = try await CollectionTests.fill(server, try await server.makeNode(), 2)
            try await ReplicationTests.settle(server)
            let other = try #require(coordinator.stores.store(named: "store2"))
            let scrub = ScrubService(coordinator: coordinator)
            server.rig.clock.advance(by: Self.day * 8)
            hang.begin()
            defer { hang.end() }
            let running = Task { try await scrub.run() }
            for _ in 0..<2 {
                while try await Self.due(server, other) > 0 {
                    await scrub.rounds.ring(true)
                    await Task.yield()
                }
                server.rig.clock.advance(by: Self.day * 8)
            }
            hang.end()
            running.cancel()
            try await running.value
        }
    }

    @Test func thatFallsBehindIsTold() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            let coordinator = server.service.coordinator
            func alarms() async throws -> [Muster_V1_Alarm] {
                let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
                return status.alarms.filter { $0.kind == "scrub_overdue" }
            }
            let store = try #require(coordinator.stores.all.first)
            _ = try await CollectionTests.fill(server, try await server.makeNode(), 2)
            #expect(try await alarms().isEmpty)
            server.rig.clock.advance(by: Self.day * 10)
            #expect(try await alarms().isEmpty)
            server.rig.clock.advance(by: Self.day)
            let alarm = try #require(try await alarms().first)
            #expect(alarm.severity == "warning" && alarm.store == store.name && alarm.summary.contains("7d"))
            var passed = ScrubService.PassedOver()
            let scrub = ScrubService(coordinator: coordinator)
            let pace = CopyPace(bytesPerSecond: 0, clock: server.rig.clock)
            while try await scrub.scrubBatch(of: store, pace, &passed) {}
            #expect(try await alarms().isEmpty)
        }
    }
}
