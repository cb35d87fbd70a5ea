import MusterModel
package import MusterStore
import Synchronization

/// A store that fails and lies where a test says so, and else passes everything on.
package final class FaultyStore: Store {
    /// Calls of one kind are counted from 1 over the store's life.
    package enum Fault: Sendable {
        case failPut(Int, StoreError)
        case failWrite(Int, StoreError)
        /// `isApplied`: the object is committed all the same, as when the answer of a store is lost.
        case failCommit(Int, StoreError, isApplied: Bool)
        case failRead(Int, StoreError)
        /// Every read of the object with that name.
        case failReads(of: ObjectName, StoreError)
        case flipBit(ofRead: Int, bit: Int)
        case truncate(read: Int, byteCount: Int)
    }

    private enum Call: Hashable { case put, write, commit, read }

    package var name: String { store.name }
    private let store: any Store
    private let faults: Mutex<[Fault]>
    private let counts = Mutex<[Call: Int]>([:])

    package init(_ store: any Store, faults: [Fault] = []) {
        self.store = store
        self.faults = Mutex(faults)
    }

    package func add(_ fault: Fault) { faults.withLock { $0.append(fault) } }

    package func beginPut() async throws(StoreError) -> any ObjectWriter {
        let number = count(.put)
        for case .failPut(number, let error) in current { throw error }
        return FaultyWriter(writer: try await store.beginPut(), store: self)
    }

    package func read(_ name: ObjectName, maximumBytes: Int, fresh: Bool) async throws(StoreError) -> [UInt8] {
        // That it is the same store is looked at from time to time, beside what a test counts.
        if name == .format { return try await store.read(name, maximumBytes: maximumBytes, fresh: fresh) }
        let number = try beginRead(of: name)
        return damaged(try await store.read(name, maximumBytes: maximumBytes, fresh: fresh), read: number)
    }

    package func read(_ name: ObjectName, range: Range<UInt64>, fresh: Bool) async throws(StoreError) -> [UInt8] {
        let number = try beginRead(of: name)
        return damaged(try await store.read(name, range: range, fresh: fresh), read: number)
    }

    package func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64? {
        try await store.byteCount(of: name)
    }

    package func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor {
        try await store.list(prefix)
    }

    package func delete(_ name: ObjectName) async throws(StoreError) { try await store.delete(name) }

    package func freeBytes() async throws(StoreError) -> UInt64 { try await store.freeBytes() }

    fileprivate func beginWrite() throws(StoreError) {
        let number = count(.write)
        for case .failWrite(number, let error) in current { throw error }
    }

    fileprivate func commit(_ writer: any ObjectWriter, as name: ObjectName) async throws(StoreError) {
        let number = count(.commit)
        for case .failCommit(number, let error, let isApplied) in current {
            if isApplied { try await writer.commit(as: name) } else { await writer.abort() }
            throw error
        }
        try await writer.commit(as: name)
    }

    private var current: [Fault] { faults.withLock { $0 } }

    /// - Returns: which call of its kind this is.
    private func count(_ call: Call) -> Int {
        counts.withLock { counts in
            counts[call, default: 0] += 1
            return counts[call, default: 0]
        }
    }

    private func beginRead(of name: ObjectName) throws(StoreError) -> Int {
        let number = count(.read)
        for case .failReads(name, let error) in current { throw error }
        for case .failRead(number, let error) in current { throw error }
        return number
    }

    private func damaged(_ bytes: [UInt8], read number: Int) -> [UInt8] {
        var bytes = bytes
        for fault in current {
            switch fault {
            case .flipBit(number, let bit) where bit / 8 < bytes.count: bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            case .truncate(number, let byteCount): bytes.removeLast(max(0, bytes.count - byteCount))
            default: break
            }
        }
        return bytes
    }
}

private final class FaultyWriter: ObjectWriter {
    private let writer: any ObjectWriter
    private let store: FaultyStore

    init(writer: any ObjectWriter, store: FaultyStore) { (self.writer, self.store) = (writer, store) }

    func write(_ bytes: ArraySlice<UInt8>) async throws(StoreError) {
        do {
            try store.beginWrite()
        } catch {
            await writer.abort()
            throw error
        }
        try await writer.write(bytes)
    }

    func readBack(_ range: Range<UInt64>) async throws(StoreError) -> [UInt8] { try await writer.readBack(range) }
    func commit(as name: ObjectName) async throws(StoreError) { try await store.commit(writer, as: name) }
    func abort() async { await writer.abort() }
}
