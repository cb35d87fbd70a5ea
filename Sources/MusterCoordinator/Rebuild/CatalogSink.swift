import MusterCatalog
import MusterEngine
import MusterFormat
import MusterModel
import MusterStore
import Synchronization

/// Takes the packs of a catalog's backup into several stores at once.
final class CatalogSink: PackSink {
    private let targets: BackupTargets
    private let catalog: Catalog
    private let random: RandomSource
    private let chunks: [ChunkID: PresentChunk]
    /// Packs that each target has, by its number.
    private let held: Mutex<[Int64: Set<PackID>]>

    /// Chunks of earlier backups count as present where every target has the pack.
    ///
    /// - Parameter earlier: so many backups of each target are looked at.
    init(targets: BackupTargets, earlier: Int, catalog: Catalog, random: RandomSource) async throws {
        (self.targets, self.catalog, self.random) = (targets, catalog, random)
        var shelves: [Int64: [PackID: Catalog.OwnObject]] = [:]
        for target in targets.left {
            // What no kept backup needs may be about to be deleted.
            let packs = try await catalog.packs(ofNewest: earlier, backupsIn: target.number)
            shelves[target.number] = Dictionary(packs.map { ($0.id, $0.own) }, uniquingKeysWith: { first, _ in first })
        }
        let packs = shelves.values.map { Set($0.keys) }
        var chunks: [ChunkID: PresentChunk] = [:]
        let common = packs.dropFirst().reduce(packs.first ?? []) { $0.intersection($1) }
        for id in common.sorted() {
            for target in targets.left {
                guard let own = shelves[target.number]?[id], let name = ObjectName(own.object) else { break }
                let answer = try await targets.attempt(target) {
                    try await CatalogSink.directory(of: id, Int(own.byteCount), name, in: target.store)
                }
                // Another one may answer.
                guard let directory = answer else { continue }
                // Made again, a damaged one has the same id, and has to be put.
                if directory == nil { shelves[target.number]?[id] = nil }
                for entry in directory?.entries ?? [] {
                    chunks[entry.id] = PresentChunk(
                        pack: id, offset: UInt32(entry.offset), length: UInt32(entry.byteCount))
                }
                break
            }
        }
        self.chunks = chunks
        held = Mutex(shelves.mapValues { Set($0.keys) })
    }

    func present(_ chunks: [ChunkID]) async throws -> [ChunkID: PresentChunk] {
        chunks.reduce(into: [:]) { found, id in found[id] = self.chunks[id] }
    }

    func put(_ pack: PackID, bytes: [UInt8], onBytesSent: @escaping @Sendable (Int) -> Void) async throws {
        try await targets.each { target in
            guard held.withLock({ $0[target.number]?.contains(pack) }) != true else { return }
            let name = ObjectName.catalogPack(pack, Generation(from: random))
            let own = Catalog.OwnObject(
                store: target.number, object: name.description, kind: .pack, pack: pack, byteCount: bytes.count)
            try await catalog.begin(own)
            try await target.store.put(name, bytes)
            try await catalog.complete(own)
            held.withLock { _ = $0[target.number]?.insert(pack) }
        }
        onBytesSent(bytes.count)
    }

    /// Without a ledger nothing is copied from packs.
    func read(_ pack: PackID, _ range: Range<Int>) async throws -> [UInt8]? { nil }

    /// - Returns: nil for a pack that is damaged: its chunks are stored again.
    private static func directory(
        of pack: PackID, _ size: Int, _ name: ObjectName, in store: any Store
    ) async throws -> PackDirectory? {
        do {
            return try await PackDirectory.read(of: pack, size: size, name, in: store)
        } catch let error as StoreError where error.meansAbsence {
            throw error
        } catch {
            return nil
        }
    }
}
