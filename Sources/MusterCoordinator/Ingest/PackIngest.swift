import Hummingbird
import MusterCatalog
import MusterFormat
import MusterModel
import MusterServing
import MusterStore
import NIOCore
import Synchronization

/// Takes packs in: a lying node is caught at the door, without a key.
///
/// A pack is hashed while it streams into the store, then its directory is
/// read back and every chunk in it hashed against its id. Only then does it get
/// a name, and only then does the catalog know it.
extension Coordinator {
    /// Bytes gathered before a write, and read back at once.
    private static let pieceBytes = 1 << 20
    private static let writeBytes = 256 << 10

    /// Streams one pack from a request; one that is here already is read and dropped.
    func ingest(_ id: PackID, of node: NodeID, scope: ScopeID, byteCount: Int, body: RequestBody) async throws {
        try await packLanes.pass(PackLane(id: id, scope: scope)) {
            if try await isStored(id, scope) {
                try await drain(body)
                guard try await catalog.refresh(id, in: scope, now: clock.now()) else {
                    throw Refusal.packCollected(id)
                }
                return
            }
            try await requireRoom(for: [ComingPack(id: id, byteCount: byteCount)], in: scope)
            try await uploadShares.pass(scope) {
                try await uploads.pass { try await receive(id, of: node, scope, byteCount, body) }
            }
        }
    }

    private func drain(_ body: RequestBody) async throws {
        try await BodyPace.watch { pace in
            var buffers = body.makeAsyncIterator()
            while try await pace.next({ try await buffers.next() }) != nil {}
        }
    }

    private func receive(
        _ id: PackID, of node: NodeID, _ scope: ScopeID, _ byteCount: Int, _ body: RequestBody
    ) async throws {
        let (store, writer) = try await beginPut(of: node)
        do {
            let hash = PackHash(id)
            try await BodyPace.watch { pace in
                var piece: [UInt8] = []
                piece.reserveCapacity(Self.writeBytes + (64 << 10))
                var buffers = body.makeAsyncIterator()
                while let buffer = try await pace.next({ try await buffers.next() }) {
                    piece.append(contentsOf: buffer.readableBytesView)
                    guard piece.count >= Self.writeBytes else { continue }
                    try await take(piece, writer, hash)
                    piece.removeAll(keepingCapacity: true)
                }
                if !piece.isEmpty { try await take(piece, writer, hash) }
            }
            try await finish(id, scope, byteCount, writer, hash, in: store)
        } catch {
            await writer.abort()
            throw error
        }
    }

    /// Whether a copy counts as good and is still there: else what was sent again is the way to heal it.
    func isStored(_ id: PackID, _ scope: ScopeID) async throws -> Bool {
        try await isStored(try await catalog.replicas(of: id, in: scope))
    }

    func isStored(_ replicas: [Catalog.PackReplica]) async throws -> Bool {
        for (replica, store) in stores.readable(replicas)
        where replica.state == .present && !replica.isCondemned && !store.isAway {
            do {
                if try await isThere(replica, in: store) { return true }
            } catch let error as StoreError where error.meansAbsence {
                // Whether it is there cannot be said: it is taken once more.
                continue
            }
        }
        return false
    }

    /// Begins an object in the first store that takes one.
    private func beginPut(of node: NodeID) async throws -> (OpenStore, any ObjectWriter) {
        var failure: StoreError?
        for store in stores.acknowledgers(of: node) {
            do { return (store, try await store.store.beginPut()) } catch { failure = failure ?? error }
        }
        throw failure.map { Refusal($0) } ?? Refusal.noStore
    }

    /// Hashes and writes one piece, both off the cooperative pool and beside each other.
    private func take(_ piece: [UInt8], _ writer: any ObjectWriter, _ hash: PackHash) async throws {
        async let hashed: Void = hashing.run { try hash.update(piece) }
        try await writer.write(piece)
        try await hashed
    }

