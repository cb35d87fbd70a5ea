import Hummingbird
import MusterFormat
import MusterModel
import MusterServing
import MusterStore
import NIOCore
import Synchronization

/// What is done for the coordinator with the served folder.
///
/// | who | beside whom |
/// |---|---|
/// | puts | each in a file of its own; for one name, the folder lets one of them win |
/// | the quota | a put takes its room before its first byte, and gives it back where it fails |
/// | listings | one request at a time uses one |
struct NodeStoreKeeper: Sendable {
    /// Bytes gathered before a write.
    private static let writeBytes = 256 << 10
    /// Bytes read at once for an answer.
    private static let readBytes: UInt64 = 512 << 10

    let store: any Store
    let listings: StoreListings
    private let quota: StoreQuota
    private let hashing = BlockingPool(label: "muster-store-hashing", width: 2)

    init(store: any Store, quota: StoreQuota, monotonic: @escaping @Sendable () -> Duration) {
        (self.store, self.quota) = (store, quota)
        listings = StoreListings(store: store, monotonic: monotonic)
    }

    /// Returns once the object is durable under its name. It gets its name only if it has the hash.
    func put(_ name: ObjectName, byteCount: Int, hash: BodyHash, _ body: RequestBody) async throws {
        guard quota.reserve(UInt64(byteCount)) else { throw NodeStoreRefusal.full }
        do {
            let writer = try await store.beginPut()
            do {
                try await receive(body, byteCount: byteCount, hash: hash, writer)
                try await writer.commit(as: name)
            } catch {
                await writer.abort()
                throw error
            }
        } catch {
            quota.release(UInt64(byteCount))
            throw error
        }
    }

    private func receive(
        _ body: RequestBody, byteCount: Int, hash: BodyHash, _ writer: any ObjectWriter
    ) async throws {
        let running = RunningHash()
        let received = try await BodyPace.watch { pace in
            var (received, piece) = (0, [UInt8]())
            var buffers = body.makeAsyncIterator()
            while let buffer = try await pace.next({ try await buffers.next() }) {
                received += buffer.readableBytes
                guard received <= byteCount else { throw NodeStoreRefusal.tooLarge }
                piece.append(contentsOf: buffer.readableBytesView)
                guard piece.count >= Self.writeBytes else { continue }
                try await take(piece, running, writer)
                piece.removeAll(keepingCapacity: true)
            }
            if !piece.isEmpty { try await take(piece, running, writer) }
            return received
        }
        guard received == byteCount, running.finish() == hash else { throw NodeStoreRefusal.wrongHash }
    }

    /// Hashes and writes one piece, both off the cooperative pool and beside each other.
    private func take(_ piece: [UInt8], _ running: RunningHash, _ writer: any ObjectWriter) async throws {
        async let hashed: Void = hashing.run { running.update(piece) }
        try await writer.write(piece)
        try await hashed
    }

    /// - Parameter range: nil for the whole object.
    /// - Returns: the object's size, and the bytes as they are read.
    func read(
        _ name: ObjectName, range: Range<UInt64>?, fresh: Bool
    ) async throws -> (byteCount: UInt64, body: ResponseBody) {
        guard let byteCount = try await store.byteCount(of: name) else {
            throw StoreError.notFound(store: store.name, object: name)
        }
        let range = range ?? 0..<byteCount
        guard range.upperBound <= byteCount else {
            throw StoreError.tooShort(
                store: store.name, object: name.description, byteCount: byteCount, neededBytes: range.upperBound)
        }
        guard !range.isEmpty else { return (byteCount, ResponseBody()) }
        // The first piece is read before the answer begins: what is wrong with it can still be said.
        let first = try await store.read(name, range: Self.piece(of: range, from: range.lowerBound), fresh: fresh)
        let body = ResponseBody(contentLength: range.count) { [store] writer in
            try await writer.write(ByteBuffer(bytes: first))
            var offset = range.lowerBound + UInt64(first.count)
            while offset < range.upperBound {
                let piece = Self.piece(of: range, from: offset)
                try await writer.write(ByteBuffer(bytes: try await store.read(name, range: piece, fresh: fresh)))
                offset = piece.upperBound
            }
            try await writer.finish(nil)
        }
        return (byteCount, body)
    }

    func delete(_ name: ObjectName) async throws {
        let byteCount = try await store.byteCount(of: name)
        try await store.delete(name)
        quota.release(byteCount ?? 0)
    }

    func room() async throws -> UInt64 { quota.room(onDisk: try await store.freeBytes()) }

    private static func piece(of range: Range<UInt64>, from offset: UInt64) -> Range<UInt64> {
        offset..<min(offset + readBytes, range.upperBound)
    }
}

/// A hash under way, fed by one task.
private final class RunningHash: Sendable {
    private let hasher = Mutex(SHA256Hasher())

    func update(_ bytes: [UInt8]) { hasher.withLock { $0.update(bytes) } }
    func finish() -> BodyHash { hasher.withLock { $0.finish() } }
}
