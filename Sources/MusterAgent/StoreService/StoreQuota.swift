import MusterStore
import Synchronization

/// How much the objects of a served store hold, and may hold.
final class StoreQuota: Sendable {
    private let limitBytes: UInt64?
    private let used: Mutex<UInt64>

    /// Without a limit nothing is counted.
    init(of store: any Store, limitBytes: UInt64?) async throws(StoreError) {
        self.limitBytes = limitBytes
        var used: UInt64 = 0
        if limitBytes != nil {
            let cursor = try await store.list(.all)
            while true {
                let page = try await cursor.nextPage()
                guard !page.isEmpty else { break }
                for object in page { used += object.byteCount }
            }
        }
        self.used = Mutex(used)
    }

    /// - Returns: false if there is no room for so much more.
    func reserve(_ byteCount: UInt64) -> Bool {
        guard let limitBytes else { return true }
        return used.withLock { used in
            guard used <= limitBytes, byteCount <= limitBytes - used else { return false }
            used += byteCount
            return true
        }
    }

    func release(_ byteCount: UInt64) {
        guard limitBytes != nil else { return }
        used.withLock { $0 -= min($0, byteCount) }
    }

    /// What may still come, of so much that the disk has.
    func room(onDisk freeBytes: UInt64) -> UInt64 {
        guard let limitBytes else { return freeBytes }
        return used.withLock { min(freeBytes, limitBytes - min($0, limitBytes)) }
    }
}
