import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import Testing

@testable import MusterCoordinator

/// What a rebuild believes of copies that it does not read.
@Suite("A rebuild among copies that differ")
struct RebuildCopyTests {
    /// Two stores that both have a snapshot.
    private static func makeStores(_ count: Int = 2) async throws -> (Rig, TestNode, TestSnapshot) {
        let rig = try await Rig(stores: count)
        let (node, snapshot) = try await rig.serve { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot()
            let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            #expect(answer.status == 200)
            try await ReplicationTests.settle(server)
            return (node, snapshot)
        }
        return (rig, node, snapshot)
    }

    private static func cut(_ prefix: ObjectPrefix, in store: Int, of rig: Rig) async throws -> ObjectName {
        let name = try #require(try await rig.store(store).objects(prefix, maximumCount: 10).first).name
        let file = URL(filePath: rig.folder(store) + "/" + name.description)
        let bytes = try Data(contentsOf: file)
        try FileManager.default.removeItem(at: file)
        try bytes.prefix(bytes.count / 2).write(to: file)
        return name
    }

    private static func states(_ server: Server, _ pack: PackID) async throws -> [Int64: Catalog.ReplicaState] {
        let replicas = try await server.service.coordinator.catalog.replicas(of: pack, in: nil)
        return Dictionary(uniqueKeysWithValues: replicas.map { ($0.store, $0.state) })
    }

    private static func readAgain(_ server: Server, _ pack: PackID) async throws {
        let coordinator = server.service.coordinator
        for replica in try await coordinator.catalog.replicas(of: pack, in: nil) {
            try await coordinator.look(into: .pack(replica.pack, replica.store))
        }
    }

    /// Whichever store is read first: the length of the good copies is the pack's.
    @Test(arguments: [1, 2])
    func aPackThatIsCutOffInOneStoreIsHealedFromTheOther(store: Int) async throws {
        let (rig, _, snapshot) = try await Self.makeStores()
        let name = try await Self.cut(.packs, in: store, of: rig)
        let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.folder(1), rig.folder(2)])
        #expect(outcome.findings.map(\.object) == [name.description])
        try await rebuilt.serve { server in
            try await ReplicationTests.settle(server)
            let coordinator = server.service.coordinator
            try await Self.readAgain(server, snapshot.pack.id)
            #expect(try await Self.states(server, snapshot.pack.id) == [1: .present, 2: .present])
            let replicas = try await coordinator.catalog.replicas(of: snapshot.pack.id, in: nil)
            #expect(replicas.allSatisfy { $0.sizeBytes == snapshot.pack.bytes.count })
            // What was cut off is kept for a while, and goes by its name.
            #expect(try await coordinator.catalog.discardedObjects(limit: 100).contains(name.description))
        }
    }

    /// The only copy there is: nothing tells that it is cut off before it is read.
    @Test func aPackThatIsSentAgainHasItsOwnLength() async throws {
        let (rig, node, snapshot) = try await Self.makeStores(1)
        _ = try await Self.cut(.packs, in: 1, of: rig)
        let (rebuilt, _) = try await rig.rebuilt(from: [rig.folder(1)])
        try await rebuilt.serve { server in
            let coordinator = server.service.coordinator
            try await Self.readAgain(server, snapshot.pack.id)
            #expect(try await Self.states(server, snapshot.pack.id) == [1: .damaged])
            #expect(try await server.peer(node).put(snapshot.pack).status == 200)
            try await Self.readAgain(server, snapshot.pack.id)
            #expect(try await Self.states(server, snapshot.pack.id) == [1: .present])
            let list: Muster_V1_DatabaseList = try await server.asAdmin.get(.admin, "/v1/databases")
            let stored = snapshot.pack.bytes.count + snapshot.manifest.bytes.count
            let known = try await coordinator.catalog.databases([snapshot.manifest.publicPart.database]).first
            #expect(list.databases.count == 1 && known?.storedBytes == Int64(stored))
        }
    }

    /// A pack that a node put into a store by itself may never have been read by anybody.
    @Test func whatNobodyHashedIsScrubbedFirst() async throws {
        let (rig, _, snapshot) = try await Self.makeStores(1)
        let (rebuilt, _) = try await rig.rebuilt(from: [rig.folder(1)])
        let catalog = try Catalog(path: rebuilt.place.catalog, names: .stored) { Coordinator.hash($0) }
        #expect(try await catalog.replicas(of: snapshot.pack.id, in: nil).map(\.isProven) == [false])
        let overdue = try await catalog.overdue(
            in: 1, hashedBefore: rig.clock.now() - .seconds(86_400), limit: 10)
        #expect(overdue.packs.count == 1 && overdue.snapshots.count == 1)
        try await catalog.close()
    }

    @Test(arguments: [ObjectPrefix.manifests, .receipts])
    func aRecordThatIsCutOffInOneStoreDoesNotCountThere(prefix: ObjectPrefix) async throws {
        let (rig, _, snapshot) = try await Self.makeStores()
        let name = try await Self.cut(prefix, in: 2, of: rig)
        let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.folder(1), rig.folder(2)])
        #expect(outcome.snapshots == 1)
        let catalog = try Catalog(path: rebuilt.place.catalog, names: .stored) { Coordinator.hash($0) }
        let replicas = try #require(try await catalog.snapshot(snapshot.id)).replicas
        let good = replicas.filter { $0.manifestState == .present && $0.receiptState == .present }
        #expect(good.map(\.store) == [1])
        try await catalog.close()
        try await rebuilt.serve { server in
            try await ReplicationTests.settle(server)
            let names = try await rig.store(2).objects(prefix, maximumCount: 10).map(\.name)
            #expect(names.count == 2 && names.contains(name))
        }
    }
}
