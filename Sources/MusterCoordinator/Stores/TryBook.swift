import MusterModel
import Synchronization

/// When something was tried last, so that what fails is not tried without end. A restart forgets it.
final class TryBook<Key: Hashable & Sendable>: Sendable {
    private let tries = Mutex<[Key: Timestamp]>([:])

    /// Counts as a try where the answer is yes.
    func isDue(_ key: Key, now: Timestamp, after pause: Duration) -> Bool {
        tries.withLock { tries in
            if let last = tries[key], last <= now, now - last < pause { return false }
            tries[key] = now
            return true
        }
    }
}
