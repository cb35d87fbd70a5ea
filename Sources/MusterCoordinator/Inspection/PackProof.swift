import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// The first reading of a pack that a node put into the store by itself.
///
/// What came through the coordinator was hashed on its way, whole and chunk by chunk. Of such a pack the store compared
/// the bytes with the pack's id, and the coordinator has read the directory alone: whether the chunks are what that says
/// is found out here (proto/decisions/0013-signed-uploads.md).
extension Coordinator {
    /// Reads every byte, and records the chunks that are really there.
    func prove(
        _ pack: Catalog.PackReplica, as name: ObjectName, in store: OpenStore
    ) async throws -> (fault: Fault?, bytesRead: Int64) {
        let (known, _) = try await fault(
            in: name, of: store, size: UInt64(pack.sizeBytes), hash: pack.id, isHashed: false)
        if let known { return (known, 0) }
        let found: Fault
        do {
            let reading = try await readThrough(pack, as: name, in: store)
            if let extents = reading.extents, reading.hash == pack.id {
                try await catalog.prove(pack.pack, chunks: extents)
                return (nil, pack.sizeBytes)
            }
            found = (
                .damaged,
                reading.hash == pack.id
                    ? "its directory tells of other chunks than it has"
                    : "its bytes hash to \(reading.hash), not to \(pack.id)"
            )
        } catch let error as StoreError {
            found = (.damaged, try Self.reason(of: error))
        } catch let error as FormatError {
            found = (.damaged, error.summary)
        }
        // Nobody is to build on chunks that may not be there.
        try await catalog.prove(pack.pack, chunks: [])
        return (found, pack.sizeBytes)
    }

    /// - Returns: the hash of all bytes; and the extent chunks, nil where a chunk is not the one that the directory names.
    private func readThrough(
        _ pack: Catalog.PackReplica, as name: ObjectName, in store: OpenStore
    ) async throws -> (hash: PackID, extents: [Catalog.ChunkPlace]?) {
        let read: PackReading = { try await store.store.read(name, range: $0, fresh: true) }
        let directory = try await directory(of: pack.id, Int(pack.sizeBytes), read)
        let hash = ObjectHash<PackKind>()
        var extents: [Catalog.ChunkPlace]? = []
        var end = UInt64(Self.magic.count)
        hash.update(Self.magic)
        for (entries, range) in Self.pieces(of: directory) {
            let bytes = try await read(range)
            end = range.upperBound
            let found: [Catalog.ChunkPlace]? = try await hashing.run {
                hash.update(bytes)
                do { return try Self.check(entries, in: bytes, of: directory) } catch is FormatError { return nil }
            }
            extents = found.flatMap { found in extents.map { $0 + found } }
        }
        hash.update(try await read(end..<UInt64(pack.sizeBytes)))
        return (hash.finish(), extents)
    }
}
