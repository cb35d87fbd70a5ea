import Foundation
import Glibc
package import MusterModel

extension FolderStore {
    /// Makes a store in an empty folder, which is made too if need be, and opens it.
    ///
    /// May be called again after it failed halfway.
    package static func create(
        at path: String, name: String, random: RandomSource, clock: some WallClock
    ) async throws(StoreError) -> FolderStore {
        let id = StoreID(from: random)
        let record = FormatRecord(id, created: clock.now())
        let folder = try await opening(path, name) { try prepareFolder(path, name: name, random: random) }
        let store = FolderStore(folder: folder, id: id, access: .readWrite)
        try await store.put(.format, record.bytes)
        return store
    }

    /// Opens a store that `create` made.
    package static func open(
        at path: String, name: String, random: RandomSource, access: Access = .readWrite
    ) async throws(StoreError) -> FolderStore {
        let folder = try await opening(path, name) {
            try StoreFolder(path: path, storeName: name, random: random)
        }
        let reader = FolderStore(folder: folder, id: StoreID(from: random), access: .readOnly)
        let id = try await FormatRecord.read(in: reader, at: path)
        if access == .readWrite {
            try await folder.run {
                _ = try folder.root.makeFolder(ObjectName.reservedSegment)
                try folder.reapLeftovers()
            }
        }
        return FolderStore(folder: folder, id: id, access: access)
    }

    /// On a thread of its own: a mount that hangs must keep no other store from being opened.
    private static func opening(
        _ path: String, _ name: String, _ body: @escaping @Sendable () throws -> StoreFolder
    ) async throws(StoreError) -> StoreFolder {
        do {
            return try await BlockingPool(label: "muster-store-opening", width: 1).run(body)
        } catch let failure as SystemFailure {
            guard failure.code != ENOENT, failure.code != ENOTDIR else {
                throw .notAStore(path: path, reason: "there is no such folder")
            }
            throw StoreError(failure, store: name, object: nil)
        } catch let error as StoreError {
            throw error
        } catch {
            preconditionFailure("opening a store threw \(error)")
        }
    }

    private static func prepareFolder(_ path: String, name: String, random: RandomSource) throws -> StoreFolder {
        let url = URL(filePath: path)
        let parent = try Descriptor(folder: url.deletingLastPathComponent().path(percentEncoded: false))
        if try parent.makeFolder(url.lastPathComponent) { try parent.sync() }
        let folder = try StoreFolder(path: path, storeName: name, random: random)
        let reader = try FolderReader(".", in: folder.root)
        while let entry = try reader.next() {
            if entry == "\(ObjectName.format)" { throw StoreError.alreadyExists(store: name, object: .format) }
            // Left by a `create` that did not come to its end, or by the maker of the file system.
            guard [ObjectName.reservedSegment, "lost+found"].contains(entry) else {
                throw StoreError.folderNotEmpty(path: path)
            }
        }
        _ = try folder.root.makeFolder(ObjectName.reservedSegment)
        try folder.reapLeftovers()
        return folder
    }
}
