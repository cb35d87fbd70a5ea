import Synchronization

/// Counts how often one request was sent: from the second time on, an earlier one may have done what was asked.
final class Attempts: Sendable {
    private struct State {
        var count = 0
        var bodyCount = 0
    }

    private let state = Mutex(State())

    var mayHaveSucceeded: Bool { state.withLock { $0.count > 1 || $0.bodyCount > 1 } }

    func begin() { state.withLock { $0.count += 1 } }

    /// libcurl sends a request again by itself where a kept connection breaks: its body is read from the start then.
    func beginBody() { state.withLock { $0.bodyCount += 1 } }
}
