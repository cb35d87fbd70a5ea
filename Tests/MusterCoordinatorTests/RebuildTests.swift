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

@Suite("A coordinator rebuilt from its stores")
struct RebuildTests {
    let rig: Rig
    var store: String { rig.folder(1) }

    init() async throws { rig = try await Rig(stores: 1) }

    /// A node with so many snapshots in a row, each with packs of its own.
    func makeHistory(_ count: Int, name: String = "alpha") async throws -> (TestNode, [TestSnapshot]) {
        try await rig.serve { server in
            let node = try await server.makeNode(name)
            var snapshots: [TestSnapshot] = []
            for index in 0..<count {
                let next = try node.makeSnapshot(extents: 2, seed: UInt64(index + 1), after: snapshots.last?.manifest)
                let answer = try await server.peer(node).commit(next.manifest, packs: [next.pack.bytes])
                guard answer.status == 200 else { throw Unexpected("\(answer.error)") }
                snapshots.append(next)
                server.rig.clock.advance(by: .seconds(60))
            }
            return (node, snapshots)
        }
    }

    func object(_ prefix: ObjectPrefix, of snapshot: TestSnapshot) async throws -> ObjectName {
        let id = prefix == .packs ? snapshot.pack.id.description : snapshot.id.description
        let objects = try await rig.store(1).objects(prefix, maximumCount: 1000)
        return try #require(objects.first { $0.name.description.contains(id) }).name
    }

    func file(_ name: ObjectName) -> URL { URL(filePath: store + "/" + name.description) }

    func damage(_ name: ObjectName) throws {
        var bytes = try Data(contentsOf: file(name))
        bytes[bytes.count / 2] ^= 1
        try FileManager.default.removeItem(at: file(name))
        try bytes.write(to: file(name))
    }

    static func listed(_ server: Server) async throws -> [Muster_V1_Snapshot] {
        let list: Muster_V1_SnapshotList = try await server.asAdmin.get(.admin, "/v1/snapshots")
        return list.snapshots
    }

    @Test func everySnapshotIsBackAsItWas() async throws {
        let (node, snapshots) = try await makeHistory(5)
        let before = try await rig.serve { try await Self.listed($0) }
        let (rebuilt, outcome) = try await rig.rebuilt(from: [store])
        #expect(outcome.findingCount == 0, "\(outcome.findings)")
        #expect(outcome.snapshots == 5)
        #expect(outcome.epoch == 2)
        try await rebuilt.serve { server in
            let after = try await Self.listed(server)
            #expect(after == before)
            let last = try #require(snapshots.last)
            let next = try node.makeSnapshot(extents: 2, seed: 99, after: last.manifest)
            let answer = try await server.peer(node).commit(next.manifest, packs: [next.pack.bytes])
            #expect(answer.status == 200, "\(answer.error)")
            let receipt = try Muster_V1_CommitResponse(serializedBytes: answer.body).receipt
            #expect(try Receipt.parse(Array(receipt)).claimed.coordinatorEpoch == 2)
            // What the stores hold need not be sent again, once it was read: until then it is only listed.
            try await LostRecordTests.scrub(server, afterDays: 0)
            var request = Muster_V1_MissingRequest()
            for entry in last.pack.entries { request.chunkIds.append(contentsOf: entry.id.bytes) }
            let missing: Muster_V1_MissingResponse = try await server.peer(node).post(
                .agent, "/v1/chunks/missing", request)
            // All but the map, which is the last of its chunks: what was read is known for its extents.
            #expect(missing.present.count == last.pack.entries.count - 1)
        }
    }

    @Test(arguments: [ObjectPrefix.receipts, .manifests])
    func whatIsDamagedIsNamedAndLeftOut(prefix: ObjectPrefix) async throws {
        let (node, snapshots) = try await makeHistory(4)
        let name = try await object(prefix, of: snapshots[1])
        try damage(name)
        let (rebuilt, outcome) = try await rig.rebuilt(from: [store])
        #expect(outcome.findings.map(\.object) == [name.description])
        #expect(outcome.snapshots == 3)
        try await rebuilt.serve { server in
            let ids = try await Self.listed(server).map(\.id)
            #expect(ids == [3, 2, 0].map { snapshots[$0].id.description })
            // After the gap the lineage goes on, and needs the packs that it needs.
            let next = try node.makeSnapshot(extents: 2, seed: 9, after: snapshots[3].manifest)
            let answer = try await server.peer(node).commit(next.manifest, packs: [next.pack.bytes])
            #expect(answer.status == 200, "\(answer.error)")
        }
    }

