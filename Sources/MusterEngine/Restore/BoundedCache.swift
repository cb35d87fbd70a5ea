import Foundation

/// Values that were dear to get, up to a number of bytes; the one that was longest unused goes first.
///
/// `@unchecked Sendable`: all state is touched under the lock only.
final class BoundedCache<Key: Hashable & Sendable, Value: Sendable>: @unchecked Sendable {
    private struct Entry {
        let value: Value
        let byteCount: Int
        var lastUse: UInt64
    }

    private let limitBytes: Int
    private let lock = NSLock()
    private var entries: [Key: Entry] = [:]
    private var byteCount = 0
    private var uses: UInt64 = 0

    init(limitBytes: Int) { self.limitBytes = limitBytes }

    subscript(key: Key) -> Value? {
        lock.withLock {
            uses += 1
            entries[key]?.lastUse = uses
            return entries[key]?.value
        }
    }

    /// Keeps `value` unless it is larger than all the room there is.
    func insert(_ value: Value, for key: Key, byteCount count: Int) {
        lock.withLock {
            guard count <= limitBytes, entries[key] == nil else { return }
            while byteCount + count > limitBytes, let oldest = entries.min(by: { $0.value.lastUse < $1.value.lastUse })
            {
                entries[oldest.key] = nil
                byteCount -= oldest.value.byteCount
            }
            uses += 1
            byteCount += count
            entries[key] = Entry(value: value, byteCount: count, lastUse: uses)
        }
    }
}

/// Lets one task at a time through; the others wait in the order in which they came.
actor Gate {
    private var isTaken = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// Whoever waits here is let through in the end: every pass before it ends, cancelled or not.
    nonisolated func pass<Success: Sendable>(
        _ body: @Sendable () async throws -> Success
    ) async throws -> Success {
        await enter()
        do {
            let result = try await body()
            await leave()
            return result
        } catch {
            await leave()
            throw error
        }
    }

    private func enter() async {
        guard isTaken else {
            isTaken = true
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }

    private func leave() {
        if waiting.isEmpty { isTaken = false } else { waiting.removeFirst().resume() }
    }
}
