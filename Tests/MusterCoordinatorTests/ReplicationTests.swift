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

@Suite("Replicas in several stores")
struct ReplicationTests {
    /// Waits until every copy that is wanted is there.
    ///
    /// - Parameter absent: stores that are away, whose copies cannot be.
    static func settle(_ server: Server, absent: Set<String> = []) async throws {
        for _ in 0..<20_000 {
            // In this order: what a walk that has ended wants is in the queue.
            let walk = try await server.service.coordinator.catalog.setting(Coordinator.placementWalk) ?? []
            let list: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
            let open = list.stores.filter { $0.wantedCopies + $0.badReplicas > 0 && !absent.contains($0.name) }
            if open.isEmpty, walk.isEmpty { return }
            // What was tried in vain is due later by the catalog's clock.
            server.rig.clock.advance(by: .seconds(1))
        }
        throw Unexpected("the copies do not come to an end")
    }

    /// What objects a store has, without the generation that is each copy's own.
    static func contents(_ rig: Rig, _ number: Int) async throws -> [String: [UInt8]] {
        let store = try await rig.store(number)
        var contents: [String: [UInt8]] = [:]
        for prefix in [ObjectPrefix.packs, .manifests, .receipts, .nodes] {
            for object in try await store.objects(prefix, maximumCount: 1000) {
                let stem = object.name.description.split(separator: ".")[0]
                contents[String(stem)] = try await store.read(object.name, maximumBytes: 1 << 20)
            }
        }
        return contents
    }

    /// Every pack and manifest in a store, by its whole name.
    static func names(_ rig: Rig, _ number: Int) async throws -> Set<ObjectName> {
        let store = try await rig.store(number)
        let packs = try await store.objects(.packs, maximumCount: 1000)
        return Set((packs + (try await store.objects(.manifests, maximumCount: 1000))).map(\.name))
    }

    private static func replicas(_ server: Server, _ id: SnapshotID) async throws -> [String: String] {
        let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(id)")
        return Dictionary(uniqueKeysWithValues: shown.replicas.map { ($0.store, $0.state) })
    }

    private static func firstFile(_ rig: Rig, _ number: Int, _ prefix: ObjectPrefix) async throws -> String {
        let object = try #require(try await rig.store(number).objects(prefix, maximumCount: 100).first)
        return rig.folder(number) + "/" + object.name.description
    }

    private static func rewrite(_ path: String, _ change: (inout Data) throws -> Void) throws {
        var bytes = try Data(contentsOf: URL(filePath: path))
        try change(&bytes)
        try FileManager.default.removeItem(atPath: path)
        try bytes.write(to: URL(filePath: path))
    }

