import MusterEngine
import MusterFormat
import MusterModel
import MusterStore

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
