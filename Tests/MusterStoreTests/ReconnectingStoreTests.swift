import Foundation
import Glibc
import MusterModel
import MusterStore
import MusterTestSupport
import Synchronization
import Testing

@Suite("A store that may be away")
struct ReconnectingStoreTests {
    /// A mount that fails with everything says nothing of an object.
    @Test(arguments: [ENOTCONN, ESTALE, EACCES, EHOSTDOWN, EIO])
    func aPlaceThatIsSickAsAWholeIsAway(code: Int32) async throws {
        let (store, sick, name) = try await Self.make(clock: ManualClock())
        sick.set(code) { _ in true }
        await #expect { _ = try await store.read(name, range: 0..<4, fresh: true) } throws: { error in
            (error as? StoreError)?.meansAbsence == true
        }
        #expect(store.absence != nil)
    }

    @Test(arguments: [ENOTCONN, ESTALE, EACCES, EHOSTDOWN, EIO])
    func anObjectThatCannotBeReadInASoundPlaceIsToBlame(code: Int32) async throws {
        let (store, sick, name) = try await Self.make(clock: ManualClock())
        sick.set(code) { $0 == name }
        await #expect(
            throws: StoreError.failed(store: "memory", object: name.description, operation: "read", code: code)
        ) { _ = try await store.read(name, range: 0..<4, fresh: true) }
        #expect(store.absence == nil)
    }

    /// As a node's store says it whose disk fails with everything, or with one object.
    @Test func aServerThatRefusesAnObjectIsAskedWhetherItIsSick() async throws {
        for isSick in [true, false] {
            let (store, sick, name) = try await Self.make(clock: ManualClock())
            sick.set { object in
                isSick || object == name
                    ? .refused(store: "memory", object: "\(object)", reason: "status 500", hint: "Look.") : nil
            }
            await #expect { _ = try await store.read(name, range: 0..<4, fresh: true) } throws: { error in
                (error as? StoreError)?.meansAbsence == isSick
            }
            #expect((store.absence != nil) == isSick)
        }
    }

    @Test func aCancelledCallSaysNothingOfTheStore() async throws {
        let (store, sick, name) = try await Self.make(clock: ManualClock())
        sick.set { _ in .cancelled(store: "memory") }
        await #expect(throws: StoreError.cancelled(store: "memory")) {
            _ = try await store.read(name, range: 0..<4, fresh: true)
        }
        // The one question and the one after it.
        sick.set { object in
            object == name
                ? .failed(store: "memory", object: "", operation: "read", code: EIO) : .cancelled(store: "memory")
        }
        await #expect(throws: StoreError.cancelled(store: "memory")) {
            _ = try await store.read(name, range: 0..<4, fresh: true)
        }
        #expect(store.absence == nil)
    }

    /// And ever longer while none succeeds.
    @Test(arguments: [
        StoreError.full(store: "memory"), .readOnly(store: "memory"),
        .failed(store: "memory", object: "", operation: "write", code: EIO),
        .refused(store: "memory", object: "", reason: "status 403 (AccessDenied)", hint: "Allow it."),
    ])
    func aWriteThatFailedIsRememberedForAWhile(error: StoreError) async throws {
        let clock = ManualClock()
        let faults: [FaultyStore.Fault] = [
            .failPut(2, error), .failCommit(2, error, isApplied: false), .failCommit(3, error, isApplied: false),
        ]
        let store = try await Self.make(clock: clock) { FaultyStore($0, faults: faults) }.store
        try await store.put(.some(2), [1])
        #expect(store.writeFailure == nil)
        for (seed, seconds) in [(3, 30), (4, 60), (5, 120)] {
            await #expect(throws: error) { try await store.put(.some(UInt64(seed)), [1]) }
            #expect(store.absence == nil && store.writeFailure == error)
            clock.advance(by: .seconds(seconds - 1))
            #expect(store.writeFailure == error)
            clock.advance(by: .seconds(1))
            #expect(store.writeFailure == nil)
        }
        try await store.put(.some(6), [1])
        #expect(store.writeFailure == nil)
    }

    @Test func aNameThatIsTakenSaysNothingOfOtherWrites() async throws {
        let (store, _, name) = try await Self.make(clock: ManualClock())
        await #expect(throws: StoreError.alreadyExists(store: "memory", object: name)) {
            try await store.put(name, [1])
        }
        #expect(store.writeFailure == nil)
    }

    @Test func itIsAskedAgainAfterAWhile() async throws {
        let clock = ManualClock()
        let (store, sick, name) = try await Self.make(clock: clock)
        sick.set(ESTALE) { _ in true }
        await #expect(throws: StoreError.self) { _ = try await store.read(name, range: 0..<4, fresh: true) }
        sick.set(0) { _ in false }
        clock.advance(by: .seconds(60))
        #expect(try await store.read(name, range: 0..<4, fresh: true) == [1, 2, 3, 4])
    }

    private static func make(
        clock: ManualClock, wrap: @escaping @Sendable (any Store) -> any Store = { $0 }
    ) async throws -> (store: ReconnectingStore, sick: SickStore.Sickness, name: ObjectName) {
        let memory = MemoryStore(name: "memory")
        let name = try ObjectName.some(1)
        try await memory.put(name, [1, 2, 3, 4])
        let id = StoreID(from: .seeded(2))
        let format = #"{"created": "2026-11-23T10:00:00Z", "store": "\#(id)", "version": 1}"#
        try await memory.put(.format, Array(format.utf8))
        let sickness = SickStore.Sickness()
        let store = ReconnectingStore(name: "memory", clock: clock, identity: id, keepIdentity: { _ in }) {
            (SickStore(wrap(memory), sickness), id)
        }
        return (store, sickness, name)
    }
}

/// A store whose reads fail with an error of the operating system.
private struct SickStore: Store {
    final class Sickness: Sendable {
        private let error = Mutex<@Sendable (ObjectName) -> StoreError?>({ _ in nil })

        func set(_ error: @escaping @Sendable (ObjectName) -> StoreError?) {
            self.error.withLock { $0 = error }
        }

        func set(_ code: Int32, _ isHit: @escaping @Sendable (ObjectName) -> Bool) {
            set { name in
                isHit(name)
                    ? .failed(store: "memory", object: name.description, operation: "read", code: code) : nil
            }
        }

        func check(_ name: ObjectName, in store: String) throws(StoreError) {
            let error = error.withLock { $0 }
            if let error = error(name) { throw error }
        }
    }

    private let base: any Store
    private let sickness: Sickness

    init(_ base: any Store, _ sickness: Sickness) { (self.base, self.sickness) = (base, sickness) }

    var name: String { base.name }

    func beginPut() async throws(StoreError) -> any ObjectWriter { try await base.beginPut() }

    func read(_ name: ObjectName, maximumBytes: Int, fresh: Bool) async throws(StoreError) -> [UInt8] {
        try sickness.check(name, in: self.name)
        return try await base.read(name, maximumBytes: maximumBytes, fresh: fresh)
    }

    func read(_ name: ObjectName, range: Range<UInt64>, fresh: Bool) async throws(StoreError) -> [UInt8] {
        try sickness.check(name, in: self.name)
        return try await base.read(name, range: range, fresh: fresh)
    }

    func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64? {
        try sickness.check(name, in: self.name)
        return try await base.byteCount(of: name)
    }

    func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor { try await base.list(prefix) }
    func delete(_ name: ObjectName) async throws(StoreError) { try await base.delete(name) }
    func freeBytes() async throws(StoreError) -> UInt64 { try await base.freeBytes() }
}
