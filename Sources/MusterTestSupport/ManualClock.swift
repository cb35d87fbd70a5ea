package import MusterModel
import Synchronization

/// A wall clock that stands still until a test moves it.
package final class ManualClock: WallClock {
    private let time: Mutex<Timestamp>

    /// - Parameter time: by default 2026-01-01T00:00:00Z.
    package init(at time: Timestamp = Timestamp(microseconds: 1_767_225_600_000_000)) { self.time = Mutex(time) }

    package func now() -> Timestamp { time.withLock { $0 } }

    /// - Parameter span: may be negative: wall clocks are set back.
    package func advance(by span: Duration) { time.withLock { $0 = $0 + span } }
}

/// A monotonic clock whose sleepers wake at once: each sleep moves it on and is written down.
package final class InstantClock: Clock {
    package struct Instant: InstantProtocol {
        private var offset: Duration

        fileprivate init(offset: Duration) { self.offset = offset }

        package func advanced(by span: Duration) -> Self { Self(offset: offset + span) }
        package func duration(to other: Self) -> Duration { other.offset - offset }
        package static func < (a: Self, b: Self) -> Bool { a.offset < b.offset }
    }

    private struct State {
        var now = Instant(offset: .zero)
        var sleeps: [Duration] = []
    }

    private let state = Mutex(State())

    package init() {}

    package var now: Instant { state.withLock { $0.now } }
    package var minimumResolution: Duration { .nanoseconds(1) }
    /// Every sleep so far, in order.
    package var sleeps: [Duration] { state.withLock { $0.sleeps } }

    package func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        try Task.checkCancellation()
        state.withLock { state in
            state.sleeps.append(state.now.duration(to: deadline))
            state.now = max(state.now, deadline)
        }
    }

    package func advance(by span: Duration) { state.withLock { $0.now = $0.now.advanced(by: span) } }
}