    @Test func aSnapshotIsCopiedWholeToItsSecondStore() async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 9)
            try await Self.settle(server)
            let first = try await Self.contents(rig, 1)
            #expect(first.count == 9 * 3 + 1, "packs, manifests, receipts, and the key record")
            #expect(first == (try await Self.contents(rig, 2)))
            let last = try #require(lineage.snapshots.last)
            #expect(try await Self.replicas(server, last.id) == ["main": "present", "store2": "present"])
        }
    }

    @Test func aReceiptNamesEveryStoreItWaitedFor() async throws {
        let rig = try await Rig(stores: 3, placement: "replicas: 2, before_receipt: 2")
        try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 3)
            let last = try #require(lineage.snapshots.last)
            let answer = try await server.peer(lineage.node).commit(last.manifest)
            let receipt = try Receipt.parse(Array(try Muster_V1_CommitResponse(serializedBytes: answer.body).receipt))
            let keepers = server.service.coordinator.stores.keepers(of: lineage.node.id)
            #expect(receipt.claimed.stores == keepers.map(\.name) && keepers.count == 2)
            // At once, without any copy in the background.
            #expect(
                try await Self.contents(rig, Int(keepers[0].number))
                    == Self.contents(rig, Int(keepers[1].number)))
        }
    }

    @Test(
        arguments: ["packs", "manifests", "receipts"], ["flipped", "missing", "truncated", "swapped"])
    func aReplicaThatIsFoundBadIsMadeAnewFromAGoodOne(kind: String, damage: String) async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 4)
            try await Self.settle(server)
            let sound = try await Self.contents(rig, 1)
            let prefix = try #require(
                ["packs": ObjectPrefix.packs, "manifests": .manifests, "receipts": .receipts][kind])
            let names = try await rig.store(2).objects(prefix, maximumCount: 100).map(\.name.description).sorted()
            let path = rig.folder(2) + "/" + names[0]
            let other = rig.folder(2) + "/" + names[1]
            switch damage {
            case "flipped": try Self.rewrite(path) { $0[$0.count / 2] ^= 1 }
            case "missing": try FileManager.default.removeItem(atPath: path)
            case "truncated": try Self.rewrite(path) { $0.removeLast() }
            default:
                let bytes = try Data(contentsOf: URL(filePath: other))
                try Self.rewrite(other) { $0 = try Data(contentsOf: URL(filePath: path)) }
                try Self.rewrite(path) { $0 = bytes }
            }
            let found = try await InspectionTests.verify(server, "scrub", lineage.snapshots)
            #expect(Set(found.failed.map(\.store)) == ["store2"])
            try await Self.settle(server)
            let after = try await InspectionTests.verify(server, "scrub", lineage.snapshots)
            #expect(after.failed.isEmpty && after.passed == 4)
            let bad = Set(found.failed.map { String($0.object.split(separator: ".")[0]) })
            #expect(bad.count == (damage == "swapped" ? 2 : 1))
            let contents = try await rig.store(2).objects(prefix, maximumCount: 100).map(\.name.description)
            // The bad bytes stay in quarantine under their own name, and are not overwritten.
            #expect(contents.count == names.count + (damage == "missing" ? 0 : bad.count))
            for stem in bad {
                let good = try #require(contents.filter { $0.hasPrefix(stem) && !names.contains($0) }.first)
                let bytes = try await rig.store(2).read(try #require(ObjectName(good)), maximumBytes: 1 << 20)
                #expect(bytes == sound[stem])
            }
        }
    }

    @Test(arguments: ["flipped", "missing"])
    func aKeyRecordIsRepairedFromAnotherStore(damage: String) async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 2)
            try await Self.settle(server)
            let sound = try await Self.contents(rig, 1)
            let path = try await Self.firstFile(rig, 2, .nodes)
            if damage == "missing" {
                try FileManager.default.removeItem(atPath: path)
            } else {
                try Self.rewrite(path) { $0[$0.count / 2] ^= 1 }
            }
            let found = try await InspectionTests.verify(server, "scrub", lineage.snapshots)
            #expect(
                Set(found.failed.map(\.store)) == ["store2"],
                "repaired before the second snapshot was looked at, or after")
            try await Self.settle(server)
            #expect(try await InspectionTests.verify(server, "scrub", lineage.snapshots).passed == 2)
            let keys = try await rig.store(2).objects(.nodes, maximumCount: 10).map(\.name.description)
            let made = try #require(keys.first { !path.hasSuffix($0) })
            let bytes = try await rig.store(2).read(try #require(ObjectName(made)), maximumBytes: 1 << 20)
            #expect(bytes == sound[String(made.split(separator: ".")[0])])
        }
    }

    @Test(arguments: ["packs", "manifests", "receipts", "nodes"])
    func theScrubFindsDamageByItselfAndItHeals(kind: String) async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 2)
            try await Self.settle(server)
            let prefixes = [
                "packs": ObjectPrefix.packs, "manifests": .manifests, "receipts": .receipts, "nodes": .nodes,
            ]
            let path = try await Self.firstFile(rig, 2, try #require(prefixes[kind]))
            try Self.rewrite(path) { $0[$0.count / 2] ^= 1 }
            let coordinator = server.service.coordinator
            let scrub = ScrubService(coordinator: coordinator)
            let store = try #require(coordinator.stores.store(named: "store2"))
            let pace = CopyPace(bytesPerSecond: 0, clock: server.rig.clock)
            var passed = ScrubService.PassedOver()
            #expect(try await !scrub.scrubBatch(of: store, pace, &passed), "all of it was hashed when it came")
            server.rig.clock.advance(by: .seconds(8 * 86_400))
            #expect(try await scrub.scrubBatch(of: store, pace, &passed))
            #expect(try await !scrub.scrubBatch(of: store, pace, &passed), "what was read is not due again")
            try await Self.settle(server)
            #expect(try await InspectionTests.verify(server, "scrub", lineage.snapshots).passed == 2)
        }
    }

    @Test func onceItIsHealedNoAlarmStands() async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 2)
            try await Self.settle(server)
            try Self.rewrite(try await Self.firstFile(rig, 2, .packs)) { $0[$0.count / 2] ^= 1 }
            #expect(try await InspectionTests.verify(server, "scrub", lineage.snapshots).failed.isEmpty == false)
            // Nobody asks for another inspection.
            for _ in 0..<20_000 {
                let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
                if !status.alarms.contains(where: { $0.kind == "damaged" }) { return }
            }
            Issue.record("the alarm stands still")
        }
    }

    @Test func whileAStoreIsAwayTheOthersGoOnAndItCatchesUp() async throws {
        let rig = try await Rig(stores: 2)
        let absence = Absence()
        try await rig.serve(wrapStore: { AbsentStore($0, absence) }) { server in
            var lineage = try await TestLineage.make(server, count: 2)
            try await Self.settle(server)
            let away = server.service.coordinator.stores.keepers(of: lineage.node.id)[0].name
            absence.name = away
            // The first commit finds out and fails, unless some other work found out before; the node sends it again.
            let next = try lineage.next(base: 0)
            let first = try await server.peer(lineage.node).commit(next.manifest, packs: [next.pack.bytes])
            #expect(first.status == 200 || (first.status == 503 && first.error.transient))
            try await lineage.add(next, to: server)
            #expect(try await Self.replicas(server, next.id)[away] == "wanted")
            let early = lineage.snapshots[0]
            let pack = try await server.peer(lineage.node).send(.agent, .get, "/v1/packs/\(early.pack.id)")
            #expect(pack.body == early.pack.bytes, "from the store that is there")
            let run = try await InspectionTests.verify(server, "scrub", lineage.snapshots)
            #expect(run.failed.count == 2 && run.failed.allSatisfy { $0.reason.contains("is away") })
            #expect(run.passed == 1, "the one that is nowhere but in the store that answers")

            absence.name = ""
            server.rig.clock.advance(by: .seconds(60))
            try await Self.settle(server)
            #expect(try await Self.contents(rig, 1) == Self.contents(rig, 2))
            #expect(try await InspectionTests.verify(server, "scrub", lineage.snapshots).passed == 3)
        }
    }

    @Test func aStoreThatIsAddedGetsWhatBelongsThere() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: 5)
            var request = Muster_V1_StoreAddRequest()
            (request.name, request.url, request.site) = ("second", rig.folder(2), "cellar")
            let list: Muster_V1_StoreList = try await server.asAdmin.post(.admin, "/v1/stores", request)
            #expect(list.stores.map(\.name) == ["main", "second"] && list.stores.map(\.site) == ["", "cellar"])
            try await Self.settle(server)
            #expect(try await Self.contents(rig, 1) == Self.contents(rig, 2))
            let kept = try await rig.store(2).objects(.coordinator, maximumCount: 10).map(\.name)
            for record in [CoordinatorRecord.authorityKey, .receiptKey] {
                #expect(
                    kept.contains { if case .coordinatorRecord(record, _) = StoredItem($0) { true } else { false } })
            }
            #expect(kept.contains(.coordinatorEpoch(1)))
            #expect(kept.contains { if case .coordinatorState = StoredItem($0) { true } else { false } })
            // Given up, it counts no longer, and the first has everything still.
            var change = Muster_V1_StoreChangeRequest()
            change.placement = "lost"
            let left: Muster_V1_StoreList = try await server.asAdmin.post(.admin, "/v1/stores/second", change)
            #expect(left.stores.map(\.name) == ["main"])
            #expect(try await Self.replicas(server, lineage.snapshots[0].id)["main"] == "present")
            let refused = try await server.asAdmin.tryPost(.admin, "/v1/stores/main", change)
            #expect(refused.status == 409 && refused.code == "last_store")
            let again = try await server.asAdmin.tryPost(.admin, "/v1/stores", request)
            #expect(again.status == 409 && again.code == "store_exists")
        }
    }

    @Test func ofTwoStoresThatAreGivenUpAtOnceOneStays() async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for name in ["main", "store2"] {
                    group.addTask {
                        let change = Muster_V1_StoreChangeRequest.with { $0.placement = "lost" }
                        return try await server.asAdmin.tryPost(.admin, "/v1/stores/\(name)", change).status
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.sorted() == [200, 409])
            let coordinator = server.service.coordinator
            let left = try await coordinator.catalog.stores().filter { $0.state == .active }.map(\.number)
            #expect(left.count == 1 && coordinator.stores.active.map(\.number) == left)
        }
    }

    @Test func aDrainingStoreIsASourceAndTakesNothingNew() async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 1")
        try await rig.serve { server in
            var lineage = try await TestLineage.make(server, count: 3)
            let keeper = server.service.coordinator.stores.keepers(of: lineage.node.id)[0]
            var change = Muster_V1_StoreChangeRequest()
            change.placement = "draining"
            let _: Muster_V1_StoreList = try await server.asAdmin.post(.admin, "/v1/stores/\(keeper.name)", change)
            try await Self.settle(server)
            #expect(try await Self.contents(rig, 1) == Self.contents(rig, 2))
            let before = try await Self.contents(rig, Int(keeper.number))
            try await lineage.add(try lineage.next(base: 0), to: server)
            #expect(try await Self.contents(rig, Int(keeper.number)) == before)
        }
    }

    /// A store far away answers each request late.
    @Test(.timeLimit(.minutes(10))) func packsOfASnapshotAreCopiedSeveralAtOnce() async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 1")
        let hooks = StoreHooks()
        try await rig.serve(wrapStore: { HookedStore($0, hooks) }) { server in
            let coordinator = server.service.coordinator
            let lineage = try await TestLineage.make(server, count: 5)
            let keeper = coordinator.stores.keepers(of: lineage.node.id)[0]
            let other = try #require(coordinator.stores.all.first { $0.number != keeper.number })
            let newest = try #require(try await coordinator.catalog.snapshot(lineage.snapshots[4].id))
            func lacking() async throws -> [Int64] {
                try await coordinator.catalog.standing(of: newest, in: other.number, limit: 10).lacking
            }
            let together = Rendezvous(of: 4)
            hooks.onCommit { name throws(StoreError) in
                // Four meet here, or the test ends by its time limit.
                if case .pack = StoredItem(name) { await together.meet() }
            }
            #expect(try await lacking().count == 5)
            try await coordinator.copy(packs: try await lacking(), to: other)
            #expect(try await lacking() == [])
        }
    }

    @Test func theQueueSurvivesARestart() async throws {
        let rig = try await Rig(stores: 2)
        let moved = rig.folder(2) + ".away"
        try FileManager.default.moveItem(atPath: rig.folder(2), toPath: moved)
        let wanted = try await rig.serve { server in
            _ = try await TestLineage.make(server, count: 3)
            let list: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
            return list.stores.map(\.wantedCopies)
        }
        #expect(wanted == [0, 3], "a coordinator runs without its second store, and knows what it lacks")
        try FileManager.default.moveItem(atPath: moved, toPath: rig.folder(2))
        try await rig.serve { server in
            try await Self.settle(server)
            #expect(try await Self.contents(rig, 1) == Self.contents(rig, 2))
        }
    }
}

