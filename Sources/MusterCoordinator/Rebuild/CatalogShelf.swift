import MusterEngine
import MusterFormat
import MusterModel
import MusterStore
import Synchronization

/// The backups of the catalog in one store.
struct CatalogShelf: Sendable {
    /// The label that says which backup a manifest is: an old one under a new name is nothing new.
    static let label = "catalog-backup"

    struct Backup: Sendable {
        let name: ObjectName
        let manifest: Manifest
    }

    let store: any Store
    let signer: VerifyingKey

    static func mark(_ epoch: UInt64, _ number: UInt64) -> String { "\(epoch)-\(number)" }

    /// The newest that read, the newest first.
    func newest(_ limit: Int) async throws -> [Backup] {
        var names: [ObjectName] = []
        for object in try await store.objects(.catalogBackups, maximumCount: 100_000) {
            if case .catalogBackup = StoredItem(object.name) { names.append(object.name) }
        }
        var found: [Backup] = []
        // The names sort as epoch and number do.
        for name in names.sorted(by: >) where found.count < limit {
            guard case .catalogBackup(let epoch, let number) = StoredItem(name) else { continue }
            var ignored = RebuildFindings()
            let bytes = try await store.readForRebuild(
                name, maximumBytes: Format.maximumManifestBytes, &ignored)
            // One that is damaged is as none: there is one before it.
            guard let bytes, let manifest = try? Manifest.parse(bytes).verified(by: signer),
                manifest.publicPart.labels[Self.label] == Self.mark(epoch, number)
            else { continue }
            found.append(Backup(name: name, manifest: manifest))
        }
        return found
    }

}

extension Store {
    /// Where the packs of the catalog's backups are.
    func catalogPacks() async throws -> [PackID: [StoredObject]] {
        var packs: [PackID: [StoredObject]] = [:]
        try await eachPage(.catalogPacks) { page in
            for case (.catalogPack(let id, _), let object) in page { packs[id, default: []].append(object) }
        }
        return packs
    }
}

extension PackDirectory {
    /// Reads the directory of a stored pack.
    static func read(of pack: PackID, size: Int, _ name: ObjectName, in store: any Store) async throws -> PackDirectory
    {
        guard (PackTrailer.byteCount + 1...Format.maximumPackBytes).contains(size) else {
            throw FormatError("pack \(pack)", .malformed("no pack has \(size) bytes"))
        }
        let tail = try await store.read(name, range: UInt64(size - PackTrailer.byteCount)..<UInt64(size))
        let trailer = try PackTrailer(tail, packByteCount: size, pack: pack)
        let range = UInt64(trailer.directoryRange.lowerBound)..<UInt64(trailer.directoryRange.upperBound)
        return try PackDirectory(try await store.read(name, range: range), trailer: trailer, pack: pack)
    }
}

/// Takes the packs of a catalog's backup into several stores at once.
final class CatalogSink: PackSink {
    private let targets: [OpenStore]
    private let random: RandomSource
    private let chunks: [ChunkID: PresentChunk]
    /// Packs that each target has, by its number.
    private let held: Mutex<[Int64: Set<PackID>]>

    /// - Parameter earlier: backups of the first target. Chunks of theirs count as present where every target has the pack.
    init(targets: [OpenStore], earlier: [CatalogShelf.Backup], random: RandomSource) async throws {
        (self.targets, self.random) = (targets, random)
        let needed = Set(earlier.flatMap(\.manifest.publicPart.packs.added))
        var held: [Int64: Set<PackID>] = [:]
        var places: [PackID: StoredObject] = [:]
        for (index, target) in targets.enumerated() {
            // What no kept backup needs may be about to be deleted.
            let packs = try await target.store.catalogPacks().filter { needed.contains($0.key) }
            held[target.number] = Set(packs.keys)
            if index == 0 { places = packs.compactMapValues(\.first) }
        }
        let common = held.values.reduce(Set(places.keys)) { $0.intersection($1) }
        var chunks: [ChunkID: PresentChunk] = [:]
        for id in common.sorted() {
            guard let object = places[id], let size = Int(exactly: object.byteCount),
                let directory = try await Self.directory(of: id, size, object.name, in: targets[0].store)
            else { continue }
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
            try await target.store.put(.catalogPack(pack, Generation(from: random)), bytes)
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
