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

/// The coordinator that is rebuilt was thought lost and is not.
@Suite("Two coordinators of one fleet", .timeLimit(.minutes(10)))
struct TakeoverTests {
    /// Names that nothing has, to be deleted in the first store.
    private static func discard(_ count: Int, _ server: Server) async throws -> [ObjectName] {
        let coordinator = server.service.coordinator
        let store = try await FolderStore.open(at: server.rig.folder(1), name: "1", random: .system)
        var names: [ObjectName] = []
        for index in 0..<count {
            let name = ObjectName.pack(SHA256Hasher.hash([UInt8(index)]), Generation(from: .system))
            try await store.put(name, [1])
            try await coordinator.catalog.discard(
                name.description, in: 1, byteCount: 1, now: server.rig.clock.now(), reason: "test")
            names.append(name)
        }
        return names
    }

    private static func left(_ names: [ObjectName], _ rig: Rig) async throws -> Int {
        let store = try await rig.store(1)
        var left = 0
        for name in names where try await store.byteCount(of: name) != nil { left += 1 }
        return left
    }

    private static func record(of coordinator: Coordinator) -> EpochRecord {
        EpochRecord(receiptKey: coordinator.receiptKey, recoveryKeys: coordinator.recoveryKeys, random: .system)
    }

    /// As a rebuild does it, and then the time goes by that a look is believed.
    private static func takeOver(_ coordinator: Coordinator, _ rig: Rig) async throws(StoreError) {
        let store = try await FolderStore.open(at: rig.folder(1), name: "1", random: .system)
        do {
            _ = try await record(of: coordinator).claim(in: [store], at: rig.clock.now())
        } catch {
            throw .unavailable(store: "1", reason: "\(error)")
        }
        rig.clock.advance(by: Succession.lookLasts)
    }

    @Test func gcEndsWhereAnotherCoordinatorTookOver() async throws {
        let rig = try await Rig(stores: 1)
        let (hooks, takenOver) = (StoreHooks(), Stuck())
        try await rig.serve(wrapStore: { HookedStore($0, hooks) }) { server in
            let coordinator = server.service.coordinator
            // From the first on: the service deletes by itself as soon as there is anything.
            let count = Mutex(0)
            hooks.onDelete { _ throws(StoreError) in
                let number = count.withLock { count in
                    count += 1
                    return count
                }
                switch number {
                case ..<5: break
                case 5:
                    defer { takenOver.letGo() }
                    try await Self.takeOver(coordinator, rig)
                default: await takenOver.hang()
                }
            }
            let names = try await Self.discard(20, server)
            try await coordinator.collectIfWanted()
            // What three other lanes had begun before may end within the time that a rebuild waits for.
            #expect((12...15).contains(try await Self.left(names, rig)))
            #expect(coordinator.succession.successor == 2)
        }
    }

    /// What cannot be asked who goes on is not deleted from.
    @Test func withoutALookNothingIsDeleted() async throws {
        let rig = try await Rig(stores: 1)
        let hooks = StoreHooks()
        try await rig.serve(wrapStore: { HookedStore($0, hooks) }) { server in
            let names = try await Self.discard(3, server)
            hooks.onLook { name throws(StoreError) in
                guard case .coordinatorEpoch = StoredItem(name) else { return false }
                throw .refused(store: "main", object: "\(name)", reason: "it cannot tell", hint: "Wait.")
            }
            rig.clock.advance(by: Succession.lookLasts)
            try await server.service.coordinator.collectIfWanted()
            #expect(try await Self.left(names, rig) == 3)
            hooks.onLook(nil)
            try await server.service.coordinator.collectIfWanted()
            #expect(try await Self.left(names, rig) == 0)
        }
    }

