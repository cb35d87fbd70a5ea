import Glibc
import MusterModel
import Synchronization

/// Tells at once when a database that nobody follows now is opened or written to, without looking at it.
///
/// It asks the folder watch, which has one watch for all databases of a folder. What that misses (a full queue, no
/// watches left, a network file system) the schedule finds when it looks at the database the next time: nothing
/// depends on it but speed.
final class WakeWatch: Sendable {
    private struct Entry {
        /// The real one: `-wal` lies beside the file that a link leads to.
        let path: FilePath
        /// Since it is watched, the database was seen to be as its newest snapshot.
        var isResting = false
    }

    private struct State {
        var entries: [DatabaseID: Entry] = [:]
        var databases: [FilePath: DatabaseID] = [:]
        /// Folders of these, and how many there are in each.
        var folders: [String: Int] = [:]

        mutating func take(_ database: DatabaseID) {
            guard let entry = entries.removeValue(forKey: database) else { return }
            databases[entry.path] = nil
            let folder = entry.path.folder
            let count = (folders[folder] ?? 1) - 1
            folders[folder] = count > 0 ? count : nil
        }
    }

    private let watch: FolderWatch?
    private let state = Mutex(State())

    /// - Parameter watch: nil where the system has no inotify left to give; then nobody rests.
    init(_ watch: FolderWatch?) { self.watch = watch }

    /// Watches a database until it is woken or is let go of. Blocks.
    ///
    /// - Returns: where its file really is.
    @discardableResult
    func arm(_ database: DatabaseID, path: String) -> FilePath {
        let path = Self.resolved(path)
        let folder = path.folder
        state.withLock { state in
            if state.entries[database]?.path == path {
                // It rests again once it was looked at.
                state.entries[database]?.isResting = false
                return
            }
            state.take(database)
            // Two names of one file: the other one is told.
            guard state.databases[path] == nil else { return }
            (state.entries[database], state.databases[path]) = (Entry(path: path), database)
            state.folders[folder, default: 0] += 1
        }
        // In this order: a folder that is wanted is not let go of.
        guard let watch, watch.isWatched(folder) || watch.add(folder) else {
            disarm(database)
            return path
        }
        return path
    }

    /// It was looked at, after `arm`, and is unchanged.
    func rest(_ database: DatabaseID) { state.withLock { $0.entries[database]?.isResting = true } }

    /// True if, so far as anybody told, the database is still as its newest snapshot.
    func isResting(_ database: DatabaseID) -> Bool { state.withLock { $0.entries[database]?.isResting ?? false } }

    func disarm(_ database: DatabaseID) { state.withLock { $0.take(database) } }

    /// Folders that must be watched.
    var folders: [String] { state.withLock { Array($0.folders.keys) } }

    /// Databases that somebody opened or wrote to, or may have; they are not watched any more.
    func takeWoken(by changes: FolderChanges) -> [DatabaseID] {
        state.withLock { state in
            var woken: Set<DatabaseID> = []
            if changes.isIncomplete { woken.formUnion(state.entries.keys) }
            for path in changes.written.union(changes.appeared) {
                if let database = state.databases[path.changedDatabase] { woken.insert(database) }
            }
            if changes.lost.contains(where: { state.folders[$0] != nil }) {
                woken.formUnion(state.databases.lazy.filter { changes.lost.contains($0.key.folder) }.map(\.value))
            }
            for database in woken { state.take(database) }
            return Array(woken)
        }
    }

    private static func resolved(_ path: String) -> FilePath {
        // Whoever looks at the file says what is wrong with it.
        guard let resolved = unsafe realpath(path, nil) else { return FilePath(path) }
        defer { unsafe free(resolved) }
        let text = unsafe String(cString: resolved)
        // The text that is there already takes no memory.
        return FilePath(text == path ? path : text)
    }
}
