import MusterModel
import MusterStore
import MusterTestSupport
import Synchronization
import Testing

@Suite("A probe finds out what a store promises")
struct StoreProbeTests {
    private static func probe(_ store: any Store, clock: ManualClock = ManualClock()) -> StoreProbe {
        let ticks = Mutex(0)
        return StoreProbe(store, random: .seeded(4), clock: clock) {
            ticks.withLock { ticks in
                ticks += 1
                return .milliseconds(ticks)
            }
        }
    }

    private static func broken(_ store: any Store) async throws -> Set<StoreCapabilities.Capability> {
        Set(try await probe(store).measure().broken.map(\.capability))
    }

    @Test func aSoundStoreKeepsItsPromisesAndIsLeftAsItWas() async throws {
        let fixture = try await FolderFixture()
        for store: any Store in [MemoryStore(), fixture.store] {
            let capabilities = try await Self.probe(store).measure()
            #expect(capabilities.broken == [])
            #expect(capabilities.findings.map(\.capability) == StoreCapabilities.Capability.allCases)
            for feature in [StoreFeature.replicas, .deletion, .rebuild] {
                try capabilities.require(feature, of: store.name)
            }
            #expect(try await store.objects(.probes, maximumCount: 10).isEmpty)
            // A millisecond a look at the clock.
            #expect(capabilities.pace.putMicroseconds == 1000 && capabilities.pace.readMicroseconds == 1000)
            #expect(capabilities.pace.putBytesPerSecond == 4_194_304_000)
        }
    }

    @Test(arguments: LyingStore.Lie.allCases)
    func aLieIsFound(lie: LyingStore.Lie) async throws {
        let memory = MemoryStore()
        let found = try await Self.broken(LyingStore(memory, lie))
        #expect(found.contains(lie.capability), "\(found)")
    }

    @Test(arguments: [false, true])
    func aChecksumThatIsNotCheckedIsFound(isChecked: Bool) async throws {
        let capabilities = try await Self.probe(AskedStore(isChecked: isChecked)).measure()
        #expect(capabilities.finding(.checksumRefusal)?.outcome == (isChecked ? .held : .broken))
        let plain = try await Self.probe(MemoryStore()).measure()
        #expect(plain.finding(.checksumRefusal)?.outcome == .absent)
        let error = #expect(throws: StoreCapabilityMissing.self) { try plain.require(.signedUploads, of: "memory") }
        #expect(error?.obstacles.map(\.capability) == [.checksumRefusal, .clock, .signedURLs])
        #expect(capabilities.has(.signedURLs))
    }

    @Test(arguments: [(-301, false), (-299, true), (0, true), (300, true), (301, false)])
    func aClockThatIsOffIsFound(seconds: Int, isHeld: Bool) async throws {
        let clock = ManualClock()
        let store = AskedStore(isChecked: true, time: clock.now() + .seconds(seconds))
        // A store that is behind may have told a whole second of a moment that is almost over.
        let shift: Duration = seconds < 0 ? .seconds(1) : .zero
        clock.advance(by: shift)
        let finding = try #require(try await Self.probe(store, clock: clock).measure().finding(.clock))
        #expect(finding.outcome == (isHeld ? .held : .broken), "\(finding.detail)")
    }

    @Test func aSignedURLThatAllowsMoreThanItSaysIsFound() async throws {
        let store = AskedStore(isChecked: true, loopholes: ["other bytes", "another name"])
        let capabilities = try await Self.probe(store).measure()
        let finding = try #require(capabilities.finding(.signedURLs))
        #expect(finding.outcome == .broken && finding.detail.contains("other bytes, another name"))
        #expect(capabilities.obstacles(to: .signedUploads).map(\.capability).contains(.signedURLs))
    }

    @Test(arguments: [
        (LockTrial.kept(for: .seconds(5)), StoreCapabilities.Outcome.held, "neither deleted nor replaced"),
        (.lost(to: "deleted before its time"), .broken, "deleted before its time"),
        (.untried(because: "it will not"), .absent, "not proven, as it will not"),
    ])
    func aLockCountsOnlyWhereItWasTried(
        trial: LockTrial, outcome: StoreCapabilities.Outcome, words: String
    ) async throws {
        let finding = try #require(
            try await Self.probe(AskedStore(isChecked: true, lock: trial)).measure().finding(.objectLock))
        #expect(finding.outcome == outcome && finding.detail.contains(words), "\(finding)")
        let without = try await Self.probe(AskedStore(isChecked: true)).measure().finding(.objectLock)
        #expect(without?.outcome == .absent && without?.detail == "it is not switched on")
    }

    @Test func aStoreThatIsAwayIsNotJudged() async throws {
        let away = StoreError.unavailable(store: "memory", reason: "it is gone")
        let memory = MemoryStore()
        let store = FaultyStore(memory, faults: [.failRead(9, away)])
        await #expect(throws: away) { _ = try await Self.probe(store).measure() }
        #expect(try await memory.objects(.all, maximumCount: 100).isEmpty, "what was put is removed all the same")
    }

    @Test func aFullStoreIsNotJudged() async throws {
        let store = MemoryStore(capacityBytes: 200_000)
        await #expect(throws: StoreError.full(store: "memory")) { _ = try await Self.probe(store).measure() }
        #expect(try await store.objects(.all, maximumCount: 100).isEmpty)
    }

    @Test func namesOfAProbeAreOnesOfTheLayout() throws {
        let id = ProbeID(from: .seeded(1))
        let name = ObjectName.probe(id, 7)
        #expect(name.description == "probe/\(id)/7" && StoredItem(name) == .probe(id, 7))
        for text in ["probe/\(id)/07", "probe/\(id)/x", "probe/\(id)", "probe/\(id)/7.1", "probe/x/7"] {
            #expect(StoredItem(try #require(ObjectName(text))) == nil, "\(text)")
        }
    }
}

