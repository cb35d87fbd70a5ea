package import MusterModel
import Synchronization

/// A store that may be away: it is opened when it is first needed, and after it was away left alone for a while.
///
/// While it is away every call fails at once, so that nobody waits for it who could go on with another store. An object
/// that seems to be missing is believed only where the object is there that makes the place this very store: a
/// disk that is not mounted, or in the place of another one, has lost nothing. Neither has one that fails with
/// everything, as a sick mount does.
///
/// One that does not answer at all, as a mount whose server is gone, is away too: from when a call has taken too long
/// until every such call has come back.
package final class ReconnectingStore: Store {
    /// Which store it turned out to be is asked without what a test puts around it.
    package typealias Opening = @Sendable () async throws(StoreError) -> (store: any Store, identity: StoreID)

    private struct State {
        /// nil until it was opened for the first time ever.
        var identity: StoreID?
        var opened: (any Store)?
        var failure: StoreError?
        var awayUntil: Timestamp?
        var failures = 0
        var refusal: WriteRefusal?
    }

    /// What a write met, and for how long others are spared the same.
    private struct WriteRefusal {
        var error: StoreError
        var pause: Duration
        var until: Timestamp
    }

    private static let firstPause = Duration.seconds(1)
    private static let longestPause = Duration.seconds(30)
    private static let firstWritePause = Duration.seconds(30)
    private static let longestWritePause = Duration.seconds(600)

    package let name: String
    private let clock: any WallClock
    private let keepIdentity: @Sendable (StoreID) async throws(StoreError) -> Void
    private let opening: Opening
    private let state: Mutex<State>
    private let calls: BoundedCalls

    /// - Parameter identity: the store that it was before; another one in its place counts as absence.
    /// - Parameter keepIdentity: told which store it is, where `identity` is nil; the store is away if this throws.
    package init(
        name: String, clock: any WallClock, identity: StoreID?, patience: StorePatience = .ofFolders,
        keepIdentity: @escaping @Sendable (StoreID) async throws(StoreError) -> Void, opening: @escaping Opening
    ) {
        (self.name, self.clock) = (name, clock)
        (self.keepIdentity, self.opening) = (keepIdentity, opening)
        state = Mutex(State(identity: identity))
        calls = BoundedCalls(of: name, patience)
    }

    /// Why the store is away; nil where it answered when it was last asked, or may be asked again.
    package var absence: StoreError? {
        if let hang = calls.hang { return hang }
        let now = clock.now()
        return state.withLock { state in
            guard let until = state.awayUntil, now < until else { return nil }
            return state.failure
        }
    }

    /// Why a write failed a moment ago, in a store that is there: its disk is full or failing, or was mounted to be read
    /// only, its server lets us read and not write.
    package var writeFailure: StoreError? {
        let now = clock.now()
        return state.withLock { state in
            // A clock that was set back must not put it off.
            guard let refusal = state.refusal, now < refusal.until, refusal.until - now <= refusal.pause else {
                return nil
            }
            return refusal.error
        }
    }

    package func beginPut() async throws(StoreError) -> any ObjectWriter {
        let writer = try await writing { () throws(StoreError) in
            try await ask { store throws(StoreError) in try await store.beginPut() }
        }
        return WatchedWriter(writer, holding: 0, self)
    }

    package func put(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) {
        try await writing { () throws(StoreError) in
            try await ask(moving: bytes.count) { store throws(StoreError) in try await store.put(name, bytes) }
        }
        noteWritten()
    }

    package func prepare(_ bytes: [UInt8]) async throws(StoreError) -> any ObjectWriter {
        let writer = try await writing { () throws(StoreError) in
            try await ask(moving: bytes.count) { store throws(StoreError) in try await store.prepare(bytes) }
        }
        return WatchedWriter(writer, holding: bytes.count, self)
    }

    package func read(_ name: ObjectName, maximumBytes: Int, fresh: Bool) async throws(StoreError) -> [UInt8] {
        try await ask(moving: maximumBytes) { store throws(StoreError) in
            try await store.read(name, maximumBytes: maximumBytes, fresh: fresh)
        }
    }

    package func read(_ name: ObjectName, range: Range<UInt64>, fresh: Bool) async throws(StoreError) -> [UInt8] {
        try await ask(moving: range.count) { store throws(StoreError) in
            try await store.read(name, range: range, fresh: fresh)
        }
    }

    package func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64? {
        try await ask { store throws(StoreError) in
            if let count = try await store.byteCount(of: name) { return count }
            try await self.requireIdentity(of: store, missing: name)
            return nil
        }
    }

    package func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor {
        WatchedCursor(try await ask { store throws(StoreError) in try await store.list(prefix) }, self)
    }

    package func delete(_ name: ObjectName) async throws(StoreError) {
        try await ask { store throws(StoreError) in try await store.delete(name) }
    }

    package func freeBytes() async throws(StoreError) -> UInt64 {
        try await ask { store throws(StoreError) in try await store.freeBytes() }
    }

    private func ask<Value: Sendable>(
        moving byteCount: Int = 0,
        _ body: @escaping @Sendable (any Store) async throws(StoreError) -> Value
    ) async throws(StoreError) -> Value {
        if let absence { throw absence.again(name) }
        let value = try await watch(moving: byteCount) { [self] () throws(StoreError) in
            try await answer(try await opened(), body)
        }
        state.withLock { ($0.awayUntil, $0.failures, $0.failure) = (nil, 0, nil) }
        return value
    }

    /// Waits for a call no longer than for any, and remembers what it says of the store.
    fileprivate func watch<Value: Sendable>(
        moving byteCount: Int = 0, atMost limit: Duration? = nil,
        _ body: @escaping @Sendable () async throws(StoreError) -> Value
    ) async throws(StoreError) -> Value {
        if let hang = calls.hang { throw hang }
        do {
            return try await calls.run(moving: byteCount, atMost: limit, body)
        } catch {
            note(error)
            throw error
        }
    }

    fileprivate func tidyUp(_ body: @escaping @Sendable () async -> Void) async { await calls.tidyUp(body) }

    private func answer<Value: Sendable>(
        _ store: any Store, _ body: (any Store) async throws(StoreError) -> Value
    ) async throws(StoreError) -> Value {
        do {
            return try await body(store)
        } catch {
            switch error {
            case .notFound(_, let name): try await requireIdentity(of: store, missing: name)
            case .failed where !error.isTransient: try await requireAnswer(of: store)
            // So a server says that its disk failed, be it with one object or with all.
            case .refused: try await requireAnswer(of: store)
            default: break
            }
            throw error
        }
    }

    private func requireIdentity(of store: any Store, missing name: ObjectName) async throws(StoreError) {
        guard name != .format else { return }
        let found: StoreID
        do {
            found = try await store.identity(at: self.name)
        } catch .notAStore {
            throw .unavailable(store: self.name, reason: "it has lost its \(ObjectName.format)")
        }
        try requireExpected(found)
    }

    private func requireExpected(_ found: StoreID) throws(StoreError) {
        guard let expected = state.withLock({ $0.identity }), found != expected else { return }
        throw .displaced(store: name, found: found, expected: expected)
    }

    /// Tells one bad object from a place that is sick as a whole: its server or its login is gone, as ENOTCONN, ESTALE,
    /// EACCES and EHOSTDOWN say of a network's mount.
    private func requireAnswer(of store: any Store) async throws(StoreError) {
        let found: StoreID
        do {
            // What is still in memory says nothing of the medium.
            _ = try await store.read(.format, maximumBytes: FormatRecord.maximumBytes, fresh: true)
            found = try await store.identity(at: name)
        } catch .cancelled {
            throw .cancelled(store: name)
        } catch {
            throw .unavailable(store: name, reason: "its \(ObjectName.format) cannot be read: \(error.summary)")
        }
        try requireExpected(found)
    }

    /// The store itself, for what only some kinds of stores can do, and what asks nobody.
    package func direct() async throws(StoreError) -> any Store {
        if let absence { throw absence.again(name) }
        return try await watch { [self] () throws(StoreError) in try await opened() }
    }

    /// Lends the store itself for several calls, which are waited for as one.
    package func direct<Value: Sendable>(
        atMost limit: Duration, _ body: @escaping @Sendable (any Store) async throws -> Value
    ) async throws -> Value {
        let store = try await direct()
        let outcome = try await watch(atMost: limit) { () throws(StoreError) -> Result<Value, any Error> in
            do { return .success(try await body(store)) } catch { return .failure(error) }
        }
        return try outcome.get()
    }

    private func opened() async throws(StoreError) -> any Store {
        if let store = state.withLock({ $0.opened }) { return store }
        let (store, identity) = try await opening()
        try requireExpected(identity)
        if state.withLock({ $0.identity == nil }) { try await keepIdentity(identity) }
        state.withLock { ($0.opened, $0.identity) = (store, identity) }
        return store
    }

    private func note(_ error: StoreError) {
        if error.meansAbsence { leave(because: error) }
    }

    /// Remembers what a write met, where the next would meet the same: ever longer while none succeeds.
    fileprivate nonisolated(nonsending) func writing<Value>(
        _ body: () async throws(StoreError) -> Value
    ) async throws(StoreError) -> Value {
        do {
            return try await body()
        } catch {
            if error.saysNoWrites { noteRefusal(error) }
            throw error
        }
    }

    /// Several that were under way at once count as one.
    private func noteRefusal(_ error: StoreError) {
        let now = clock.now()
        state.withLock { state in
            let last = state.refusal
            if let last, now < last.until, last.until - now <= last.pause { return }
            let pause = min(last.map { $0.pause * 2 } ?? Self.firstWritePause, Self.longestWritePause)
            state.refusal = WriteRefusal(error: error, pause: pause, until: now + pause)
        }
    }

    fileprivate func noteWritten() { state.withLock { $0.refusal = nil } }

    /// Opened anew when it is asked again: its place may be another one by then.
    private func leave(because error: StoreError) {
        let now = clock.now()
        state.withLock { state in
            state.opened = nil
            state.failure = error
            let pause = Self.firstPause * (1 << min(state.failures, 5))
            state.awayUntil = now + min(pause, Self.longestPause)
            state.failures += 1
        }
    }
}