/// Which store is away.
final class Absence: Sendable {
    private let state = Mutex("")
    var name: String {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }
}

/// A store that does not answer while it is away.
struct AbsentStore: Store {
    let store: any Store
    let absence: Absence
    var name: String { store.name }

    init(_ store: any Store, _ absence: Absence) { (self.store, self.absence) = (store, absence) }

    private func answering() throws(StoreError) -> any Store {
        guard absence.name != name else { throw .unavailable(store: name, reason: "nobody answers") }
        return store
    }

    func beginPut() async throws(StoreError) -> any ObjectWriter { try await answering().beginPut() }
    func put(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) { try await answering().put(name, bytes) }
    func prepare(_ bytes: [UInt8]) async throws(StoreError) -> any ObjectWriter {
        try await answering().prepare(bytes)
    }
    func read(_ name: ObjectName, maximumBytes: Int, fresh: Bool) async throws(StoreError) -> [UInt8] {
        try await answering().read(name, maximumBytes: maximumBytes, fresh: fresh)
    }
    func read(_ name: ObjectName, range: Range<UInt64>, fresh: Bool) async throws(StoreError) -> [UInt8] {
        try await answering().read(name, range: range, fresh: fresh)
    }
    func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64? {
        try await answering().byteCount(of: name)
    }
    func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor {
        try await answering().list(prefix)
    }
    func delete(_ name: ObjectName) async throws(StoreError) { try await answering().delete(name) }
    func freeBytes() async throws(StoreError) -> UInt64 { try await answering().freeBytes() }
}
