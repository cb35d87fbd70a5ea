import CSQLite
import MusterModel

/// What SQLite answered about one file.
package struct SQLiteError: ActionableError, Equatable {
    /// SQLite's extended result code (sqlite.org/rescode.html).
    package let code: Int32
    package let path: String
    package let reason: String

    package init(code: Int32, path: String, reason: String) {
        (self.code, self.path, self.reason) = (code, path, reason)
    }

    var primaryCode: Int32 { code & 0xff }

    /// True if the call was stopped by the caller's own progress closure.
    package var isInterrupted: Bool { primaryCode == SQLITE_INTERRUPT }

    package var summary: String { "database '\(path)': \(reason) (SQLite code \(code))" }
    package var hint: String {
        switch primaryCode {
        case SQLITE_BUSY, SQLITE_LOCKED: "Another connection holds a lock; try again when it has finished."
        case SQLITE_CORRUPT, SQLITE_NOTADB: "Run 'PRAGMA integrity_check' on the file and restore it if it is damaged."
        case SQLITE_FULL: "Free space on the file system of '\(path)'."
        case SQLITE_INTERRUPT: "The work was stopped on request; start it again to finish it."
        default: "Check that '\(path)' can be read and that its disk is healthy."
        }
    }
    package var isTransient: Bool { [SQLITE_BUSY, SQLITE_LOCKED, SQLITE_INTERRUPT].contains(primaryCode) }
}

extension SQLiteError {
    var isDamage: Bool { [SQLITE_CORRUPT, SQLITE_NOTADB].contains(primaryCode) }
    var isPlainError: Bool { primaryCode == SQLITE_ERROR }
    /// A text or a blob is longer than the connection's limit.
    var isTooBig: Bool { primaryCode == SQLITE_TOOBIG }
}
