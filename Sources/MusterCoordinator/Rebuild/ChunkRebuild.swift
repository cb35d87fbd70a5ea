import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// Reads the directories of the packs again, so that nodes are not asked for chunks that the stores hold.
///
/// A directory does not say which chunks are extents. All of them are taken: nobody asks for the others.
struct ChunkRebuild {
    private static let batch = 256

    let stores: [RebuildStore]
    let listing: RebuildListing
    let catalog: Catalog
    let progress: @Sendable (Rebuild.Progress) -> Void

    /// - Returns: how many packs there are.
    func run(_ findings: inout RebuildFindings) async throws -> Int {
        var (last, count) = (Int64(0), 0)
        while true {
            let packs = try await catalog.packs(after: last, limit: Self.batch)
            guard let end = packs.last else { return count }
            last = end.number
            let read = try await withThrowingTaskGroup(of: Read.self) { group in
                for pack in packs { group.addTask { try await chunks(of: pack) } }
                return try await group.reduce(into: [Read]()) { $0.append($1) }
            }
            for result in read { findings.add(result.findings) }
            try await listing.refer(to: packs)
            try await catalog.add(chunks: read.map { ($0.pack, $0.chunks) })
            count += packs.count
            progress(.packs(done: count))
        }
    }

    private struct Read: Sendable {
        let pack: Int64
        var chunks: [Catalog.ChunkPlace] = []
        var findings = RebuildFindings()
    }

    private func chunks(of pack: Catalog.PackEntry) async throws -> Read {
        var result = Read(pack: pack.number)
        for replica in pack.replicas where replica.state == .present {
            guard let store = stores.first(where: { $0.number == replica.store }),
                let generation = Generation(replica.generation)
            else { continue }
            let name = ObjectName.pack(pack.id, generation)
            do {
                let directory = try await PackDirectory.read(
                    of: pack.id, size: Int(clamping: pack.sizeBytes), name, in: store.store)
                result.chunks = directory.entries.map {
                    Catalog.ChunkPlace(id: $0.id, offset: $0.offset, length: $0.byteCount)
                }
                return result
            } catch let error as StoreError where error.meansAbsence {
                throw error
            } catch {
                // The next scrub says it of the whole pack, and heals it.
                result.findings.add(name.description, in: store.name, reasonText(error))
            }
        }
        return result
    }
}
