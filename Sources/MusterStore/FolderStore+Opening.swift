import Foundation
import Glibc
package import MusterModel

package enum StoreKind {}
/// Names a store wherever its folder is mounted.
package typealias StoreID = Identifier<StoreKind>

/// `format.json`: what tells a folder to be a store, and of which version.
private struct FormatRecord: Codable {
    static let version = 1
    static let maximumBytes = 4096

    let version: Int
    let store: String
    let created: String
}

extension FolderStore {
    /// Makes a store in an empty folder, which is made too if need be, and opens it.
    ///
    /// May be called again after it failed halfway.
    package static func create(
        at path: String, name: String, random: RandomSource, clock: some WallClock
    ) async throws(StoreError) -> FolderStore {
        let id = StoreID(from: random)
        let record = FormatRecord(version: FormatRecord.version, store: "\(id)", created: "\(clock.now())")
        let folder = try await opening(path, name) { try prepareFolder(path, name: name, random: random) }
        let store = FolderStore(folder: folder, id: id, access: .readWrite)
        try await store.put(.format, Array(encode(record)))
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
        let id = try await reader.checkFormat(path: path)
        if access == .readWrite {
            try await folder.run {
                _ = try folder.root.makeFolder(ObjectName.reservedSegment)
                try folder.reapLeftovers()
            }
        }
        return FolderStore(folder: folder, id: id, access: access)
    }

    private static let openingPool = BlockingPool(label: "muster-store-opening", width: 2)

    private static func opening(
        _ path: String, _ name: String, _ body: @escaping @Sendable () throws -> StoreFolder
    ) async throws(StoreError) -> StoreFolder {
        do {
            return try await openingPool.run(body)
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

    private static func encode(_ record: FormatRecord) -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
        do {
            return try encoder.encode(record) + Data("\n".utf8)
        } catch {
            preconditionFailure("a record of three plain values was not encoded: \(error)")
        }
    }

    private func checkFormat(path: String) async throws(StoreError) -> StoreID {
        let bytes: [UInt8]
        do {
            bytes = try await read(.format, maximumBytes: FormatRecord.maximumBytes)
        } catch .notFound {
            throw .notAStore(path: path, reason: "it has no \(ObjectName.format)")
        }
        let record: FormatRecord
        do {
            record = try JSONDecoder().decode(FormatRecord.self, from: Data(bytes))
        } catch {
            throw .notAStore(path: path, reason: "its \(ObjectName.format) cannot be read")
        }
        guard record.version == FormatRecord.version else {
            throw .notAStore(path: path, reason: "it has version \(record.version), and this program reads version 1")
        }
        guard let id = StoreID(record.store) else {
            throw .notAStore(path: path, reason: "its \(ObjectName.format) names no store")
        }
        return id
    }
}
