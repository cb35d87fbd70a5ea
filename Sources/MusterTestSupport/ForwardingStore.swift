package import MusterStore

/// A store in front of another one, that does as that does but for what it says itself.
///
/// `put` and `prepare` are those of any store: they begin an object.
package protocol ForwardingStore: Store {
    var store: any Store { get }
}

extension ForwardingStore {
    package var name: String { store.name }

    package func beginPut() async throws(StoreError) -> any ObjectWriter { try await store.beginPut() }
    package func read(_ name: ObjectName, maximumBytes: Int, fresh: Bool) async throws(StoreError) -> [UInt8] {
        try await store.read(name, maximumBytes: maximumBytes, fresh: fresh)
    }
    package func read(_ name: ObjectName, range: Range<UInt64>, fresh: Bool) async throws(StoreError) -> [UInt8] {
        try await store.read(name, range: range, fresh: fresh)
    }
    package func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64? {
        try await store.byteCount(of: name)
    }
    package func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor {
        try await store.list(prefix)
    }
    package func delete(_ name: ObjectName) async throws(StoreError) { try await store.delete(name) }
    package func freeBytes() async throws(StoreError) -> UInt64 { try await store.freeBytes() }
}
