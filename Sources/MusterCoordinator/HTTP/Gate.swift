/// Lets so much through at once, in order of arrival; what finds a full queue is turned away.
actor Gate {
    private struct Waiter {
        let id: UInt64
        let weight: Int
        let continuation: CheckedContinuation<Bool, Never>
    }

    private let capacity: Int
    private let queueLimit: Int
    private var free: Int
    private var queue: [Waiter] = []
    private var nextID: UInt64 = 0

    init(capacity: Int, queueLimit: Int) {
        precondition(capacity > 0 && queueLimit >= 0, "a gate lets something through")
        (self.capacity, self.queueLimit, free) = (capacity, queueLimit, capacity)
    }

    /// Runs `body` inside the gate.
    ///
    /// - Parameter weight: of the capacity; more than all of it counts as all of it.
    nonisolated func pass<Value: Sendable>(
        weight: Int = 1, _ body: @Sendable () async throws -> Value
    ) async throws -> Value {
        let weight = min(max(1, weight), capacity)
        try await enter(weight)
        do {
            let value = try await body()
            await leave(weight)
            return value
        } catch {
            await leave(weight)
            throw error
        }
    }

    private func enter(_ weight: Int) async throws {
        if queue.isEmpty, free >= weight {
            free -= weight
            return
        }
        guard queue.count < queueLimit else { throw Refusal.busy }
        nextID += 1
        let id = nextID
        let entered = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled {
                    continuation.resume(returning: false)
                } else {
                    queue.append(Waiter(id: id, weight: weight, continuation: continuation))
                }
            }
        } onCancel: {
            // Whoever is cancelled cannot wait here: the actor is told in a task of its own, which ends at once.
            Task { await self.giveUp(id) }
        }
        guard entered else { throw CancellationError() }
    }

    private func leave(_ weight: Int) {
        free += weight
        while let first = queue.first, free >= first.weight {
            queue.removeFirst()
            free -= first.weight
            first.continuation.resume(returning: true)
        }
    }

    private func giveUp(_ id: UInt64) {
        guard let index = queue.firstIndex(where: { $0.id == id }) else { return }
        queue.remove(at: index).continuation.resume(returning: false)
        // The one behind may be light enough for what is free.
        leave(0)
    }
}

/// One at a time for each key, in order of arrival.
///
/// It turns nobody away: its lines are no longer than the calls under way, of which each node has few (`NodeLoad`), and
/// strangers and connections are bounded before them.
actor Lanes<Key: Hashable & Sendable> {
    private struct Waiter {
        let id: UInt64
        let continuation: CheckedContinuation<Bool, Never>
    }

    private var waiting: [Key: [Waiter]] = [:]
    private var nextID: UInt64 = 0

    nonisolated func pass<Value: Sendable>(
        _ key: Key, _ body: @Sendable () async throws -> Value
    ) async throws -> Value {
        try await enter(key)
        do {
            let value = try await body()
            await leave(key)
            return value
        } catch {
            await leave(key)
            throw error
        }
    }

    private func enter(_ key: Key) async throws {
        guard waiting[key] != nil else {
            waiting[key] = []
            return
        }
        nextID += 1
        let id = nextID
        let entered = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled {
                    continuation.resume(returning: false)
                } else {
                    waiting[key, default: []].append(Waiter(id: id, continuation: continuation))
                }
            }
        } onCancel: {
            // Whoever is cancelled cannot wait here: the actor is told in a task of its own, which ends at once.
            Task { await self.giveUp(key, id) }
        }
        guard entered else { throw CancellationError() }
    }

    private func leave(_ key: Key) {
        guard var queue = waiting[key], !queue.isEmpty else {
            waiting[key] = nil
            return
        }
        let next = queue.removeFirst()
        waiting[key] = queue
        next.continuation.resume(returning: true)
    }

    private func giveUp(_ key: Key, _ id: UInt64) {
        guard let index = waiting[key]?.firstIndex(where: { $0.id == id }) else { return }
        waiting[key]?.remove(at: index).continuation.resume(returning: false)
    }
}

/// One gate for each key, so that nobody takes more than a share of a gate that all pass.
actor GateShares<Key: Hashable & Sendable> {
    private let capacity: Int
    private let queueLimit: Int
    /// Keys are the fleet's nodes, so they are few.
    private var gates: [Key: Gate] = [:]

    init(capacity: Int, queueLimit: Int) { (self.capacity, self.queueLimit) = (capacity, queueLimit) }

    nonisolated func pass<Value: Sendable>(
        _ key: Key, weight: Int = 1, _ body: @Sendable () async throws -> Value
    ) async throws -> Value {
        try await gate(key).pass(weight: weight, body)
    }

    private func gate(_ key: Key) -> Gate {
        if let gate = gates[key] { return gate }
        let gate = Gate(capacity: capacity, queueLimit: queueLimit)
        gates[key] = gate
        return gate
    }
}

/// How many requests each node has under way.
actor NodeLoad<Key: Hashable & Sendable> {
    private let limit: Int
    private var counts: [Key: Int] = [:]

    init(limit: Int) { self.limit = limit }

    nonisolated func count<Value: Sendable>(
        _ key: Key, _ body: @Sendable () async throws -> Value
    ) async throws -> Value {
        guard await begin(key) else { throw Refusal.tooMany }
        do {
            let value = try await body()
            await end(key)
            return value
        } catch {
            await end(key)
            throw error
        }
    }

    private func begin(_ key: Key) -> Bool {
        guard counts[key, default: 0] < limit else { return false }
        counts[key, default: 0] += 1
        return true
    }

    private func end(_ key: Key) {
        let left = counts[key, default: 1] - 1
        counts[key] = left > 0 ? left : nil
    }
}
