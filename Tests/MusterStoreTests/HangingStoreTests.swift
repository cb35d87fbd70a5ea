import Foundation
import Glibc
import MusterModel
import MusterTestSupport
import Synchronization
import Testing

@testable import MusterStore

@Suite("A store that hangs", .timeLimit(.minutes(10)))
struct HangingStoreTests {
    private struct Scene {
        let clock = ManualClock()
        let hang = HangingStore.Hang()
        let time = ManualPatience()
        let memory = MemoryStore(name: "mount")
        let store: ReconnectingStore

        init(_ base: (any Store)? = nil) {
            let (base, hang) = (base ?? memory, hang)
            store = ReconnectingStore(
                name: "mount", clock: clock, identity: nil, patience: time.patience, keepIdentity: { _ in }
            ) { (HangingStore(base, hang), StoreID(from: .seeded(2))) }
        }

        /// The call comes to hang, and its time is over.
        func expectGivenUp(_ call: @escaping @Sendable (ReconnectingStore) async throws -> Void) async throws {
            let began = hang.began
            hang.begin()
            async let outcome: Void = call(store)
            await hang.untilBegan(began + 1)
            time.runOut()
            do {
                try await outcome
                Issue.record("a call that hangs has come back")
            } catch let error as StoreError {
                #expect(error.meansAbsence, "\(error)")
            }
            #expect(store.absence != nil)
        }

        func letGo() async {
            time.restore()
            hang.end()
            clock.advance(by: .seconds(60))
            while store.absence != nil { await Task.yield() }
        }
    }

    private static let calls: [(name: String, call: @Sendable (ReconnectingStore) async throws -> Void)] = [
        ("free bytes", { _ = try await $0.freeBytes() }),
        ("size", { _ = try await $0.byteCount(of: .format) }),
        ("read", { _ = try await $0.read(.format, maximumBytes: 10) }),
        ("range", { _ = try await $0.read(.format, range: 0..<1) }),
        ("put", { try await $0.put(.some(1), [1]) }),
        ("prepare", { _ = try await $0.prepare([1]) }),
        ("begin", { _ = try await $0.beginPut() }),
        ("list", { _ = try await $0.list(.packs) }),
        ("delete", { try await $0.delete(.some(1)) }),
        ("several", { try await $0.direct(atMost: .seconds(1)) { _ = try await $0.freeBytes() } }),
    ]

    @Test(arguments: calls.indices)
    func isAwayOnceACallHasTakenTooLongAndUntilItCameBack(index: Int) async throws {
        let scene = Scene()
        try await scene.expectGivenUp(Self.calls[index].call)
        scene.clock.advance(by: .seconds(3600))
        #expect(scene.store.absence != nil, "the call has not come back")
        await scene.letGo()
        #expect(try await scene.store.freeBytes() == scene.memory.freeBytes())
    }

    @Test func isAskedNothingMoreWhileACallHangs() async throws {
        let scene = Scene()
        let writer = try await scene.store.beginPut()
        let cursor = try await scene.store.list(.packs)
        try await scene.expectGivenUp { _ = try await $0.freeBytes() }
        let began = scene.hang.began
        for (_, call) in Self.calls {
            await #expect(throws: StoreError.self) { try await call(scene.store) }
        }
        await #expect(throws: StoreError.self) { try await writer.write([1]) }
        await #expect(throws: StoreError.self) { _ = try await writer.readBack(0..<1) }
        await #expect(throws: StoreError.self) { try await writer.commit(as: .some(1)) }
        await #expect(throws: StoreError.self) { _ = try await cursor.nextPage() }
        #expect(scene.hang.began == began)
        await scene.letGo()
        try await writer.write([1])
        try await writer.commit(as: .some(1))
        #expect(try await scene.store.read(.some(1), maximumBytes: 10) == [1])
    }

    @Test func aListingUnderWayIsGivenUp() async throws {
        let scene = Scene()
        let cursor = try await scene.store.list(.packs)
        try await scene.expectGivenUp { _ in _ = try await cursor.nextPage() }
        await scene.letGo()
    }

    @Test func aWriterThatHangsIsGivenUpAndLeavesNothing() async throws {
        let fixture = try await FolderFixture()
        let scene = Scene(fixture.store)
        let writer = try await scene.store.beginPut()
        try await writer.write([1])
        try await scene.expectGivenUp { _ in try await writer.write([2]) }
        await writer.abort()
        #expect(try fixture.incoming().count == 1)
        await scene.letGo()
        #expect(try fixture.incoming().isEmpty)
    }

    private final class Tally: Sendable {
        let blocked = Mutex(0)
        let ran = Mutex(false)
    }

    /// A deletion that waited for its turn while another coordinator took over must not come after that.
    @Test func aDeletionThatNobodyWaitsForDoesNotBegin() async throws {
        let directory = try TemporaryDirectory()
        let folder = try StoreFolder(path: directory.path, storeName: "disk", random: .seeded(1))
        let (id, name) = (StoreID(from: .seeded(2)), try ObjectName.some(1))
        let store = ReconnectingStore(
            name: "disk", clock: ManualClock(), identity: nil, patience: ManualPatience().patience,
            keepIdentity: { _ in }
        ) { (FolderStore(folder: folder, id: id, access: .readWrite), id) }
        _ = try await store.freeBytes()
        let tally = Tally()
        let gate = DispatchSemaphore(value: 0)
        let width = 16
        await withDiscardingTaskGroup { group in
            for _ in 0..<width {
                group.addTask {
                    try? await folder.run {
                        tally.blocked.withLock { $0 += 1 }
                        gate.wait()
                    }
                }
            }
            while tally.blocked.withLock({ $0 }) < width { await Task.yield() }
            let deletion = Task { try await folder.runUnlessGivenUp { tally.ran.withLock { $0 = true } } }
            let watched = Task { try await store.delete(name) }
            deletion.cancel()
            watched.cancel()
            for _ in 0..<width { gate.signal() }
            await #expect(throws: StoreError.self) { try await deletion.value }
            let timedOut = StoreError.failed(
                store: "disk", object: name.description, operation: "delete", code: ETIMEDOUT)
            await #expect(throws: timedOut) { try await watched.value }
        }
        #expect(!tally.ran.withLock { $0 })
        #expect(store.absence == nil, "it was busy, and is not away")
    }
}