    private func finish(
        _ id: PackID, _ scope: ScopeID, _ byteCount: Int, _ writer: any ObjectWriter, _ hash: PackHash,
        in store: OpenStore
    ) async throws {
        let received = try hash.finish()
        guard received == byteCount else {
            throw Refusal.malformed("the pack has \(received) bytes where \(byteCount) were announced")
        }
        let chunks = try await checkChunks(of: try await directory(of: id, byteCount, writer.readBack), writer.readBack)
        let generation = Generation(from: random)
        let name = ObjectName.pack(id, generation)
        try await puttingObjects { objects in
            try await objects.naming(name, byteCount: byteCount, in: store) { () async throws(StoreError) in
                try await writer.commit(as: name)
            }
            try await catalog.add(
                Catalog.NewPack(
                    id: id, scope: scope, sizeBytes: Int64(byteCount),
                    replicas: [(store.number, generation.description)], chunks: chunks),
                now: clock.now())
            objects.areRecorded()
        }
    }

    /// Hashes every chunk of the pack against its id, and reads what kind it is.
    ///
    /// - Returns: the extent chunks, the only ones that the dedup question is about.
    private func checkChunks(of directory: PackDirectory, _ read: PackReading) async throws -> [Catalog.ChunkPlace] {
        var extents: [Catalog.ChunkPlace] = []
        for (entries, range) in Self.pieces(of: directory) {
            let bytes = try await read(range)
            extents += try await hashing.run { try Self.check(entries, in: bytes, of: directory) }
        }
        return extents
    }

    /// Chunks that lie side by side, as many as are read at once, and where they are.
    static func pieces(of directory: PackDirectory) -> [(entries: ArraySlice<PackEntry>, range: Range<UInt64>)] {
        var pieces: [(entries: ArraySlice<PackEntry>, range: Range<UInt64>)] = []
        var index = 0
        while index < directory.entries.count {
            let first = directory.entries[index]
            var end = index + 1
            while end < directory.entries.count,
                directory.entries[end].range.upperBound - first.offset <= Self.pieceBytes
            { end += 1 }
            let entries = directory.entries[index..<end]
            let upper = entries.last?.range.upperBound ?? first.range.upperBound
            pieces.append((entries, UInt64(first.offset)..<UInt64(upper)))
            index = end
        }
        return pieces
    }

    /// Gives a range of a pack, in the store or on its way there.
    typealias PackReading = (Range<UInt64>) async throws -> [UInt8]

    func directory(of id: PackID, _ byteCount: Int, _ read: PackReading) async throws -> PackDirectory {
        guard byteCount > PackTrailer.byteCount + Self.magic.count else {
            throw Refusal.malformed("pack \(id) is too short to be one")
        }
        guard try await read(0..<UInt64(Self.magic.count)) == Self.magic else {
            throw Refusal.malformed("pack \(id) does not begin as a pack does")
        }
        let tail = try await read(UInt64(byteCount - PackTrailer.byteCount)..<UInt64(byteCount))
        let trailer = try PackTrailer(tail, packByteCount: byteCount, pack: id)
        let range = UInt64(trailer.directoryRange.lowerBound)..<UInt64(trailer.directoryRange.upperBound)
        return try PackDirectory(try await read(range), trailer: trailer, pack: id)
    }

    static func check(
        _ entries: ArraySlice<PackEntry>, in bytes: [UInt8], of directory: PackDirectory
    ) throws -> [Catalog.ChunkPlace] {
        let start = entries.first?.offset ?? 0
        return try entries.compactMap { entry in
            let chunk = Array(bytes[entry.offset - start..<entry.range.upperBound - start])
            try directory.check(chunk, is: entry)
            guard SealedKind(rawValue: chunk[1] >> 4) == .extent else { return nil }
            return Catalog.ChunkPlace(id: entry.id, offset: entry.offset, length: entry.byteCount)
        }
    }

    /// The first bytes of a pack (proto/format.md).
    static let magic = Array("MUSTPACK".utf8)
}

/// The hash of a pack under way. Pieces come one after the other; the lock lets them come from any thread.
private final class PackHash: Sendable {
    private let receiver: Mutex<PackReceiver?>

    init(_ id: PackID) { receiver = Mutex(PackReceiver(expecting: id)) }

    func update(_ bytes: [UInt8]) throws {
        try receiver.withLock { receiver in try receiver?.update(bytes) }
    }

    /// - Returns: how many bytes there were.
    func finish() throws -> Int {
        try receiver.withLock { receiver in
            guard let finished = receiver.take() else { return 0 }
            return try finished.finish()
        }
    }
}
