import Glibc
package import MusterModel

/// A store in a folder of this machine.
///
/// Objects lie under their names; what is not yet one lies in `incoming/`
/// under a random name. Several processes may use one folder at once.
///
/// | who | beside whom |
/// |---|---|
/// | writers | each has a locked file of its own; for one name, link(2) lets one of them win |
/// | opening | removes files in `incoming/` that it can lock: their writers are gone |
/// | readers, cursors | need no lock: an object appears whole and never changes |
/// | gc | deletes by exact name; a reader that has the file open reads on |
package final class FolderStore: Store {
    package enum Access: Sendable {
        case readOnly
        /// Also reaps what crashed writers left behind.
        case readWrite
    }

    package let name: String
    package let id: StoreID
    private let folder: StoreFolder
    private let access: Access

    init(folder: StoreFolder, id: StoreID, access: Access) {
        (self.folder, self.id, self.access) = (folder, id, access)
        name = folder.storeName
    }

    package func beginPut() async throws(StoreError) -> any ObjectWriter {
        try requireWritable()
        return try await folder.run { [folder] in try FolderObjectWriter(folder: folder) }
    }

    package func put(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) {
        try requireWritable()
        try await folder.run(name) { [folder] in
            try FolderObjectWriter(folder: folder, holding: bytes).finish(as: name)
        }
    }

    package func prepare(_ bytes: [UInt8]) async throws(StoreError) -> any ObjectWriter {
        try requireWritable()
        return try await folder.run { [folder] in
            let writer = try FolderObjectWriter(folder: folder, holding: bytes)
            try writer.makeDurable()
            return writer
        }
    }

    package func read(_ name: ObjectName, maximumBytes: Int, fresh: Bool) async throws(StoreError) -> [UInt8] {
        try await folder.run(name) { [folder] in
            let file = try folder.open(name)
            let byteCount = try file.status().byteCount
            guard byteCount <= UInt64(maximumBytes) else {
                throw StoreError.tooLarge(
                    store: folder.storeName, object: name.description, byteCount: byteCount,
                    limitBytes: UInt64(maximumBytes))
            }
            return try folder.read(0..<byteCount, of: file, name: name, fresh: fresh)
        }
    }

    package func read(_ name: ObjectName, range: Range<UInt64>, fresh: Bool) async throws(StoreError) -> [UInt8] {
        try await folder.run(name) { [folder] in
            try folder.read(range, of: folder.open(name), name: name, fresh: fresh)
        }
    }

    package func byteCount(of name: ObjectName) async throws(StoreError) -> UInt64? {
        try await folder.run(name) { [folder] in
            guard let status = try folder.root.status(of: name.description), status.isFile else { return nil }
            return status.byteCount
        }
    }

    package func list(_ prefix: ObjectPrefix) async throws(StoreError) -> any ObjectCursor {
        try await folder.run { [folder] in try FolderCursor(folder: folder, prefix: prefix) }
    }

    package func delete(_ name: ObjectName) async throws(StoreError) {
        try requireWritable()
        try await folder.runUnlessGivenUp(name) { [folder] in
            let parent = name.segments.dropLast().joined(separator: "/")
            let holder = try Descriptor(parent.isEmpty ? "." : parent, in: folder.root, flags: O_RDONLY | O_DIRECTORY)
            try holder.remove(String(name.segments.last ?? ""))
            // A deleted object must not come back after a power cut, when nothing knows its name any more.
            try holder.sync()
        }
    }

    package func freeBytes() async throws(StoreError) -> UInt64 {
        try await folder.run { [folder] in try folder.root.freeBytes() }
    }

    private func requireWritable() throws(StoreError) {
        guard access == .readWrite else { throw .readOnly(store: name) }
    }
}

extension StoreFolder {
    fileprivate func open(_ name: ObjectName) throws -> Descriptor {
        let file = try Descriptor(name.description, in: root, flags: O_RDONLY)
        guard try file.status().isFile else { throw StoreError.notFound(store: storeName, object: name) }
        return file
    }

    fileprivate func read(
        _ range: Range<UInt64>, of file: borrowing Descriptor, name: ObjectName, fresh: Bool
    ) throws -> [UInt8] {
        try requireReadable(range, of: name.description)
        if fresh { try file.dropCache(range) }
        let bytes = try file.read(range)
        // What is read to be checked is not wanted in memory, where the databases' own pages are.
        if fresh { try file.dropCache(range) }
        return try whole(bytes, range, of: name.description)
    }

    func requireReadable(_ range: Range<UInt64>, of object: String) throws(StoreError) {
        guard UInt64(range.count) <= StoreLimit.readBytes else {
            throw .tooLarge(
                store: storeName, object: object, byteCount: UInt64(range.count), limitBytes: StoreLimit.readBytes)
        }
    }

    /// - Returns: `bytes`, if they fill the range.
    func whole(_ bytes: [UInt8], _ range: Range<UInt64>, of object: String) throws(StoreError) -> [UInt8] {
        guard bytes.count == range.count else {
            throw .tooShort(
                store: storeName, object: object, byteCount: range.lowerBound + UInt64(bytes.count),
                neededBytes: range.upperBound)
        }
        return bytes
    }
}
