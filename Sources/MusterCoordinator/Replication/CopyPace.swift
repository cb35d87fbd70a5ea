import MusterModel
import Synchronization

/// Spreads the bytes of background copies over time.
///
/// Who spends waits until the bytes before have had their time; a rate of 0 does not wait.
final class CopyPace: Sendable {
    /// A clock that was set forward must not stop the copies.
    private static let longestWait = Duration.seconds(10)

    private let bytesPerSecond: Int
    private let clock: any WallClock
    private let nextFree = Mutex(Timestamp(microseconds: 0))
    private let spent = Atomic<Int>(0)
    /// Nobody rings it: it only keeps time, and ends at shutdown.
    private let time = Bell<Bool>()

    init(bytesPerSecond: Int, clock: any WallClock) { (self.bytesPerSecond, self.clock) = (bytesPerSecond, clock) }

    /// All bytes that were spent since the start.
    var spentBytes: Int { spent.load(ordering: .relaxed) }

    func spend(_ byteCount: Int) async {
        spent.wrappingAdd(byteCount, ordering: .relaxed)
        guard bytesPerSecond > 0 else { return }
        let now = clock.now()
        let cost = Duration.seconds(Double(byteCount) / Double(bytesPerSecond))
        let due = nextFree.withLock { nextFree in
            let begin = max(min(nextFree, now + Self.longestWait), now)
            nextFree = begin + cost
            return begin
        }
        guard due > now else { return }
        await time.wait(true, after: 0, atMost: due - now)
    }
}