    /// One object that cannot be deleted is in nobody's way, and is told of.
    @Test func oneThatCannotBeDeletedIsPutOff() async throws {
        let rig = try await Rig(stores: 1)
        let hooks = StoreHooks()
        try await rig.serve(wrapStore: { HookedStore($0, hooks) }) { server in
            let coordinator = server.service.coordinator
            let names = try await Self.discard(4, server)
            hooks.onDelete { name throws(StoreError) in
                guard name == names[0] else { return }
                throw .refused(store: "main", object: "\(name)", reason: "it is locked", hint: "Wait.")
            }
            try await coordinator.collectIfWanted()
            #expect(try await Self.left(names, rig) == 1)
            let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            let alarm = try #require(status.alarms.first { $0.kind == "gc" })
            #expect(alarm.summary.contains("1 object") && alarm.summary.contains("it is locked"))
            hooks.onDelete(nil)
            try await coordinator.collectIfWanted()
            #expect(try await Self.left(names, rig) == 1)
            rig.clock.advance(by: .seconds(61))
            try await coordinator.collectIfWanted()
            #expect(try await Self.left(names, rig) == 0)
            let after: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(!after.alarms.contains { $0.kind == "gc" })
        }
    }

    /// Whether an object that takes too long fails with that or hangs for ever.
    @Test(arguments: [false, true])
    func oneThatTakesTooLongIsPutOff(hangs: Bool) async throws {
        let rig = try await Rig(stores: 1)
        let (hooks, stuck) = (StoreHooks(), Stuck())
        try await rig.serve(wrapStore: { HookedStore($0, hooks) }) { server in
            let coordinator = server.service.coordinator
            let slow = ObjectName.pack(SHA256Hasher.hash([0]), Generation(from: .system))
            hooks.onDelete { name throws(StoreError) in
                guard name == slow else { return }
                if hangs { await stuck.hang() }
                throw .failed(store: "main", object: "\(name)", operation: "delete", code: ETIMEDOUT)
            }
            // It comes first.
            try await coordinator.catalog.discard(
                slow.description, in: 1, byteCount: 1, now: rig.clock.now() - .seconds(60), reason: "test")
            let names = try await Self.discard(20, server)
            try await coordinator.collectIfWanted()
            #expect(try await Self.left(names, rig) == 0)
            let undeletable = try #require(try await coordinator.catalog.undeletable().first)
            #expect(undeletable.count == 1)
            try await coordinator.collectIfWanted()
            #expect(try await coordinator.catalog.discardedObjects(in: 1, limit: 10, now: rig.clock.now()).isEmpty)
            stuck.letGo()
        }
    }

    /// Several at once, and a manifest before the packs that it may name.
    @Test func severalAreDeletedAtOnceAndPacksLast() async throws {
        let rig = try await Rig(stores: 1)
        let hooks = StoreHooks()
        try await rig.serve(wrapStore: { HookedStore($0, hooks) }) { server in
            let coordinator = server.service.coordinator
            let writable = try await FolderStore.open(at: rig.folder(1), name: "1", random: .system)
            let together = Rendezvous(of: 4)
            let order = Mutex<[ObjectName]>([])
            hooks.onDelete { name throws(StoreError) in
                order.withLock { $0.append(name) }
                // Four meet here, or the test ends by its time limit.
                if case .pack = StoredItem(name) { await together.meet() }
            }
            let place = SnapshotPlace(
                database: DatabaseID(from: .system), lineage: LineageID(from: .system), sequence: 0,
                snapshot: SnapshotID(from: .system))
            let manifest = ObjectName.manifest(place, Generation(from: .system))
            try await writable.put(manifest, [1])
            let packs = (0..<8).map { ObjectName.pack(SHA256Hasher.hash([UInt8($0)]), Generation(from: .system)) }
            for pack in packs { try await writable.put(pack, [1]) }
            // Due all at once, so that the service's own round meets all of them or none.
            for name in packs + [manifest] {
                try await coordinator.catalog.discard(
                    name.description, in: 1, byteCount: 1, now: rig.clock.now() + .seconds(60), reason: "test")
            }
            rig.clock.advance(by: .seconds(60))
            try await coordinator.collectIfWanted()
            #expect(try await Self.left(packs + [manifest], rig) == 0)
            #expect(order.withLock { $0.first } == manifest)
        }
    }

