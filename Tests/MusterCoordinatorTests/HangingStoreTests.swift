import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import Synchronization
import Testing

@testable import MusterCoordinator

/// One mount whose server is gone: its store counts as away, and all else goes on.
@Suite("A store that hangs beside others", .timeLimit(.minutes(10)))
struct HangingStoreTests {
    /// What befalls each store, by its name.
    private final class Fates: Sendable {
        struct Fate: Sendable {
            let hang = HangingStore.Hang()
            let time = ManualPatience()
        }

        private let fates = Mutex<[String: Fate]>([:])

        func of(_ store: String) -> Fate {
            fates.withLock { fates in
                let fate = fates[store] ?? Fate()
                fates[store] = fate
                return fate
            }
        }

        func hang(_ store: OpenStore) {
            of(store.name).hang.begin()
            of(store.name).time.runOut()
        }

        func letGo(_ store: OpenStore) {
            of(store.name).time.restore()
            of(store.name).hang.end()
        }
    }

    private static func serve(_ body: @escaping @Sendable (Server, TestNode, Fates) async throws -> Void) async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 2, before_receipt: 1")
        let fates = Fates()
        try await rig.serve(
            patience: { fates.of($0).time.patience }, wrapStore: { HangingStore($0, fates.of($0.name).hang) }
        ) { server in
            let node = try await server.makeNode()
            do {
                try await body(server, node, fates)
            } catch {
                for store in server.service.coordinator.stores.all { fates.letGo(store) }
                throw error
            }
            for store in server.service.coordinator.stores.all { fates.letGo(store) }
        }
    }

    private static func alarms(_ server: Server, of store: OpenStore) async throws -> [Muster_V1_Alarm] {
        let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
        return status.alarms.filter { $0.kind == AlarmKind.store.rawValue && $0.store == store.name }
    }

    @Test func itsOwnAlarmComesAndEndsWithIt() async throws {
        try await Self.serve { server, node, fates in
            let store = try #require(server.service.coordinator.stores.all.first)
            #expect(try await Self.alarms(server, of: store).isEmpty)
            fates.hang(store)
            let alarm = try #require(try await Self.alarms(server, of: store).first)
            #expect(alarm.summary.contains("is away"))
            let families = try await server.service.coordinator.metricFamilies()
            #expect(!families.isEmpty)
            fates.letGo(store)
            var isOver = false
            while !isOver {
                server.rig.clock.advance(by: .seconds(1))
                isOver = try await Self.alarms(server, of: store).isEmpty
            }
        }
    }

    @Test func commitsAndGCGoOnInTheOthers() async throws {
        try await Self.serve { server, node, fates in
            let coordinator = server.service.coordinator
            let other = try await server.makeNode("beta")
            let ids = try await CollectionTests.fill(server, node, 3)
            try await ReplicationTests.settle(server)
            try await CollectionTests.forget(server, [ids[0], ids[1]])
            let keepers = coordinator.stores.keepers(of: other.id)
            let (first, second) = (try #require(keepers.first), try #require(keepers.last))
            fates.hang(first)

            let snapshot = try other.makeSnapshot()
            var status = 0
            for _ in 0..<3 where status != 200 {
                status = try await server.peer(other).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status
            }
            #expect(status == 200)

            #expect(try await CollectionTests.collect(server).forgottenSnapshots == 2)
            func left() async throws -> Int { try await second.store.objects(.manifests, maximumCount: 100).count }
            for _ in 0..<1000 where try await left() > 2 {
                server.rig.clock.advance(by: .seconds(1))
                _ = try await CollectionTests.collect(server)
            }
            #expect(try await left() == 2)
            #expect(first.isAway)
        }
    }
}
