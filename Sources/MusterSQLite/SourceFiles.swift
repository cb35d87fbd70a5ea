import CSQLite
import Glibc

/// A database file by its real path, with the two files SQLite keeps beside it.
struct SourceFiles: Sendable {
    let path: String
    var walPath: String { path + "-wal" }
    var indexPath: String { path + "-shm" }
    /// Beside a database in WAL mode there is none but by a crash or a trick.
    var journalPath: String { path + "-journal" }

    /// Follows symbolic links as SQLite does, so that `-wal` and `-shm` are looked for where it puts them.
    init(resolving path: String) throws(CaptureError) {
        guard let resolved = unsafe realpath(path, nil) else {
            throw Self.refusal(path, errno)
        }
        defer { unsafe free(resolved) }
        self.path = unsafe String(cString: resolved)
    }

    static func refusal(_ path: String, _ code: Int32) -> CaptureError {
        switch code {
        case ENOENT, ENOTDIR: .missing(path: path)
        case EACCES, EPERM: .permissionDenied(path: path)
        default: .inputOutput(path: path, reason: unsafe String(cString: strerror(code)))
        }
    }

    func state() throws(CaptureError) -> FileState {
        guard let state = FileState(path: path) else { throw Self.refusal(path, errno) }
        switch state.kind {
        case S_IFREG: return state
        case S_IFDIR: throw .directory(path: path)
        default: throw .notARegularFile(path: path)
        }
    }

    /// True if another process has the database open in WAL mode.
    ///
    /// Call it only while this process has no connection to it: it opens and closes `-shm`.
    func isAttachedElsewhere() -> Bool {
        guard let index = OwnDescriptor(reading: indexPath) else { return false }
        return csqlite_lock_is_held(index.number, Int64(CSQLITE_SHM_ATTACHED), 1, 0) == 1
    }

    /// A `-shm` made by a stranger would lock the application out of its own database.
    func refuseForeignSharedMemory() throws(CaptureError) {
        let user = geteuid()
        guard !FileState.exists(indexPath), user != 0, try state().owner != user else { return }
        guard let file = OwnDescriptor(reading: path) else { throw Self.refusal(path, errno) }
        let isWAL = DatabaseHeader(file.bytes(at: 0, count: DatabaseHeader.byteCount) ?? [])?.isWAL == true
        if isWAL || FileState.exists(walPath) { throw .sharedMemoryUnavailable(path: path) }
    }
}