    @Test func aManifestWithoutAReceiptIsNoSnapshot() async throws {
        let (_, snapshots) = try await makeHistory(3)
        try FileManager.default.removeItem(at: file(try await object(.receipts, of: snapshots[2])))
        let (_, outcome) = try await rig.rebuilt(from: [store])
        #expect(outcome.snapshots == 2)
        #expect(outcome.unacknowledged == 1)
        #expect(outcome.findingCount == 0)
        // Its pack stays where it is.
        #expect(outcome.unreferencedPacks == 1 && outcome.unreferencedBytes == snapshots[2].pack.bytes.count)
    }

    @Test func ofTwoCopiesTheGoodOneIsTaken() async throws {
        let (_, snapshots) = try await makeHistory(2)
        for prefix in [ObjectPrefix.packs, .manifests, .receipts] {
            let name = try await object(prefix, of: snapshots[0])
            let stem = name.description.split(separator: ".")[0]
            // Sorts before any other, so that it is the first to be looked at.
            let bad = try #require(ObjectName("\(stem).0000000000000000"))
            try FileManager.default.copyItem(at: file(name), to: file(bad))
            try damage(bad)
        }
        let (rebuilt, outcome) = try await rig.rebuilt(from: [store])
        #expect(outcome.snapshots == 2)
        #expect(outcome.findingCount == 3, "\(outcome.findings)")
        #expect(outcome.unreferencedPacks == 1 && outcome.unreferencedBytes == snapshots[0].pack.bytes.count)
        try await rebuilt.serve { server in
            let pack = try await server.asAdmin.send(.admin, .get, "/v1/packs/\(snapshots[0].pack.id)")
            #expect(pack.body == snapshots[0].pack.bytes)
            let manifest = try await server.asAdmin.send(.admin, .get, "/v1/snapshots/\(snapshots[0].id)/manifest")
            #expect(manifest.body == snapshots[0].manifest.bytes)
            let known = try await server.service.coordinator.catalog.snapshot(snapshots[0].id)
            let receipts = try #require(known).replicas.map(\.receiptGeneration)
            #expect(receipts.count == 1 && receipts != ["0000000000000000"])
        }
    }

