import Logging
import MusterModel
import MusterStore
import Synchronization

/// The stores that a backup of the catalog goes into. One that fails drops out, and the others go on.
final class BackupTargets: Sendable {
    private let stores: [OpenStore]
    private let logger: Logger
    private let dropped = Mutex<Set<Int64>>([])

    init(_ stores: [OpenStore], logger: Logger) { (self.stores, self.logger) = (stores, logger) }

    /// Those that have not failed.
    var left: [OpenStore] {
        let dropped = dropped.withLock { $0 }
        return stores.filter { !dropped.contains($0.number) }
    }

    /// - Throws: why the last of them failed; what is no store's fault at once.
    func each(_ body: (OpenStore) async throws -> Void) async throws {
        for store in left { _ = try await attempt(store) { try await body(store) } }
    }

    /// - Returns: nil where it failed, and others are left.
    func attempt<Value>(_ store: OpenStore, _ body: () async throws -> Value) async throws -> Value? {
        do {
            return try await body()
        } catch let error as StoreError {
            dropped.withLock { _ = $0.insert(store.number) }
            logger.warning(
                "store has no part in this backup of the catalog",
                metadata: ["store": "\(store.name)", "reason": "\(error.summary)"])
            guard !left.isEmpty else { throw error }
            return nil
        }
    }
}
