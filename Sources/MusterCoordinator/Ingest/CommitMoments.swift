import MusterModel
import Synchronization

/// When the commits under way were received, which their receipts say before the catalog has them.
///
/// What ends with a window waits for those that came within it: a rebuild goes by the receipts alone, and must find the
/// same. A commit is under way for as long as its stores may take, so nothing waits for ever.
final class CommitMoments: Sendable {
    private struct State {
        var moments: [UInt64: Timestamp] = [:]
        var nextID: UInt64 = 0
    }

    private let state = Mutex(State())
    private let clock: any WallClock

    init(clock: any WallClock) { self.clock = clock }

    /// Runs `body` as a commit that is received now.
    func during<Value: Sendable>(_ body: (_ receivedAt: Timestamp) async throws -> Value) async throws -> Value {
        let (id, receivedAt) = state.withLock { state in
            state.nextID += 1
            let now = clock.now()
            state.moments[state.nextID] = now
            return (state.nextID, now)
        }
        defer { state.withLock { _ = $0.moments.removeValue(forKey: id) } }
        return try await body(receivedAt)
    }

    /// Whatever was received before it is in the catalog, or will never be.
    var settledUntil: Timestamp {
        state.withLock { $0.moments.values.reduce(clock.now(), min) }
    }
}
