import Synchronization

/// Waits for `body` no longer than `limit`, whatever becomes of it.
///
/// A call into a folder whose mount hangs neither ends nor heeds that it is cancelled, and a task group waits for all of
/// its tasks: so this task is none of a group. It is cancelled all the same, and what it gives after that nobody hears.
/// - Parameters:
///   - error: thrown where the time is over.
///   - sleep: lets the time pass.
package func withPatience<Value: Sendable>(
    _ limit: Duration, orThrow error: any Error,
    sleep: @escaping @Sendable (Duration) async throws -> Void = RealTime.pass,
    _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    let outcome = FirstOutcome<Value>()
    let work = Task {
        do { outcome.settle(.success(try await body())) } catch { outcome.settle(.failure(error)) }
    }
    let timer = Task {
        try await sleep(limit)
        outcome.settle(.failure(error))
    }
    defer {
        work.cancel()
        timer.cancel()
    }
    return try await withTaskCancellationHandler {
        try await outcome.value()
    } onCancel: {
        work.cancel()
    }
}

package enum RealTime {
    /// Sleeps.
    package static let pass: @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
}

/// What came first; the rest is dropped. One task waits for it.
private final class FirstOutcome<Value: Sendable>: Sendable {
    private enum State {
        case open
        case awaited(CheckedContinuation<Value, any Error>)
        case settled(Result<Value, any Error>)
        case heard
    }

    private let state = Mutex(State.open)

    func settle(_ result: Result<Value, any Error>) {
        let waiting = state.withLock { state -> CheckedContinuation<Value, any Error>? in
            switch state {
            case .open:
                state = .settled(result)
                return nil
            case .awaited(let continuation):
                state = .heard
                return continuation
            case .settled, .heard: return nil
            }
        }
        waiting?.resume(with: result)
    }

    func value() async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let settled = state.withLock { state -> Result<Value, any Error>? in
                guard case .settled(let result) = state else {
                    state = .awaited(continuation)
                    return nil
                }
                state = .heard
                return result
            }
            if let settled { continuation.resume(with: settled) }
        }
    }
}