/// Tells its store of what a write met, and waits for it no longer than its store does.
private final class WatchedWriter: ObjectWriter {
    private let writer: any ObjectWriter
    private let store: ReconnectingStore
    private let held: Mutex<Int>

    init(_ writer: any ObjectWriter, holding byteCount: Int, _ store: ReconnectingStore) {
        (self.writer, self.store) = (writer, store)
        held = Mutex(byteCount)
    }

    func write(_ bytes: ArraySlice<UInt8>) async throws(StoreError) {
        try await store.writing { () throws(StoreError) in
            try await store.watch(moving: bytes.count) { [writer] () throws(StoreError) in
                try await writer.write(bytes)
            }
        }
        held.withLock { $0 += bytes.count }
    }

    func readBack(_ range: Range<UInt64>) async throws(StoreError) -> [UInt8] {
        try await store.watch(moving: range.count) { [writer] () throws(StoreError) in
            try await writer.readBack(range)
        }
    }

    /// All that was written may still have to reach the medium.
    func commit(as name: ObjectName) async throws(StoreError) {
        try await store.writing { () throws(StoreError) in
            try await store.watch(moving: held.withLock { $0 }) { [writer] () throws(StoreError) in
                try await writer.commit(as: name)
            }
        }
        store.noteWritten()
    }

