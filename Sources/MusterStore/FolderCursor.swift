import Synchronization

/// Walks the folders under a prefix; holds one open folder for each level and no list of names.
final class FolderCursor: ObjectCursor {
    private struct Level {
        let reader: FolderReader
        /// "" or the folder's path from the root, with a slash at its end.
        let path: String
    }

    private let folder: StoreFolder
    private let prefix: ObjectPrefix
    /// The folders under way, outermost first. Locked on the store's own threads only.
    private let levels: Mutex<[Level]>

    init(folder: StoreFolder, prefix: ObjectPrefix) throws(SystemFailure) {
        (self.folder, self.prefix) = (folder, prefix)
        let path = prefix.folderSegments.map { "\($0)/" }.joined()
        let start = path.isEmpty ? "." : path
        let isThere = try folder.root.status(of: start)?.isFolder == true
        levels = Mutex(isThere ? [Level(reader: try FolderReader(start, in: folder.root), path: path)] : [])
    }

    func nextPage() async throws(StoreError) -> [StoredObject] {
        try await folder.run { [self] in
            try levels.withLock { levels in
                var page: [StoredObject] = []
                while page.count < StoreLimit.objectsPerPage, let level = levels.last {
                    guard let entry = try level.reader.next() else {
                        levels.removeLast()
                        continue
                    }
                    if let object = try visit(level.path + entry, &levels) { page.append(object) }
                }
                return page
            }
        }
    }

    /// Files whose names no object can have are not ours; neither are links and devices.
    private func visit(_ path: String, _ levels: inout [Level]) throws(SystemFailure) -> StoredObject? {
        guard let name = ObjectName(path), let status = try folder.root.status(of: path) else { return nil }
        if status.isFile, path.hasPrefix(prefix.description) {
            return StoredObject(name: name, byteCount: status.byteCount)
        }
        let isWanted = "\(path)/".hasPrefix(prefix.description) || prefix.description.hasPrefix("\(path)/")
        if status.isFolder, isWanted {
            levels.append(Level(reader: try FolderReader(path, in: folder.root), path: "\(path)/"))
        }
        return nil
    }
}
