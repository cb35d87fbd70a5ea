import MusterModel

/// Why a database could not be captured.
package enum CaptureError: ActionableError, Equatable {
    case missing(path: String)
    case directory(path: String)
    case notARegularFile(path: String)
    case permissionDenied(path: String)
    /// The WAL needs a `-shm` file that does not exist and may not be made, or that cannot be initialised.
    case sharedMemoryUnavailable(path: String)
    case notADatabase(path: String)
    case encrypted(path: String)
    case locked(path: String, waited: Duration)
    case exclusivelyLocked(path: String)
    /// A crashed writer left a journal that only a read-write connection may roll back.
    case hotJournal(path: String)
    case inputOutput(path: String, reason: String)
    case unsupportedWAL(path: String, version: UInt32)
    case corrupt(path: String, reason: String)
    /// Frames that the wal-index names are not in the WAL as its checksums say.
    case brokenWAL(path: String, reason: String)
    case changedDuringCapture(path: String)
    case heldTooLong(path: String, limit: Duration)
    case walGrewTooMuch(path: String, limitBytes: UInt64)
    case alreadyBeingCaptured(path: String)
    case stopped(path: String)
    /// It keeps a rollback journal: there is no log of changes to follow.
    case notInWALMode(path: String)
    /// In WAL mode, but nobody has it open: it is read as a closed file and not followed.
    case notOpen(path: String)
    /// What a follower proves at each step did not hold; it has let go of the database.
    case followBroken(path: String, reason: String)
    case failed(SQLiteError)

    package var isTransient: Bool {
        switch self {
        case .locked, .changedDuringCapture, .alreadyBeingCaptured, .stopped, .brokenWAL, .heldTooLong,
            .walGrewTooMuch, .notOpen, .followBroken:
            true
        case .failed(let cause): cause.isTransient
        default: false
        }
    }
}

extension CaptureError {
    package var summary: String {
        switch self {
        case .missing(let path): "database '\(path)' does not exist"
        case .directory(let path): "'\(path)' is a directory, not a database file"
        case .notARegularFile(let path): "'\(path)' is not a regular file"
        case .permissionDenied(let path): "no permission to read database '\(path)'"
        case .sharedMemoryUnavailable(let path): "the shared memory file '\(path)-shm' cannot be made or set up"
        case .notADatabase(let path): "'\(path)' is not a SQLite database"
        case .encrypted(let path): "'\(path)' looks like an encrypted database"
        case .locked(let path, let waited): "database '\(path)' stayed locked for \(waited)"
        case .exclusivelyLocked(let path): "database '\(path)' is held in exclusive locking mode"
        case .hotJournal(let path): "database '\(path)' has a journal of an interrupted transaction"
        case .inputOutput(let path, let reason): "reading database '\(path)' failed: \(reason)"
        case .unsupportedWAL(let path, let version): "database '\(path)' uses an unknown WAL format (\(version))"
        case .corrupt(let path, let reason): "database '\(path)' is corrupt: \(reason)"
        case .brokenWAL(let path, let reason): "'\(path)-wal' does not match its index: \(reason)"
        case .changedDuringCapture(let path): "database '\(path)' was opened or replaced while it was read"
        case .heldTooLong(let path, let limit): "reading database '\(path)' took longer than \(limit)"
        case .walGrewTooMuch(let path, let limit): "'\(path)-wal' grew by more than \(limit) bytes while it was read"
        case .alreadyBeingCaptured(let path): "database '\(path)' is already being captured"
        case .stopped(let path): "capture of database '\(path)' was stopped"
        case .notInWALMode(let path): "database '\(path)' is not in WAL mode"
        case .notOpen(let path): "database '\(path)' is not open in any application"
        case .followBroken(let path, let reason): "database '\(path)' can no longer be followed: \(reason)"
        case .failed(let cause): cause.summary
        }
    }

    package var hint: String {
        switch self {
        case .missing(let path): "Check the path, or remove it with 'muster database remove \(path)'."
        case .directory: "Name the database file itself."
        case .notARegularFile: "Name a regular file; devices, pipes and sockets cannot be captured."
        case .permissionDenied(let path): "Run the agent as a user who may read '\(path)' and its directory."
        case .sharedMemoryUnavailable:
            "Start the application, or run the agent as root or as the file's owner on a writable file system."
        case .notADatabase: "Name a SQLite database, or remove this file from the configuration."
        case .encrypted: "Let the application write an unencrypted copy, and protect that copy instead."
        case .locked: "Shorten the application's write transactions, or switch it to WAL mode."
        case .exclusivelyLocked: "Run 'PRAGMA locking_mode=NORMAL' in the application and read once."
        case .hotJournal: "Start the application, or open the file once with the sqlite3 shell, so that it recovers."
        case .inputOutput: "Check the disk and the kernel log of this node."
        case .unsupportedWAL: "Use a released SQLite version in the application, without the wal2 branch."
        case .corrupt(let path, _): "Run 'PRAGMA integrity_check' on '\(path)' and restore the last good snapshot."
        case .brokenWAL: "It is tried again; if it repeats, check the disk and restart the application."
        case .changedDuringCapture: "Nothing to do; it is tried again."
        case .heldTooLong: "Raise the hold limit, or free the disk and the store it is pushed to."
        case .walGrewTooMuch: "Raise the WAL growth limit, or capture at a quieter time."
        case .alreadyBeingCaptured: "Wait for the capture under way to finish."
        case .stopped: "Start it again when the agent runs."
        case .notInWALMode: "Run 'PRAGMA journal_mode=WAL' in the application to have snapshots cost what changed."
        case .notOpen: "Nothing to do; it is followed again when an application opens it."
        case .followBroken: "Nothing to do; it is followed anew, and the next snapshot compares every page."
        case .failed(let cause): cause.hint
        }
    }
}
