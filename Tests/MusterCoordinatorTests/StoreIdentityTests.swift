import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import SwiftProtobuf
import Testing

@testable import MusterCoordinator

@Suite("Which store is which", .timeLimit(.minutes(10)))
struct StoreIdentityTests {
    private static func swap(_ first: String, _ second: String) throws {
        let aside = first + ".aside"
        try FileManager.default.moveItem(atPath: first, toPath: aside)
        try FileManager.default.moveItem(atPath: second, toPath: first)
        try FileManager.default.moveItem(atPath: aside, toPath: second)
    }

    private static func filled(_ rig: Rig, count: Int = 3) async throws -> TestLineage {
        try await rig.serve { server in
            let lineage = try await TestLineage.make(server, count: count)
            try await ReplicationTests.settle(server)
            return lineage
        }
    }

    private static func add(_ server: Server, _ name: String, _ url: String) async throws -> Peer.Answer {
        var request = Muster_V1_StoreAddRequest()
        (request.name, request.url) = (name, url)
        return try await server.asAdmin.tryPost(.admin, "/v1/stores", request)
    }

    @Test func disksInEachOthersPlaceLoseNothing() async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 2")
        let lineage = try await Self.filled(rig)
        let names = try await ReplicationTests.names(rig, 1)
        try Self.swap(rig.folder(1), rig.folder(2))
        let given = try #require(names.first)
        try await rig.serve { server in
            let coordinator = server.service.coordinator
            let list: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
            #expect(list.stores.allSatisfy { $0.state.contains("is in the place of") }, "\(list)")
            let store = try #require(coordinator.stores[1])
            for _ in 0..<2 {
                await #expect { try await store.store.byteCount(of: given) } throws: { error in
                    guard case .displaced = error as? StoreError else { return false }
                    return true
                }
            }
            // What is given up must not count as deleted because another store has it not.
            try await coordinator.catalog.discard(
                given.description, in: 1, byteCount: 1, now: coordinator.clock.now(), reason: "test")
            rig.clock.advance(by: .seconds(86_400))
            try await coordinator.collectIfWanted()
            #expect(try await coordinator.catalog.discardedCount() == 1)
        }
        try Self.swap(rig.folder(1), rig.folder(2))
        try await rig.serve { server in
            let last = try #require(lineage.snapshots.last)
            let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(last.id)")
            #expect(shown.replicas.map(\.state) == ["present", "present"])
            let list: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
            #expect(list.stores.map(\.state) == ["ok", "ok"])
        }
    }

    /// A store whose medium is exchanged while it is open: what seems to be missing is not believed.
    @Test func anotherStoreAtRunTimeIsAbsence() async throws {
        let directory = try TemporaryDirectory()
        let (clock, first) = (ManualClock(), StoreID(from: .system))
        let folder = try await FolderStore.create(
            at: directory.file("store"), name: "s", random: .system, clock: clock)
        let second = folder.id
        let store = ReconnectingStore(name: "s", clock: clock, identity: nil, keepIdentity: { _ in }) {
            () throws(StoreError) in (folder, first)
        }
        let missing = ObjectName.pack(SHA256Hasher.hash([1]), Generation(from: .system))
        await #expect(throws: StoreError.displaced(store: "s", found: second, expected: first)) {
            try await store.delete(missing)
        }
        #expect(store.absence == .displaced(store: "s", found: second, expected: first))
    }

    @Test func theFirstOpeningIsRemembered() async throws {
        let rig = try await Rig(stores: 1)
        try await rig.serve { server in
            let coordinator = server.service.coordinator
            let made = try await FolderStore.create(
                at: rig.folder(7), name: "late", random: .system, clock: rig.clock)
            func connected(_ name: String) async throws -> OpenStore {
                let entry = try await coordinator.catalog.add(
                    store: name, url: URL(filePath: rig.folder(7)).absoluteString, at: rig.clock.now())
                return try coordinator.opening.connect(entry)
            }
            let late = try await connected("late")
            _ = try await late.store.freeBytes()
            #expect(try await coordinator.catalog.stores().last?.identity == made.id)
            let twin = try await connected("twin")
            await #expect { _ = try await twin.store.freeBytes() } throws: { error in
                "\(error)".contains("it is store 'late' under another address")
            }
        }
    }

    @Test func aKnownStoreIsNotAddedUnderAnotherAddress() async throws {
        let rig = try await Rig(stores: 1)
        try FileManager.default.createSymbolicLink(
            atPath: rig.directory.file("link"), withDestinationPath: rig.folder(1))
        try await rig.serve { server in
            let answer = try await Self.add(server, "again", rig.directory.file("link"))
            #expect(answer.status == 409 && answer.code == "store_exists", "\(answer.error)")
            #expect(answer.error.summary.contains("'main'"))
        }
    }

    enum Replacement: CaseIterable { case emptyDisk, storeThatNobodyKnows }

    /// A disk is replaced: the alarm names the two commands that take the new one up, and they do.
    @Test(arguments: Replacement.allCases, [1, 2])
    func aReplacedDiskIsTakenUp(replacement: Replacement, stores: Int) async throws {
        let rig = try await Rig(stores: stores, placement: "replicas: \(stores)")
        let lineage = try await Self.filled(rig)
        try FileManager.default.moveItem(atPath: rig.folder(1), toPath: rig.directory.file("old"))
        switch replacement {
        case .emptyDisk:
            try FileManager.default.createDirectory(atPath: rig.folder(1), withIntermediateDirectories: false)
        case .storeThatNobodyKnows:
            _ = try await FolderStore.create(at: rig.folder(1), name: "new", random: .system, clock: rig.clock)
        }
        try await rig.serve { server in
            let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            let alarm = try #require(status.alarms.first { $0.kind == "store" })
            #expect(alarm.hint.contains("muster store place main lost"), "\(alarm)")
            #expect(alarm.hint.contains("muster store add file://\(rig.folder(1))"))
            let sameName = try await Self.add(server, "main", rig.folder(1))
            #expect(sameName.status == 409, "\(sameName.error)")
            let added = try await Self.add(server, "fresh", rig.folder(1))
            #expect(added.status == 200, "\(added.error)")
            let again = try await Self.add(server, "again", rig.folder(1))
            #expect(again.status == 409 && again.error.summary.contains("'fresh'"), "\(again.error)")
            let _: Muster_V1_StoreList = try await server.asAdmin.post(
                .admin, "/v1/stores/main", Muster_V1_StoreChangeRequest.with { $0.placement = "lost" })
            guard stores == 2 else { return }
            try await ReplicationTests.settle(server)
            for snapshot in lineage.snapshots {
                let shown: Muster_V1_Snapshot = try await server.asAdmin.get(.admin, "/v1/snapshots/\(snapshot.id)")
                #expect(Set(shown.replicas.map { "\($0.store) \($0.state)" }) == ["store2 present", "fresh present"])
            }
        }
        try await rig.serve { server in
            let list: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
            #expect(list.stores.allSatisfy { $0.state == "ok" } && list.stores.count == stores, "\(list)")
            let status: Muster_V1_Status = try await server.asAdmin.get(.admin, "/v1/status")
            #expect(!status.alarms.contains { $0.kind == "store" })
        }
    }

    /// An address of which the store was given up is free, and what was there before is not taken for a new store.
    @Test func theAddressOfALostStoreIsFree() async throws {
        let rig = try await Rig(stores: 2)
        try await rig.serve { server in
            let _: Muster_V1_StoreList = try await server.asAdmin.post(
                .admin, "/v1/stores/store2", Muster_V1_StoreChangeRequest.with { $0.placement = "lost" })
            let old = try await Self.add(server, "fresh", rig.folder(2))
            #expect(old.status == 409 && old.error.summary.contains("given up"), "\(old.error)")
            try FileManager.default.removeItem(atPath: rig.folder(2))
            let new = try await Self.add(server, "fresh", rig.folder(2))
            #expect(new.status == 200, "\(new.error)")
        }
    }

    /// As a `store add` leaves it that was cut off or refused, with and without its last record.
    @Test(arguments: [true, false])
    func whatAnAttemptLeftIsTakenUp(isWhole: Bool) async throws {
        let rig = try await Rig(stores: 1)
        let own = try await rig.store(1)
        let place = try await FolderStore.create(at: rig.folder(2), name: "2", random: .system, clock: rig.clock)
        for object in try await own.objects(.coordinator, maximumCount: 100) {
            if case .coordinatorState = StoredItem(object.name) { continue }
            if case .coordinatorEpoch = StoredItem(object.name), !isWhole { continue }
            try await place.put(object.name, try await own.read(object.name, maximumBytes: 1 << 20))
        }
        try await rig.serve { server in
            let answer = try await Self.add(server, "second", rig.folder(2))
            #expect(answer.status == 200, "\(answer.error)")
            #expect(try await server.service.coordinator.catalog.stores().last?.identity == place.id)
        }
        let kept = try await place.objects(.coordinator, maximumCount: 100).compactMap { StoredItem($0.name) }
        for record in [CoordinatorRecord.authorityKey, .receiptKey] {
            let copies = kept.filter { item in
                if case .coordinatorRecord(record, _) = item { return true }
                return false
            }
            #expect(copies.count == 1)
        }
        #expect(kept.contains(.coordinatorEpoch(1)))
    }

    enum Stranger: CaseIterable { case pack, foreignKey, laterEpoch }

    @Test(arguments: Stranger.allCases)
    func aStoreWithAnythingElseIsNot(stranger: Stranger) async throws {
        let rig = try await Rig(stores: 1)
        let place = try await FolderStore.create(at: rig.folder(2), name: "2", random: .system, clock: rig.clock)
        switch stranger {
        case .pack:
            try await place.put(.pack(SHA256Hasher.hash([1]), Generation(from: .system)), [1])
        case .foreignKey:
            let other = try await Rig(stores: 1)
            let objects = try await other.store(1).objects(.coordinator, maximumCount: 100)
            for object in objects {
                try await place.put(object.name, try await other.store(1).read(object.name, maximumBytes: 1 << 20))
            }
        case .laterEpoch:
            try await place.put(
                .coordinatorEpoch(2), try await rig.store(1).read(.coordinatorEpoch(1), maximumBytes: 1 << 20))
        }
        try await rig.serve { server in
            let answer = try await Self.add(server, "second", rig.folder(2))
            #expect(answer.status == 400, "\(answer.error)")
            #expect(try await server.service.coordinator.catalog.stores().count == 1)
        }
    }

    /// A rebuild that is given a store by another path than the fleet's state has.
    @Test func aRebuildEntersAStoreOnce() async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 2")
        _ = try await Self.filled(rig)
        let link = rig.directory.file("link")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: rig.folder(2))
        let (rebuilt, outcome) = try await rig.rebuilt(from: [link])
        #expect(outcome.findings == [] && outcome.unreadStores == [])
        try await rebuilt.serve { server in
            let stores = try await server.service.coordinator.catalog.stores()
            #expect(stores.map(\.name) == ["store2", "main"])
            #expect(Set(stores.map(\.identity)).count == 2)
            #expect(stores.first?.url == URL(filePath: link).absoluteString)
        }
    }

    @Test func aRebuildTellsSwappedStoresApart() async throws {
        let rig = try await Rig(stores: 2, placement: "replicas: 2")
        _ = try await Self.filled(rig)
        try Self.swap(rig.folder(1), rig.folder(2))
        let (_, part) = try await rig.rebuilt(from: [rig.folder(1)], as: "part")
        #expect(part.unreadStores == ["main"])
        #expect(part.findings.contains { $0.store == "main" && $0.reason.contains("in the place of") })
        let (rebuilt, outcome) = try await rig.rebuilt(from: [rig.folder(1), "store2=" + rig.folder(2)])
        #expect(outcome.findings == [] && outcome.unreadStores == [])
        try await rebuilt.serve { server in
            let stores = try await server.service.coordinator.catalog.stores()
            #expect(stores.map(\.name) == ["store2", "main"])
            let list: Muster_V1_StoreList = try await server.asAdmin.get(.admin, "/v1/stores")
            #expect(list.stores.map(\.state) == ["ok", "ok"])
        }
    }
}
