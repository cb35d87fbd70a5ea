import Synchronization

/// A store that lives as long as the process; for tests and for trying things out.
package final class MemoryStore: Store {
    package let name: String
    private let capacityBytes: UInt64
    private let objects = Mutex<[ObjectName: [UInt8]]>([:])

    /// - Parameter capacityBytes: committed objects together never hold more.
    package init(name: String = "memory", capacityBytes: UInt64 = 1 << 40) {
        (self.name, self.capacityBytes) = (name, capacityBytes)
    }

    package func beginPut() async throws(StoreError) -> any ObjectWriter { MemoryObjectWriter(store: self) }

    package func read(_ name: ObjectName, maximumBytes: Int, fresh: Bool) async throws(StoreError) -> [UInt8] {
        let bytes = try object(name)
        guard bytes.count <= maximumBytes else {
            throw .tooLarge(
                store: self.name, object: name.description, byteCount: UInt64(bytes.count),
                limitBytes: UInt64(maximumBytes))
        }
        return bytes
    }

    package func read(_ name: ObjectName, range: Range<UInt64>, fresh: Bool) async throws(StoreError) -> [UInt8] {
        try slice(try object(name), range, of: name.description)
    }

    package func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64? {
        objects.withLock { $0[name].map { UInt64($0.count) } }
    }

    package func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor {
        let matching = objects.withLock { objects in
            objects.filter { $0.key.description.hasPrefix(prefix.description) }
                .map { StoredObject(name: $0.key, byteCount: UInt64($0.value.count)) }
        }
        return MemoryCursor(objects: matching)
    }

    package func delete(_ name: ObjectName) async throws(StoreError) {
        guard objects.withLock({ $0.removeValue(forKey: name) }) != nil else {
            throw .notFound(store: self.name, object: name)
        }
    }

    package func freeBytes() async throws(StoreError) -> UInt64 { objects.withLock { capacityBytes - Self.used($0) } }

    fileprivate func add(_ name: ObjectName, _ bytes: [UInt8]) throws(StoreError) {
        try objects.withLock { objects throws(StoreError) in
            guard objects[name] == nil else { throw .alreadyExists(store: self.name, object: name) }
            guard Self.used(objects) + UInt64(bytes.count) <= capacityBytes else { throw .full(store: self.name) }
            objects[name] = bytes
        }
    }

    fileprivate func slice(_ bytes: [UInt8], _ range: Range<UInt64>, of object: String) throws(StoreError) -> [UInt8] {
        guard range.upperBound <= UInt64(bytes.count) else {
            throw .tooShort(
                store: name, object: object, byteCount: UInt64(bytes.count), neededBytes: range.upperBound)
        }
        return Array(bytes[Int(range.lowerBound)..<Int(range.upperBound)])
    }

    private func object(_ name: ObjectName) throws(StoreError) -> [UInt8] {
        guard let bytes = objects.withLock({ $0[name] }) else { throw .notFound(store: self.name, object: name) }
        return bytes
    }

    private static func used(_ objects: [ObjectName: [UInt8]]) -> UInt64 {
        objects.values.reduce(0) { $0 + UInt64($1.count) }
    }
}

private final class MemoryObjectWriter: ObjectWriter {
    private let store: MemoryStore
    /// nil once the writer is closed.
    private let written = Mutex<[UInt8]?>([])

    init(store: MemoryStore) { self.store = store }

    func write(_ bytes: ArraySlice<UInt8>) async throws(StoreError) {
        let isOpen = written.withLock { written in
            written?.append(contentsOf: bytes)
            return written != nil
        }
        guard isOpen else { throw .writerClosed(store: store.name) }
    }

    func readBack(_ range: Range<UInt64>) async throws(StoreError) -> [UInt8] {
        guard let bytes = written.withLock({ $0 }) else { throw .writerClosed(store: store.name) }
        return try store.slice(bytes, range, of: "(not yet committed)")
    }

    func commit(as name: ObjectName) async throws(StoreError) {
        guard let bytes = take() else { throw .writerClosed(store: store.name) }
        try store.add(name, bytes)
    }

    func abort() async { _ = take() }

    private func take() -> [UInt8]? {
        written.withLock { written in
            defer { written = nil }
            return written
        }
    }
}

private final class MemoryCursor: ObjectCursor {
    private let left: Mutex<[StoredObject]>

    init(objects: [StoredObject]) { left = Mutex(objects) }

    func nextPage() async throws(StoreError) -> [StoredObject] {
        left.withLock { left in
            defer { left.removeFirst(min(StoreLimit.objectsPerPage, left.count)) }
            return Array(left.prefix(StoreLimit.objectsPerPage))
        }
    }
}
