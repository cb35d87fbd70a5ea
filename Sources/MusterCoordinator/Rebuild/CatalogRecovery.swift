import Foundation
import MusterCatalog
import MusterEngine
import MusterFormat
import MusterModel
import MusterStore

/// Restores the newest backup of the lost catalog that is good, and takes from it what the stores do not say.
struct CatalogRecovery {
    private static let lanes = 2

    let stores: [RebuildStore]
    let receiptKey: VerifyingKey
    let random: RandomSource
    /// Where the restored catalog is put; the caller removes the folder.
    let path: String

    /// - Returns: nil where there is no backup.
    func run(
        _ scope: CatalogScope, into catalog: Catalog, _ findings: inout RebuildFindings
    ) async throws -> (takenAt: Timestamp, recovered: Catalog.Recovered)? {
        var backups: [(backup: CatalogShelf.Backup, store: RebuildStore)] = []
        for entry in stores {
            for backup in try await CatalogShelf(store: entry.store, signer: receiptKey).newest(2) {
                backups.append((backup, entry))
            }
        }
        for (backup, entry) in backups.sorted(by: { $0.backup.name > $1.backup.name }) {
            do {
                let recovered = try await recover(backup, from: entry, scope, into: catalog)
                for store in stores {
                    guard let reason = store.identity.flatMap({ recovered.brokenListings[$0] }) else { continue }
                    findings.add(
                        "store '\(store.name)' at \(store.url)", in: store.name,
                        "its last probe found that it does not list all it holds (\(reason)): what it did not list is "
                            + "not known here")
                }
                return (backup.manifest.publicPart.capturedEnd, recovered)
            } catch {
                if let error = error as? StoreError, error.meansAbsence { throw error }
                if let error = error as? CatalogError, error.isTransient { throw error }
                findings.add(backup.name.description, in: entry.name, reasonText(error))
            }
        }
        return nil
    }

    private func recover(
        _ backup: CatalogShelf.Backup, from entry: RebuildStore, _ scope: CatalogScope, into catalog: Catalog
    ) async throws -> Catalog.Recovered {
        for suffix in ["", "-wal", "-shm"] { unlink(path + suffix) }
        let restore = SnapshotRestore(
            source: CatalogSource(store: entry.store, backup: backup, packs: try await entry.store.catalogPacks()),
            keys: [scope.keys], verifyingKey: receiptKey, lanes: Self.lanes, random: random)
        _ = try await restore.run(backup.manifest.publicPart.snapshot, to: path, checkIntegrity: true)
        let recovered = try await catalog.recover(from: path)
        for suffix in ["", "-wal", "-shm"] { unlink(path + suffix) }
        return recovered
    }
}

/// One backup of the catalog, as a restore reads it.
private struct CatalogSource: SnapshotSource {
    let store: any Store
    let backup: CatalogShelf.Backup
    let packs: [PackID: [StoredObject]]

    var name: String { store.name }

    func manifest(of snapshot: SnapshotID, after refused: Set<String>) async throws -> ReplicaBytes {
        guard snapshot == backup.manifest.publicPart.snapshot else {
            throw ObjectUnavailable(reason: "a backup of the catalog stands for itself")
        }
        return ReplicaBytes(backup.manifest.bytes, of: "")
    }

    func read(_ pack: PackID, _ range: Range<UInt64>, after refused: Set<String>) async throws -> ReplicaBytes {
        for object in packs[pack] ?? [] {
            if let bytes = try await present(object.name, range) { return ReplicaBytes(bytes, of: "") }
        }
        throw ObjectUnavailable(reason: "it is not in the store")
    }

    /// - Returns: nil where this copy is gone or too short: there may be another.
    private func present(_ name: ObjectName, _ range: Range<UInt64>) async throws(StoreError) -> [UInt8]? {
        do {
            return try await store.read(name, range: range)
        } catch {
            guard !error.meansAbsence else { throw error }
            return nil
        }
    }
}