/// A store that breaks one promise.
final class LyingStore: ForwardingStore {
    enum Lie: CaseIterable {
        case missesFreshObjects, replaces, tellsManyThatTheyWon, mixesWriters, readsPastTheEnd, readsOneOff
        case listsLess, listsWrongSizes, listsDeleted, keepsDeleted, refusesDeletes

        var capability: StoreCapabilities.Capability {
            switch self {
            case .missesFreshObjects: .readAfterWrite
            case .replaces, .tellsManyThatTheyWon, .mixesWriters: .createOnly
            case .readsPastTheEnd, .readsOneOff: .rangeReads
            case .listsLess, .listsWrongSizes: .listing
            case .listsDeleted, .keepsDeleted, .refusesDeletes: .deletion
            }
        }
    }

    let name = "lying"
    let store: any Store
    private let lie: Lie
    private let missed = Mutex<Set<ObjectName>>([])
    private let puts = Mutex<[ObjectName: Int]>([:])
    private let deleted = Mutex<[StoredObject]>([])

    init(_ store: MemoryStore, _ lie: Lie) { (self.store, self.lie) = (store, lie) }

    func put(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) {
        let number = puts.withLock { puts in
            puts[name, default: 0] += 1
            return puts[name, default: 0]
        }
        do {
            try await store.put(name, bytes)
        } catch {
            switch lie {
            case .replaces where number == 2:
                try await store.delete(name)
                try await store.put(name, bytes)
            case .tellsManyThatTheyWon where number == 20: return
            case .mixesWriters where number == 32:
                try await store.delete(name)
                try await store.put(name, bytes)
                throw error
            default: throw error
            }
        }
    }

    func read(_ name: ObjectName, range: Range<UInt64>, fresh: Bool) async throws(StoreError) -> [UInt8] {
        switch lie {
        case .readsPastTheEnd:
            let end = try await store.byteCount(of: name) ?? 0
            return try await store.read(name, range: range.clamped(to: 0..<end))
        case .readsOneOff where range.lowerBound == 65_535:
            return try await store.read(name, range: range.lowerBound + 1..<range.upperBound + 1)
        default: return try await store.read(name, range: range, fresh: fresh)
        }
    }

    func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64? {
        let byteCount = try await store.byteCount(of: name)
        guard lie == .missesFreshObjects else { return byteCount }
        // It remembers for a while that there was none.
        let isMissed = missed.withLock { missed in
            byteCount == nil ? !missed.insert(name).inserted : missed.contains(name)
        }
        return isMissed ? nil : byteCount
    }

    func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor {
        var objects = try await store.objects(prefix, maximumCount: 1000)
        switch lie {
        case .listsLess: objects.removeAll { $0.byteCount == 777 }
        case .listsWrongSizes:
            objects = objects.map { StoredObject(name: $0.name, byteCount: $0.byteCount == 777 ? 777 : 1) }
        case .listsDeleted: objects += deleted.withLock { $0 }
        default: break
        }
        return Cursor(objects)
    }

    func delete(_ name: ObjectName) async throws(StoreError) {
        switch lie {
        case .keepsDeleted: return
        case .refusesDeletes:
            throw .refused(store: self.name, object: name.description, reason: "no", hint: "Ask elsewhere.")
        default:
            try await store.delete(name)
            deleted.withLock { $0.append(StoredObject(name: name, byteCount: 1)) }
        }
    }

    private final class Cursor: ObjectCursor {
        private let objects: Mutex<[StoredObject]>

        init(_ objects: [StoredObject]) { self.objects = Mutex(objects) }

        func nextPage() async throws(StoreError) -> [StoredObject] {
            objects.withLock { objects in
                defer { objects = [] }
                return objects
            }
        }
    }
}

/// A memory store with a clock, which takes checksums and may not check them.
private final class AskedStore: ProbedStore, ForwardingStore {
    let name = "asked"
    let store: any Store = MemoryStore()
    private let isChecked: Bool
    private let theirTime: Timestamp?
    private let loopholes: [String]
    private let lock: LockTrial?

    init(isChecked: Bool, time: Timestamp? = nil, loopholes: [String] = [], lock: LockTrial? = nil) {
        (self.isChecked, theirTime, self.loopholes) = (isChecked, time, loopholes)
        self.lock = lock
    }

    func loopholesOfSignedPut(
        _ name: ObjectName, _ other: ObjectName, _ bytes: [UInt8]
    ) async throws(StoreError) -> [String] { loopholes }

    func refusesWrongChecksum(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) -> Bool? {
        if !isChecked { try await store.put(name, bytes) }
        return isChecked
    }

    func takesSignedPut(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) -> Bool? {
        guard try await store.byteCount(of: name) == nil else { return false }
        try await store.put(name, bytes)
        return true
    }

    func time() async throws(StoreError) -> Timestamp? { theirTime }
    func locksObjects() async throws(StoreError) -> Bool? { lock != nil }
    func tryLock(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) -> LockTrial {
        lock ?? .untried(because: "nobody asks")
    }
}
