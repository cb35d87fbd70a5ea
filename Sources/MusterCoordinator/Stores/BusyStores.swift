import Synchronization

/// Stores that a service is at work on: each by itself, so that one that is away, large or slow keeps no other waiting.
final class BusyStores: Sendable {
    private let stores = Mutex<Set<Int64>>([])

    /// - Returns: false where it is being worked on.
    func begin(_ store: Int64) -> Bool { stores.withLock { $0.insert(store).inserted } }
    func end(_ store: Int64) { stores.withLock { _ = $0.remove(store) } }
    var isNone: Bool { stores.withLock { $0.isEmpty } }
}
