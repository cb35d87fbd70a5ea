import Crypto
import Foundation
import Logging
import MusterAPI
import MusterAgent
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import ServiceLifecycle
import SwiftProtobuf
import Testing

@testable import MusterCoordinator

@Suite("Replicas in a store on a node", .timeLimit(.minutes(10)))
struct NodeStoreReplicationTests {
    @Test func aSnapshotIsCopiedToAnotherNode() async throws {
        let rig = try await Rig()
        try await rig.serve { server in
            let keeper = try await server.makeNode("keeper")
            try await Self.serve(keeper, of: server) { port, path in
                try await Self.add("node://127.0.0.1:\(port)/keeper", to: server)
                let entry = try #require(try await server.service.coordinator.catalog.stores().last)
                #expect(entry.node == keeper.id && entry.url == "node://127.0.0.1:\(port)/\(keeper.id)")
                let lineage = try await TestLineage.make(server, count: 5)
                try await ReplicationTests.settle(server)
                let last = try #require(lineage.snapshots.last)
                let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(last.id)")
                #expect(Set(shown.replicas.map(\.store)) == ["main", "edge"])
                #expect(shown.replicas.allSatisfy { $0.state == "present" })
                let copies = try await FolderStore.open(at: path, name: "copies", random: .system, access: .readOnly)
                for prefix in [ObjectPrefix.packs, .manifests, .receipts] {
                    #expect(
                        try await Self.contents(copies, prefix) == Self.contents(try await rig.store(), prefix),
                        "\(prefix)")
                }
                let kept = try await copies.objects(.coordinator, maximumCount: 20).map(\.name.description)
                #expect(kept.filter { !$0.hasPrefix("coordinator/state/") }.count == 3, "\(kept)")
                #expect(kept.contains { $0.hasPrefix("coordinator/state/") }, "\(kept)")
            }
        }
    }

    /// Before there is a coordinator, its folder is the only way to what a node keeps.
    @Test func aRebuildThatIsGivenTheFolderOfANodesStoreEntersItOnce() async throws {
        let rig = try await Rig()
        try await rig.serve { server in
            let keeper = try await server.makeNode("keeper")
            try await Self.serve(keeper, of: server) { port, path in
                try await Self.add("node://127.0.0.1:\(port)/keeper", to: server)
                _ = try await TestLineage.make(server, count: 2)
                try await ReplicationTests.settle(server)
                let (rebuilt, outcome) = try await rig.rebuilt(from: [path])
                #expect(outcome.findings == [] && outcome.unreadStores == [])
                try await rebuilt.serve { server in
                    let stores = try await server.service.coordinator.catalog.stores()
                    #expect(stores.map(\.name) == ["edge", "main"])
                    #expect(stores.first?.node == keeper.id)
                }
            }
        }
    }

    /// The rebuilt coordinator is known to the node by the same authority.
    @Test func aRebuildReadsTheStoreOnANodeToo() async throws {
        let rig = try await Rig()
        try await rig.serve { server in
            let keeper = try await server.makeNode("keeper")
            try await Self.serve(keeper, of: server) { port, _ in
                try await Self.add("node://127.0.0.1:\(port)/keeper", to: server)
                let lineage = try await TestLineage.make(server, count: 3)
                try await ReplicationTests.settle(server)
                let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.place.store])
                #expect(outcome.findings == [])
                #expect(outcome.unreadStores == [])
                try await rebuilt.serve { server in
                    let last = try #require(lineage.snapshots.last)
                    let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(last.id)")
                    #expect(Set(shown.replicas.map(\.store)) == ["main", "edge"])
                    #expect(shown.replicas.allSatisfy { $0.state == "present" })
                }
            }
        }
    }

    @Test func onlyAnActiveNodeOfTheFleetKeepsAStore() async throws {
        let rig = try await Rig()
        try await rig.serve { server in
            let keeper = try await server.makeNode("keeper")
            try await Self.serve(keeper, of: server) { port, _ in
                for (url, status) in [
                    ("node://127.0.0.1:\(port)/nobody", 404), ("node://127.0.0.1/keeper", 400), ("node:x", 400),
                ] {
                    #expect(try await Self.tryAdd(url, to: server).status == status, "\(url)")
                }
                // The certificate of the one who answers is another node's.
                _ = try await server.makeNode("other")
                #expect(try await Self.tryAdd("node://127.0.0.1:\(port)/other", to: server).status == 400)
                try await Self.add("node://127.0.0.1:\(port)/keeper", to: server)
                #expect(try await Self.tryAdd("node://127.0.0.1:\(port)/\(keeper.id)", to: server).status == 409)
            }
        }
    }

    private static func contents(_ store: FolderStore, _ prefix: ObjectPrefix) async throws -> [String: [UInt8]] {
        var contents: [String: [UInt8]] = [:]
        for object in try await store.objects(prefix, maximumCount: 1000) {
            // The generation is each copy's own.
            contents[String(object.name.description.prefix { $0 != "." })] = try await store.read(
                object.name, maximumBytes: 1 << 20)
        }
        return contents
    }

    private static func add(_ url: String, to server: Server) async throws {
        let answer = try await tryAdd(url, to: server)
        guard answer.status == 200 else { throw Unexpected("\(answer.status) \(answer.error)") }
    }

    private static func tryAdd(_ url: String, to server: Server) async throws -> Peer.Answer {
        var request = Muster_V1_StoreAddRequest()
        (request.name, request.url) = ("edge", url)
        return try await server.asAdmin.tryPost(.admin, "/v1/stores", request)
    }

    /// Lets a node that joined serve a store.
    private static func serve(
        _ node: TestNode, of server: Server, _ body: (_ port: Int, _ path: String) async throws -> Void
    ) async throws {
        let folder = try TemporaryDirectory()
        let directory = AgentDirectory(path: folder.file("agent"))
        try directory.create()
        let files = [
            (directory.certificateFile, node.certificate),
            (directory.certificateKeyFile, node.tlsKey.pemRepresentation),
            (directory.authorityFile, server.rig.admin.authority),
            (directory.path + "/signing.key", Hex.encode(node.signer.privateBytes)),
            (directory.path + "/scope.key", "\(node.scope) 1 \(Hex.encode(node.secret.bytes))"),
        ]
        for (path, text) in files { try Data(text.utf8).write(to: URL(filePath: path)) }
        try directory.write(
            AgentConfiguration(coordinatorURL: server.url(.agent), nodeName: node.name, nodeID: node.id))
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let start = ContinuousClock.now
        let service = try await NodeStoreService(
            directory: directory, settings: .init(path: folder.file("store"), host: "127.0.0.1", port: 0),
            environment: AgentEnvironment(
                clock: server.rig.clock, monotonic: { ContinuousClock.now - start },
                sleep: { try await Task.sleep(for: $0) }, random: .system, logger: logger, cores: 1, version: "test"))
        let group = ServiceGroup(configuration: .init(services: [service], logger: logger))
        let running = Task { try await group.run() }
        do {
            try await body(await service.port(), folder.file("store"))
        } catch {
            await group.triggerGracefulShutdown()
            try await running.value
            throw error
        }
        await group.triggerGracefulShutdown()
        try await running.value
    }
}
