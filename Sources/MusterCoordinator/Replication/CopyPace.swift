import MusterModel
import Synchronization

/// Spreads the bytes of background copies over time.
///
/// Who spends waits until the bytes before have had their time; a rate of 0 does not wait.
final class CopyPace: Sendable {
    private struct State {
        var nextFree = Timestamp(microseconds: 0)
        var latest = Timestamp(microseconds: 0)
    }

    private let bytesPerSecond: Int
    private let clock: any WallClock
    private let spent = Atomic<Int>(0)
    private let state = Mutex(State())
    /// Nobody rings it: it only keeps time, and ends at shutdown.
    private let time = Bell<Bool>()

    init(bytesPerSecond: Int, clock: any WallClock) { (self.bytesPerSecond, self.clock) = (bytesPerSecond, clock) }

    /// All bytes that were spent since the start.
    var spentBytes: Int { spent.load(ordering: .relaxed) }

    func spend(_ byteCount: Int) async {
        spent.wrappingAdd(byteCount, ordering: .relaxed)
        let pause = reserve(byteCount)
        if pause > .zero { await time.wait(true, after: 0, atMost: pause) }
    }

    /// - Returns: how long to wait before so many bytes may be moved; those who ask after that wait for them too.
    func reserve(_ byteCount: Int) -> Duration {
        guard bytesPerSecond > 0 else { return .zero }
        let cost = Duration.seconds(Double(byteCount) / Double(bytesPerSecond))
        return state.withLock { state in
            let now = clock.now()
            // A clock that was set back takes what is reserved with it: it must not stop the copies.
            if now < state.latest { state.nextFree = state.nextFree - (state.latest - now) }
            let begin = max(state.nextFree, now)
            (state.nextFree, state.latest) = (begin + cost, now)
            return begin - now
        }
    }
}
