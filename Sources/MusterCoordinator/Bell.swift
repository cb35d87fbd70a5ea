import ServiceLifecycle

/// Wakes those who wait for something that is in the catalog.
///
/// Take a `ticket`, look into the catalog, and wait with the ticket: a ring
/// between the two is not missed. Each that waits is a call or a service, so calls under way bound the waiters; and its
/// keys are nodes of the fleet or one alone.
actor Bell<Key: Hashable & Sendable> {
    private struct Waiter {
        let id: UInt64
        let continuation: CheckedContinuation<Void, Never>
    }

    private var rings: [Key: UInt64] = [:]
    private var waiters: [Key: [Waiter]] = [:]
    private var nextID: UInt64 = 0

    func ticket(_ key: Key) -> UInt64 { rings[key, default: 0] }

    /// True while somebody waits.
    func isAwaited(_ key: Key) -> Bool { waiters[key] != nil }

    func ring(_ key: Key) {
        rings[key, default: 0] += 1
        for waiter in waiters.removeValue(forKey: key) ?? [] { waiter.continuation.resume() }
    }

    /// Returns when the bell rang after the ticket was taken, the time is over, or the program shuts down.
    nonisolated func wait(_ key: Key, after ticket: UInt64, atMost limit: Duration) async {
        await cancelWhenGracefulShutdown { await self.waitOut(key, after: ticket, atMost: limit) }
    }

    /// The same for what a request waits for, which is finished while the program shuts down.
    nonisolated func waitOut(_ key: Key, after ticket: UInt64, atMost limit: Duration) async {
        // The time being over is one of the ways to be woken, not an error.
        try? await withDeadline(limit) { await self.wait(key, after: ticket) }
    }

    private func wait(_ key: Key, after ticket: UInt64) async {
        guard rings[key, default: 0] == ticket else { return }
        nextID += 1
        let id = nextID
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if Task.isCancelled {
                    continuation.resume()
                } else {
                    waiters[key, default: []].append(Waiter(id: id, continuation: continuation))
                }
            }
        } onCancel: {
            // Whoever is cancelled cannot wait here: the actor is told in a task of its own, which ends at once.
            Task { await self.giveUp(key, id) }
        }
    }

    private func giveUp(_ key: Key, _ id: UInt64) {
        guard let index = waiters[key]?.firstIndex(where: { $0.id == id }) else { return }
        waiters[key]?.remove(at: index).continuation.resume()
        if waiters[key]?.isEmpty == true { waiters[key] = nil }
    }
}

/// The ports that the listeners got, once they have them.
actor BoundPorts {
    enum Outcome: Sendable {
        case bound(Int)
        /// It tries again later.
        case failed(reason: String)
    }

    private var outcomes: [Plane: Outcome] = [:]
    private var waiters: [(Plane, CheckedContinuation<Outcome, Never>)] = []

    func bind(_ plane: Plane, to port: Int) { settle(plane, .bound(port)) }

    func fail(_ plane: Plane, reason: String) { settle(plane, .failed(reason: reason)) }

    private func settle(_ plane: Plane, _ outcome: Outcome) {
        outcomes[plane] = outcome
        for (wanted, continuation) in waiters where wanted == plane { continuation.resume(returning: outcome) }
        waiters.removeAll { $0.0 == plane }
    }

    /// Waits until the listener is up, or could not be.
    func outcome(of plane: Plane) async -> Outcome {
        if let outcome = outcomes[plane] { return outcome }
        return await withCheckedContinuation { waiters.append((plane, $0)) }
    }

    /// Waits for the listener to be up; 0 where it could not be.
    func port(of plane: Plane) async -> Int {
        guard case .bound(let port) = await outcome(of: plane) else { return 0 }
        return port
    }
}