    func abort() async { await store.tidyUp { [writer] in await writer.abort() } }
}

/// The same for a listing.
private final class WatchedCursor: ObjectCursor {
    /// A page may take as long as so many small objects.
    private static let bytesPerPage = StoreLimit.objectsPerPage << 16

    private let cursor: any ObjectCursor
    private let store: ReconnectingStore

    init(_ cursor: any ObjectCursor, _ store: ReconnectingStore) { (self.cursor, self.store) = (cursor, store) }

    func nextPage() async throws(StoreError) -> [StoredObject] {
        try await store.watch(moving: Self.bytesPerPage) { [cursor] () throws(StoreError) in
            try await cursor.nextPage()
        }
    }
}

extension StoreError {
    /// The store as a whole is not there, whatever it was asked for.
    package var meansAbsence: Bool {
        switch self {
        case .unavailable, .notAStore, .displaced: true
        default: false
        }
    }

    /// Something else is there: another store, or no store at all.
    package var meansAnotherPlace: Bool {
        switch self {
        case .notAStore, .displaced: true
        default: false
        }
    }

    /// The next write would fail as this one did, whatever its object.
    fileprivate var saysNoWrites: Bool {
        switch self {
        case .full, .readOnly, .refused: true
        case .failed: !isTransient
        default: false
        }
    }

    /// What a call hears that came while the store is left alone.
    fileprivate func again(_ store: String) -> StoreError {
        switch self {
        case .displaced: self
        case .unavailable(_, let reason), .notAStore(_, let reason): .unavailable(store: store, reason: reason)
        default: .unavailable(store: store, reason: summary)
        }
    }
}
