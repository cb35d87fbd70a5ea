import Dispatch
import Synchronization

/// Hands values from one blocking thread to one task, with at most `capacity` of them waiting.
///
/// The thread waits when the line is full, so a slow network holds the capture
/// back instead of filling memory. Either side may end it: the thread with
/// `finish`, the task with `cancel` (which also wakes a waiting thread).
final class Handoff<Element: Sendable>: Sendable {
    private struct State {
        var waiting: [Element] = []
        var end: Result<Void, any Error>?
        var isCancelled = false
        var taker: CheckedContinuation<Element?, any Error>?
        var closers: [CheckedContinuation<Void, Never>] = []
    }

    private enum Next {
        case element(Element)
        case end(Result<Void, any Error>)
        case wait
    }

    private let state = Mutex(State())
    private let places: DispatchSemaphore

    init(capacity: Int) {
        precondition(capacity > 0, "a line needs a place")
        places = DispatchSemaphore(value: capacity)
    }

    /// True once the task has left: the thread may stop early.
    var isCancelled: Bool { state.withLock { $0.isCancelled } }

    /// Blocks the calling thread while the line is full.
    ///
    /// - Parameter whileWaiting: called now and then meanwhile; what it throws ends the wait.
    /// - Throws: `CancellationError` once the task has left.
    func send(_ element: Element, whileWaiting: () throws -> Void = {}) throws {
        while places.wait(timeout: .now() + .milliseconds(200)) == .timedOut { try whileWaiting() }
        let taker = try state.withLock { state -> CheckedContinuation<Element?, any Error>? in
            if state.isCancelled { throw CancellationError() }
            if let taker = state.taker {
                state.taker = nil
                return taker
            }
            state.waiting.append(element)
            return nil
        }
        guard let taker else { return }
        places.signal()
        taker.resume(returning: element)
    }

    /// Ends the line: what waits is still taken, then the task gets nil or the error.
    func finish(_ end: Result<Void, any Error>) {
        let (taker, closers) = state.withLock { state in
            precondition(state.end == nil, "a thread finishes once")
            state.end = end
            defer { (state.taker, state.closers) = (nil, []) }
            return (state.taker, state.closers)
        }
        taker?.resume(with: end.map { nil })
        for closer in closers { closer.resume() }
    }

    /// Cancels, and returns once the thread has finished.
    func cancelAndWait() async {
        cancel()
        await withCheckedContinuation { closer in
            let isOver = state.withLock { state in
                if state.end == nil { state.closers.append(closer) }
                return state.end != nil
            }
            if isOver { closer.resume() }
        }
    }

    /// The task leaves: nothing more is taken and the thread's next `send` throws.
    func cancel() {
        let (taker, dropped) = state.withLock { state in
            state.isCancelled = true
            defer { (state.taker, state.waiting) = (nil, []) }
            return (state.taker, state.waiting.count)
        }
        // One more than was dropped, for a thread that waits for a place right now.
        for _ in 0...dropped { places.signal() }
        taker?.resume(throwing: CancellationError())
    }

    /// The next value, or nil after the last.
    func next() async throws -> Element? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let next = state.withLock { state -> Next in
                    if state.isCancelled { return .end(.failure(CancellationError())) }
                    if !state.waiting.isEmpty { return .element(state.waiting.removeFirst()) }
                    if let end = state.end { return .end(end) }
                    precondition(state.taker == nil, "one task takes at a time")
                    state.taker = continuation
                    return .wait
                }
                switch next {
                case .element(let element):
                    places.signal()
                    continuation.resume(returning: element)
                case .end(let end): continuation.resume(with: end.map { nil })
                case .wait: break
                }
            }
        } onCancel: {
            cancel()
        }
    }
}