    /// A store that deletes nothing at all is not asked for every object.
    @Test func aStoreThatDeletesNothingIsLeftAlone() async throws {
        let rig = try await Rig(stores: 1)
        let hooks = StoreHooks()
        let asked = Mutex(0)
        try await rig.serve(wrapStore: { HookedStore($0, hooks) }) { server in
            hooks.onDelete { name throws(StoreError) in
                // A probe may come by, which deletes what it made.
                if case .pack = StoredItem(name) { asked.withLock { $0 += 1 } }
                throw .readOnly(store: "main")
            }
            let names = try await Self.discard(100, server)
            try await server.service.coordinator.collectIfWanted()
            #expect(try await Self.left(names, rig) == 100)
            // Ten for each run, and the service may have made some too.
            #expect((10..<100).contains(asked.withLock { $0 }))
        }
    }

    @Test func whatTheOldOneAcknowledgedLastIsKnown() async throws {
        let rig = try await Rig(stores: 1)
        let hooks = StoreHooks()
        try await rig.serve(wrapStore: { HookedStore($0, hooks) }) { server in
            let lineage = try await TestLineage.make(server, count: 2)
            // It has not looked yet.
            hooks.onLook { name throws(StoreError) in name == .coordinatorEpoch(2) }
            let pauses = Mutex<[Duration]>([])
            let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.folder(1)]) { time in
                let isFirst = pauses.withLock { pauses in
                    pauses.append(time)
                    return pauses.count == 1
                }
                guard isFirst else { return }
                var late = lineage
                try await late.add(try late.next(base: 0), to: server)
                hooks.onLook(nil)
            }
            #expect(pauses.withLock { $0 } == [Succession.takeover, Succession.takeover])
            #expect(outcome.snapshots == 3 && outcome.findings == [] && outcome.epoch == 2)
            try await rebuilt.serve { server in
                let listed = try await RebuildTests.listed(server)
                #expect(listed.map(\.sequence) == [2, 1, 0])
            }
        }
    }

    /// What the old one deleted while the stores were listed must not count as there.
    @Test func whatTheOldOneDeletedLastIsNotThere() async throws {
        let rig = try await Rig(stores: 1)
        _ = try await rig.serve { try await TestLineage.make($0, count: 2) }
        let writable = try await FolderStore.open(at: rig.folder(1), name: "1", random: .system)
        let receipts = try await writable.objects(.receipts, maximumCount: 10).map(\.name)
        let last = try #require(receipts.max { $0.description < $1.description })
        let isDeleted = Atomic(false)
        let (_, outcome) = try await rig.rebuilt(from: [rig.folder(1)]) { _ in
            if !isDeleted.exchange(true, ordering: .relaxed) { try await writable.delete(last) }
        }
        #expect(outcome.snapshots == 1 && outcome.unacknowledged == 1)
    }

    /// A node puts packs into a store by itself for as long as the addresses last that it was given.
    @Test func uploadsThatStillLandAreWaitedFor() async throws {
        let rig = try await Rig(stores: 1)
        _ = try await rig.serve { try await TestLineage.make($0, count: 2) }
        let landed = Mutex(0)
        let pauses = Mutex<[Duration]>([])
        let outcome = try await rig.rebuilt(
            from: [rig.folder(1)],
            pause: { time in pauses.withLock { $0.append(time) } },
            progress: { progress in
                // The stores are listed by then, and not yet for the second time.
                guard case .receipts = progress else { return }
                let count = landed.withLock { landed in
                    landed += 1
                    return landed
                }
                guard count <= 4 else { return }
                let name = ObjectName.pack(SHA256Hasher.hash([UInt8(count)]), Generation(from: .system))
                let file = URL(filePath: rig.folder(1) + "/" + name.description)
                do {
                    try FileManager.default.createDirectory(
                        at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
                    try Data([UInt8(count)]).write(to: file)
                } catch {
                    Issue.record(error)
                }
            }
        ).outcome
        #expect(outcome.snapshots == 2 && outcome.findings == [])
        let first = Succession.takeover
        #expect(pauses.withLock { $0 } == [first, first, first * 2, first * 4, first * 8])
    }

    @Test func aReceiptThatCameTooLateIsNotAcknowledged() async throws {
        let rig = try await Rig(stores: 1)
        let hooks = StoreHooks()
        try await rig.serve(wrapStore: { HookedStore($0, hooks) }) { server in
            let coordinator = server.service.coordinator
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot(seed: 1)
            hooks.onCommit { name throws(StoreError) in
                guard case .receipt = StoredItem(name) else { return }
                try await Self.takeOver(coordinator, rig)
            }
            let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            #expect(answer.status == 503 && answer.code == "superseded")
        }
    }

    /// The store that took the receipt does not say whether somebody took over: then nobody may rely on it.
    @Test func withoutALookNoReceiptIsAnswered() async throws {
        let rig = try await Rig(stores: 1)
        let hooks = StoreHooks()
        try await rig.serve(wrapStore: { HookedStore($0, hooks) }) { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot(seed: 1)
            hooks.onLook { name throws(StoreError) in
                guard case .coordinatorEpoch = StoredItem(name) else { return false }
                throw .refused(store: "main", object: "\(name)", reason: "it cannot tell", hint: "Wait.")
            }
            rig.clock.advance(by: Succession.lookLasts)
            for _ in 0..<3 {
                let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
                #expect(answer.status == 503 && answer.code == "no_look", "\(answer.error)")
                // What was noted is written, and housekeeping comes to the receipt before the node does.
                try await server.service.coordinator.completeReceipts()
                try await server.service.coordinator.catalog.settle()
            }
            hooks.onLook(nil)
            let answer = try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes])
            #expect(answer.status == 200, "\(answer.error)")
        }
    }

    /// As a folder whose mount hangs: no call into it ends, and none can be cancelled.
    @Test func aStoreThatHangsKeepsNoOtherFromBeingLookedAt() async throws {
        let rig = try await Rig(stores: 2)
        let (hooks, stuck) = (StoreHooks(), Stuck())
        let looks = Mutex(0)
        // Short, and only what hangs is to meet its end: the loop below has no other bound than the suite's.
        try await rig.serve(
            storePatience: .seconds(5), wrapStore: { $0.name == "main" ? HookedStore($0, hooks) : $0 }
        ) { server in
            let coordinator = server.service.coordinator
            let (first, second) = (coordinator.stores.all[0], coordinator.stores.all[1])
            hooks.onLook { name throws(StoreError) in
                guard case .coordinatorEpoch = StoredItem(name) else { return false }
                looks.withLock { $0 += 1 }
                await stuck.hang()
                return false
            }
            rig.clock.advance(by: Succession.lookLasts)
            while await !coordinator.mayChange(second) {}
            #expect(await !coordinator.mayChange(first))
            try await coordinator.lookForSuccessor()
            #expect(looks.withLock { $0 } == 1, "one look hangs, and no other is begun beside it")
            stuck.letGo()
            hooks.onLook(nil)
            while await !coordinator.mayChange(first) {}
        }
    }

    /// A store that was away when an epoch was taken has no gap all the same: a look asks for the next name alone.
    @Test func epochsFollowEachOtherInEveryStore() async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let record = Self.record(of: server.service.coordinator)
            let first = try await FolderStore.open(at: rig.folder(1), name: "1", random: .system)
            let second = try await FolderStore.open(at: rig.folder(2), name: "2", random: .system)
            let now = rig.clock.now()
            #expect(try await record.claim(in: [first], at: now) == 2)
            #expect(try await record.claim(in: [first], at: now) == 3)
            #expect(try await record.successor(in: second, of: 1) == 1)
            #expect(try await record.claim(in: [first, second], at: now) == 4)
            for store in [first, second] { #expect(try await record.successor(in: store, of: 1) == 4) }
            // Nobody hides an epoch behind a name that is taken by nothing.
            try await second.put(.coordinatorEpoch(5), [UInt8](repeating: 0, count: Format.maximumRecordBytes + 1))
            #expect(try await record.claim(in: [first, second], at: now) == 6)
            #expect(try await record.successor(in: second, of: 1) == 6)
        }
    }
}
