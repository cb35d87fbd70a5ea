package import MusterStore
import Synchronization

/// A store whose calls hang where a test says so, as those into a mount whose server is gone: nothing ends them but the
/// test, whatever is cancelled.
package final class HangingStore: Store {
    package final class Hang: Sendable {
        private struct State {
            var isOn = false
            var hanging: [CheckedContinuation<Void, Never>] = []
            var began = 0
            var waiting: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
        }

        private let state = Mutex(State())

        package init() {}

        /// How many calls have come to hang so far.
        package var began: Int { state.withLock { $0.began } }

        package func begin() { state.withLock { $0.isOn = true } }

        package func end() {
            let hanging = state.withLock { state in
                state.isOn = false
                defer { state.hanging = [] }
                return state.hanging
            }
            for continuation in hanging { continuation.resume() }
        }

        /// Returns once so many calls have come to hang.
        package func untilBegan(_ count: Int = 1) async {
            await withCheckedContinuation { continuation in
                let isThere = state.withLock { state in
                    if state.began < count { state.waiting.append((count, continuation)) }
                    return state.began >= count
                }
                if isThere { continuation.resume() }
            }
        }

        fileprivate func pass() async {
            await withCheckedContinuation { continuation in
                let woken = state.withLock { state -> [CheckedContinuation<Void, Never>] in
                    guard state.isOn else { return [continuation] }
                    state.hanging.append(continuation)
                    state.began += 1
                    let began = state.began
                    defer { state.waiting.removeAll { $0.count <= began } }
                    return state.waiting.filter { $0.count <= began }.map(\.continuation)
                }
                for continuation in woken { continuation.resume() }
            }
        }
    }

    package var name: String { store.name }
    private let store: any Store
    private let hang: Hang

    package init(_ store: any Store, _ hang: Hang) { (self.store, self.hang) = (store, hang) }

    package func beginPut() async throws(StoreError) -> any ObjectWriter {
        await hang.pass()
        return HangingWriter(try await store.beginPut(), hang)
    }

    package func prepare(_ bytes: [UInt8]) async throws(StoreError) -> any ObjectWriter {
        await hang.pass()
        return HangingWriter(try await store.prepare(bytes), hang)
    }

    package func read(_ name: ObjectName, maximumBytes: Int, fresh: Bool) async throws(StoreError) -> [UInt8] {
        await hang.pass()
        return try await store.read(name, maximumBytes: maximumBytes, fresh: fresh)
    }

    package func read(_ name: ObjectName, range: Range<UInt64>, fresh: Bool) async throws(StoreError) -> [UInt8] {
        await hang.pass()
        return try await store.read(name, range: range, fresh: fresh)
    }

    package func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64? {
        await hang.pass()
        return try await store.byteCount(of: name)
    }

    package func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor {
        await hang.pass()
        return HangingCursor(try await store.list(prefix), hang)
    }

    package func delete(_ name: ObjectName) async throws(StoreError) {
        await hang.pass()
        try await store.delete(name)
    }

    package func freeBytes() async throws(StoreError) -> UInt64 {
        await hang.pass()
        return try await store.freeBytes()
    }

    private final class HangingWriter: ObjectWriter {
        private let writer: any ObjectWriter
        private let hang: Hang

        init(_ writer: any ObjectWriter, _ hang: Hang) { (self.writer, self.hang) = (writer, hang) }

        func write(_ bytes: ArraySlice<UInt8>) async throws(StoreError) {
            await hang.pass()
            try await writer.write(bytes)
        }

        func readBack(_ range: Range<UInt64>) async throws(StoreError) -> [UInt8] {
            await hang.pass()
            return try await writer.readBack(range)
        }

        func commit(as name: ObjectName) async throws(StoreError) {
            await hang.pass()
            try await writer.commit(as: name)
        }

        func abort() async {
            await hang.pass()
            await writer.abort()
        }
    }

    private final class HangingCursor: ObjectCursor {
        private let cursor: any ObjectCursor
        private let hang: Hang

        init(_ cursor: any ObjectCursor, _ hang: Hang) { (self.cursor, self.hang) = (cursor, hang) }

        func nextPage() async throws(StoreError) -> [StoredObject] {
            await hang.pass()
            return try await cursor.nextPage()
        }
    }
}

/// A patience that is at its end when a test says so.
package final class ManualPatience: Sendable {
    private struct State {
        var isOver = false
        var lastSleeper = 0
        var sleepers: [Int: CheckedContinuation<Void, Never>] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    package var patience: StorePatience {
        StorePatience(limit: .seconds(30), leastBytesPerSecond: 1 << 20) { [self] _ in try await sleep() }
    }

    /// The time of all calls under way is over, and that of all that come.
    package func runOut() {
        let sleepers = state.withLock { state in
            state.isOver = true
            defer { state.sleepers = [:] }
            return state.sleepers.values
        }
        for sleeper in sleepers { sleeper.resume() }
    }

    /// No time passes any more.
    package func restore() { state.withLock { $0.isOver = false } }

    private func sleep() async throws {
        let number = state.withLock { state in
            state.lastSleeper += 1
            return state.lastSleeper
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isAwake = state.withLock { state in
                    // Cancelled by now, nobody would wake it.
                    if state.isOver || Task.isCancelled { return true }
                    state.sleepers[number] = continuation
                    return false
                }
                if isAwake { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.sleepers.removeValue(forKey: number) }?.resume()
        }
        try Task.checkCancellation()
    }
}
