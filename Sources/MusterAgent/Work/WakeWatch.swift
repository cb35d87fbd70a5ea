import Glibc
import MusterModel
import Synchronization

/// Tells at once when a database that nobody follows now is opened or written to, without looking at it.
///
/// By inotify(7): on the folder, for a `-wal` that appears; on a `-wal` that is there, for its first write. What
/// it misses (a full queue, no watches left, a network file system) the schedule finds at the next snapshot's time:
/// it then compares everything, so nothing depends on it but speed.
final class WakeWatch: Sendable {
    private struct State {
        /// By the path of the `-wal`.
        var databases: [String: DatabaseID] = [:]
        var paths: [DatabaseID: String] = [:]
        var folders: [String: (watch: Int32, count: Int)] = [:]
        var folderOf: [Int32: String] = [:]
        var fileOf: [Int32: String] = [:]
        var fileWatches: [String: Int32] = [:]
    }

    private let descriptor: Int32
    private let state = Mutex(State())

    /// - Returns: nil where the system has no inotify left to give.
    init?() {
        descriptor = inotify_init1(Int32(IN_CLOEXEC))
        guard descriptor >= 0 else { return nil }
    }

    deinit { close(descriptor) }

    /// Watches a database until it was woken or is forgotten.
    func watch(_ database: DatabaseID, path: String) {
        let wal = path + "-wal"
        let folder = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
        state.withLock { state in
            guard state.paths[database] == nil else { return }
            (state.databases[wal], state.paths[database]) = (database, path)
            if let known = state.folders[folder] {
                state.folders[folder] = (known.watch, known.count + 1)
            } else {
                let watch = unsafe inotify_add_watch(
                    descriptor, folder, UInt32(IN_CREATE | IN_MOVED_TO | IN_ONLYDIR))
                if watch >= 0 { (state.folders[folder], state.folderOf[watch]) = ((watch, 1), folder) }
            }
            let watch = unsafe inotify_add_watch(descriptor, wal, UInt32(IN_MODIFY) | UInt32(IN_ONESHOT))
            // Nobody has it open: the folder tells when somebody does.
            if watch >= 0 { (state.fileWatches[wal], state.fileOf[watch]) = (watch, wal) }
        }
    }

    func forget(_ database: DatabaseID) {
        state.withLock { state in
            guard let path = state.paths.removeValue(forKey: database) else { return }
            let wal = path + "-wal"
            state.databases[wal] = nil
            if let watch = state.fileWatches.removeValue(forKey: wal) {
                state.fileOf[watch] = nil
                // It may have fired, and gone with that.
                _ = inotify_rm_watch(descriptor, watch)
            }
            let folder = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
            guard let known = state.folders[folder] else { return }
            if known.count > 1 {
                state.folders[folder] = (known.watch, known.count - 1)
            } else {
                (state.folders[folder], state.folderOf[known.watch]) = (nil, nil)
                _ = inotify_rm_watch(descriptor, known.watch)
            }
        }
    }

    /// Blocks until something happens or `milliseconds` are over.
    ///
    /// - Returns: the databases that somebody opened or wrote to.
    func wait(milliseconds: Int32) -> [DatabaseID] {
        var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard unsafe Glibc.poll(&poll, 1, milliseconds) == 1 else { return [] }
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else { return [] }
        return state.withLock { state in
            var woken: Set<DatabaseID> = []
            var offset = 0
            // struct inotify_event: int wd, u32 mask, u32 cookie, u32 len, name ended by zeros.
            while offset + 16 <= count {
                let watch = Int32(bitPattern: Self.word(buffer, offset))
                let length = Int(Self.word(buffer, offset + 12))
                let name = buffer[offset + 16..<min(offset + 16 + length, count)].prefix { $0 != 0 }
                offset += 16 + length
                if let wal = state.fileOf[watch] {
                    if let database = state.databases[wal] { woken.insert(database) }
                } else if let folder = state.folderOf[watch] {
                    let path = folder + "/" + String(decoding: name, as: UTF8.self)
                    if let database = state.databases[path] { woken.insert(database) }
                }
            }
            return Array(woken)
        }
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
    }
}
