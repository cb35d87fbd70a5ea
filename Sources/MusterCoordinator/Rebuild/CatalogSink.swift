import MusterCatalog
import MusterEngine
import MusterFormat
import MusterModel
import MusterStore
import Synchronization

/// Takes the packs of a catalog's backup into several stores at once.
final class CatalogSink: PackSink {
    private let targets: [OpenStore]
    private let catalog: Catalog
    private let random: RandomSource
    private let chunks: [ChunkID: PresentChunk]
    /// Packs that each target has, by its number.
    private let held: Mutex<[Int64: Set<PackID>]>

    /// Chunks of earlier backups count as present where every target has the pack.
    ///
    /// - Parameter earlier: so many backups of each target are looked at.
    init(targets: [OpenStore], earlier: Int, catalog: Catalog, random: RandomSource) async throws {
        (self.targets, self.catalog, self.random) = (targets, catalog, random)
        var held: [Int64: Set<PackID>] = [:]
        var places: [PackID: Catalog.OwnObject] = [:]
        for (index, target) in targets.enumerated() {
            // What no kept backup needs may be about to be deleted.
            let packs = try await catalog.packs(ofNewest: earlier, backupsIn: target.number)
            held[target.number] = Set(packs.map(\.id))
            if index == 0 { for (id, own) in packs { places[id] = own } }
        }
        let common = held.values.reduce(Set(places.keys)) { $0.intersection($1) }
        var chunks: [ChunkID: PresentChunk] = [:]
        for id in common.sorted() {
            guard let own = places[id], let name = ObjectName(own.object) else { continue }
            guard let directory = try await Self.directory(of: id, Int(own.byteCount), name, in: targets[0].store)
            else {
                // Made again, it has the same id, and has to be put.
                held[targets[0].number]?.remove(id)
                continue
            }
            for entry in directory.entries {
                chunks[entry.id] = PresentChunk(
                    pack: id, offset: UInt32(entry.offset), length: UInt32(entry.byteCount))
            }
        }
        self.chunks = chunks
        self.held = Mutex(held)
    }

    func present(_ chunks: [ChunkID]) async throws -> [ChunkID: PresentChunk] {
        chunks.reduce(into: [:]) { found, id in found[id] = self.chunks[id] }
    }

    func put(_ pack: PackID, bytes: [UInt8], onBytesSent: @escaping @Sendable (Int) -> Void) async throws {
        for target in targets where held.withLock({ $0[target.number]?.contains(pack) }) != true {
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
