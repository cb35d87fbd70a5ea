import MusterModel
import Synchronization

/// One replica that a reader refused.
enum Suspicion: Hashable, Sendable {
    /// By the pack's number in the catalog, and the store's.
    case pack(Int64, Int64)
    /// A snapshot's manifest and receipt, and the store's number.
    case snapshot(SnapshotID, Int64)
}

/// Replicas that the coordinator is to read again because somebody refused them.
///
/// Anybody who may read an object may put it here, so what that can cost is bounded: so many of one reader and of all
/// wait, one is read at a time and at the scrub's pace, and none soon again. Kept in memory only: whoever meets the
/// object after a restart says so again.
final class SuspicionBook: Sendable {
    private static let mostWaiting = 4096
    private static let mostOfOne = 512
    private static let restsFor = Duration.seconds(600)

    private struct Book {
        var waiting: [(suspicion: Suspicion, reader: String)] = []
        var known: Set<Suspicion> = []
        var lookedAt: [Suspicion: Timestamp] = [:]
    }

    private let book = Mutex(Book())

    /// - Returns: false where it waits already, was looked at a moment ago, or there are too many.
    func add(_ suspicion: Suspicion, by reader: String, now: Timestamp) -> Bool {
        book.withLock { book in
            // A clock that was set back must not put it off.
            if let at = book.lookedAt[suspicion], at <= now, now - at < Self.restsFor { return false }
            guard book.waiting.count < Self.mostWaiting, !book.known.contains(suspicion),
                book.waiting.count(where: { $0.reader == reader }) < Self.mostOfOne
            else { return false }
            book.waiting.append((suspicion, reader))
            book.known.insert(suspicion)
            return true
        }
    }

    func next() -> Suspicion? {
        book.withLock { book in
            guard !book.waiting.isEmpty else { return nil }
            let suspicion = book.waiting.removeFirst().suspicion
            book.known.remove(suspicion)
            return suspicion
        }
    }

    /// It was read: it is not read again for a while, whoever asks.
    func conclude(_ suspicion: Suspicion, now: Timestamp) {
        book.withLock { book in
            if book.lookedAt.count >= Self.mostWaiting {
                book.lookedAt = book.lookedAt.filter { $0.value <= now && now - $0.value < Self.restsFor }
            }
            if book.lookedAt.count < Self.mostWaiting { book.lookedAt[suspicion] = now }
        }
    }
}