    /// Of each snapshot one store has lost the receipt, and the other one the manifest.
    @Test func whatOneStoreLacksTheOtherOneHas() async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            _ = try await TestLineage.make(server, count: 3)
            try await ReplicationTests.settle(server)
        }
        let before = try await ReplicationTests.contents(rig, 1)
        for (number, prefix) in [(1, ObjectPrefix.receipts), (2, .manifests)] {
            for object in try await rig.store(number).objects(prefix, maximumCount: 100) {
                try FileManager.default.removeItem(atPath: rig.folder(number) + "/" + object.name.description)
            }
        }
        let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.folder(1), rig.folder(2)])
        #expect(outcome.snapshots == 3 && outcome.findingCount == 0)
        try await rebuilt.serve { try await ReplicationTests.settle($0) }
        let (one, two) = (try await ReplicationTests.contents(rig, 1), try await ReplicationTests.contents(rig, 2))
        #expect(one == before)
        #expect(two == before)
    }

    @Test func aStoreThatIsGivenTwiceIsOne() async throws {
        _ = try await makeHistory(1)
        let link = rig.directory.file("link")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: store)
        let (rebuilt, _) = try await rig.rebuilt(from: [store, link, store])
        try await rebuilt.serve { server in
            let stores: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
            #expect(stores.stores.map(\.name) == ["main"])
        }
    }

    /// Its disk is mounted elsewhere now.
    @Test func aStoreThatMovedIsGivenWithItsName() async throws {
        _ = try await makeHistory(1)
        let moved = rig.directory.file("moved")
        try FileManager.default.moveItem(atPath: store, toPath: moved)
        let (rebuilt, outcome) = try await rig.rebuilt(from: ["main=\(moved)"])
        #expect(outcome.findings == [] && outcome.unreadStores == [])
        try await rebuilt.serve { server in
            let stores: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
            #expect(stores.stores.map(\.name) == ["main"])
            #expect(stores.stores.map(\.url) == [try StorePlace(moved).url])
        }
    }

    @Test func aPackThatIsNowhereIsAskedForAgain() async throws {
        let (node, snapshots) = try await makeHistory(2)
        try FileManager.default.removeItem(at: file(try await object(.packs, of: snapshots[1])))
        let (rebuilt, outcome) = try await rig.rebuilt(from: [store])
        #expect(outcome.snapshots == 2)
        #expect(outcome.findings.map(\.object) == ["snapshot \(snapshots[1].id)"])
        try await rebuilt.serve { server in
            let next = try node.makeSnapshot(extents: 2, seed: 2, after: snapshots[1].manifest)
            let answer = try await server.peer(node).commit(next.manifest)
            #expect(answer.code == "packs_missing")
            #expect(answer.error.missingPacks == [snapshots[1].pack.id.description])
            let again = try await server.peer(node).commit(next.manifest, packs: [next.pack.bytes])
            #expect(again.status == 200)
        }
    }

    @Test func anotherRecoveryKeyOpensNothing() async throws {
        _ = try await makeHistory(1)
        await #expect(throws: RebuildError.wrongRecoveryKey) {
            _ = try await rig.rebuilt(from: [store], key: RecoveryKey(from: .system))
        }
        #expect(!FileManager.default.fileExists(atPath: rig.directory.file("rebuilt")))
    }

    /// Anybody who can write into a store can seal to the recovery key, which is public.
    @Test func keysThatAStrangerSealedAreNotTaken() async throws {
        let (node, _) = try await makeHistory(2)
        let writable = try await FolderStore.open(at: store, name: "1", random: .system)
        let text = try String(contentsOfFile: rig.place.recoveryKey, encoding: .utf8)
        let recovery = try RecoveryKey(fileText: text).publicKey
        let stranger = SigningKey(from: .system)
        for (record, secret) in [
            (CoordinatorRecord.receiptKey, stranger.privateBytes), (.authorityKey, Array("no authority".utf8)),
        ] {
            let sealed = try SealedRecord.make(
                secret, name: record.rawValue, coordinatorEpoch: 9, recipients: [recovery], signer: stranger,
                random: .system)
            try await writable.put(.coordinatorRecord(record, Generation(from: .system)), sealed)
        }
        let (rebuilt, outcome) = try await rig.rebuilt(from: [store])
        #expect(outcome.snapshots == 2)
        try await rebuilt.serve { server in
            let answer = try await server.peer(node).send(.agent, .get, "/v1/snapshots")
            #expect(answer.status == 200)
        }
    }

    @Test func aRebuildThatWasCutOffIsBegunAgain() async throws {
        _ = try await makeHistory(2)
        let left = rig.directory.file("rebuilt.rebuilding")
        try FileManager.default.createDirectory(atPath: left, withIntermediateDirectories: true)
        try Data("half".utf8).write(to: URL(filePath: left + "/rebuild.db"))
        try Data("half".utf8).write(to: URL(filePath: left + "/catalog.db"))
        let outcome = try await rig.rebuilt(from: [store]).outcome
        #expect(outcome.snapshots == 2)
        // What a rebuild did not make is not removed.
        let foreign = rig.directory.file("again.rebuilding")
        try FileManager.default.createDirectory(atPath: foreign, withIntermediateDirectories: true)
        try Data("mine".utf8).write(to: URL(filePath: foreign + "/notes"))
        await #expect(throws: CoordinatorSetupError.directoryNotEmpty(path: foreign)) {
            _ = try await rig.rebuilt(from: [store], as: "again")
        }
    }

    @Test func eachRebuildTakesTheNextEpoch() async throws {
        _ = try await makeHistory(1)
        let first = try await rig.rebuilt(from: [store], as: "a").outcome
        #expect(first.epoch == 2)
        // A name that nobody signed takes no epoch, but it cannot be written again either.
        let writable = try await FolderStore.open(at: store, name: "1", random: .system)
        try await writable.put(.coordinatorEpoch(3), Array("nobody".utf8))
        try await writable.put(.coordinatorEpoch(UInt64.max), Array("nobody".utf8))
        let second = try await rig.rebuilt(from: [store], as: "b").outcome
        #expect(second.epoch == 4)
    }

    /// The coordinator that was thought lost comes back, and while it runs another one takes over from it.
    @Test(arguments: [true, false])
    func anOlderCoordinatorOnlyReads(runsOn: Bool) async throws {
        let (node, snapshots) = try await makeHistory(2)
        let next = try node.makeSnapshot(extents: 2, seed: 9, after: snapshots[1].manifest)
        if !runsOn { _ = try await rig.rebuilt(from: [store]) }
        try await rig.serve { server in
            if runsOn {
                _ = try await rig.rebuilt(from: [store])
                try await server.service.coordinator.lookForSuccessor()
            }
            let before = try await ReplicationTests.contents(rig, 1)
            let peer = server.peer(node)
            for answer in [
                try await peer.commit(next.manifest, packs: [next.pack.bytes]), try await peer.put(next.pack),
                try await peer.tryPost(.agent, "/v1/report", Muster_V1_ReportRequest()),
                try await server.asAdmin.tryPost(.admin, "/v1/snapshots/hold", Muster_V1_SnapshotHoldRequest()),
                try await server.asAdmin.tryPost(.admin, "/v1/tokens", Muster_V1_TokenRequest()),
                try await server.asAnonymous.tryPost(.agent, "/v1/join", Muster_V1_JoinRequest()),
            ] {
                #expect(answer.status == 503)
                #expect(answer.code == "superseded")
                #expect(answer.error.transient)
            }
            let listed = try await Self.listed(server)
            #expect(listed.count == 2)
            let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(status.alarms.map(\.kind) == ["superseded"])
            let after = try await ReplicationTests.contents(rig, 1)
            #expect(after == before)
        }
        // It remembers, also when no store says so any more.
        try FileManager.default.removeItem(at: file(.coordinatorEpoch(2)))
        try await rig.serve { server in
            #expect(server.service.coordinator.succession.successor == 2)
        }
    }

    @Test func anEpochThatNobodySignedPutsNoOneOff() async throws {
        let (node, snapshots) = try await makeHistory(1)
        let writable = try await FolderStore.open(at: store, name: "1", random: .system)
        try await writable.put(.coordinatorEpoch(7), Array("nobody".utf8))
        // Signed by the fleet's key, but for another epoch.
        let own = try await writable.read(.coordinatorEpoch(1), maximumBytes: 1 << 20)
        try await writable.put(.coordinatorEpoch(8), own)
        try await rig.serve { server in
            let next = try node.makeSnapshot(extents: 2, seed: 9, after: snapshots[0].manifest)
            let answer = try await server.peer(node).commit(next.manifest, packs: [next.pack.bytes])
            #expect(answer.status == 200)
        }
    }

    /// It drained because nobody had read it, and not because somebody said so.
    @Test(arguments: [false, true])
    func aStoreThatIsReadByALaterRebuildTakesItsPlaceAgain(wasDraining: Bool) async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            _ = try await TestLineage.make(server, count: 3)
            try await ReplicationTests.settle(server)
            guard wasDraining else { return }
            var change = Muster_V1_StoreChangeRequest()
            change.placement = "draining"
            let _: Muster_V1_StoreList = try await server.asAdmin.post(.admin, "/v1/stores/main", change)
        }
        try FileManager.default.moveItem(atPath: rig.folder(1), toPath: rig.folder(9))
        let (first, _) = try await rig.rebuilt(from: [rig.folder(2)])
        try await first.serve { server in
            let stores: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
            #expect(stores.stores.map { "\($0.name) \($0.placement)" } == ["store2 active", "main draining"])
            try await server.service.coordinator.keepChange()
        }
        // Twice without it, and it is known all the same.
        let (second, _) = try await rig.rebuilt(from: [rig.folder(2)], as: "second")
        try await second.serve { try await $0.service.coordinator.keepChange() }
        try FileManager.default.moveItem(atPath: rig.folder(9), toPath: rig.folder(1))
        let (third, outcome) = try await rig.rebuilt(from: [rig.folder(1), rig.folder(2)], as: "third")
        #expect(outcome.unreadStores == [] && outcome.snapshots == 3)
        try await third.serve { server in
            let stores: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
            let placements = Dictionary(uniqueKeysWithValues: stores.stores.map { ($0.name, $0.placement) })
            #expect(placements == ["store2": "active", "main": wasDraining ? "draining" : "active"])
        }
    }

    @Test func aStoreThatIsAwayIsNotTakenForAnEmptyOne() async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            _ = try await TestLineage.make(server, count: 3)
            try await ReplicationTests.settle(server)
        }
        try FileManager.default.moveItem(atPath: rig.folder(1), toPath: rig.folder(9))
        let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.folder(2)])
        #expect(outcome.unreadStores == ["main"])
        #expect(outcome.snapshots == 3)
        try FileManager.default.moveItem(atPath: rig.folder(9), toPath: rig.folder(1))
        let before = try await ReplicationTests.names(rig, 1)
        try await rebuilt.serve { server in
            try await ReplicationTests.settle(server)
            let stores: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
            #expect(stores.stores.map { "\($0.name) \($0.placement)" } == ["store2 active", "main draining"])
            let unscanned = try await server.service.coordinator.unscannedStores()
            #expect(unscanned == ["main"])
            let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(status.alarms.map(\.kind).contains("unscanned"))
            var change = Muster_V1_StoreChangeRequest()
            change.placement = "lost"
            let _: Muster_V1_StoreList = try await server.asAdmin.post(.admin, "/v1/stores/main", change)
            let left = try await server.service.coordinator.unscannedStores()
            #expect(left == [])
        }
        let after = try await ReplicationTests.names(rig, 1)
        #expect(after == before)
    }
}
