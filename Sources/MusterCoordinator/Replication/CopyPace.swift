import MusterModel
import Synchronization

/// Spreads the bytes of background copies over time.
///
/// Who spends waits until the bytes before have had their time; a rate of 0 does not wait.
final class CopyPace: Sendable {
    private let clock: any WallClock
    private let spent = Atomic<Int>(0)
    private let pace: Mutex<BytePace>
    /// Nobody rings it: it only keeps time, and ends at shutdown.
    private let time = Bell<Bool>()

    init(bytesPerSecond: Int, clock: any WallClock) {
        pace = Mutex(BytePace(bytesPerSecond: bytesPerSecond))
        self.clock = clock
    }

    /// All bytes that were spent since the start.
    var spentBytes: Int { spent.load(ordering: .relaxed) }

    func spend(_ byteCount: Int) async {
        spent.wrappingAdd(byteCount, ordering: .relaxed)
        let pause = reserve(byteCount)
        if pause > .zero { await time.wait(true, after: 0, atMost: pause) }
    }

    /// - Returns: how long to wait before so many bytes may be moved; those who ask after that wait for them too.
    func reserve(_ byteCount: Int) -> Duration {
        pace.withLock { $0.reserve(Double(byteCount), at: .microseconds(clock.now().microseconds)) }
    }
}
