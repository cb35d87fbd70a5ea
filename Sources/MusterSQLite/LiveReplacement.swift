import CSQLite
import Glibc
import MusterModel

/// Puts the content of an image into a database that others have open.
///
/// SQLite's backup writes it as one transaction under SQLite's own locks, so that every reader sees either the old or
/// the new database. What was there is copied first. A backup cannot begin inside a transaction, so nothing keeps
/// writers out between the copy and the new content: once the lock is held, it is looked whether somebody committed
/// meanwhile, and then all of it begins anew. All that is written is written with the rights of the target's owner.
package struct LiveReplacement: Sendable {
    /// A busy application gets in between now and then, and not time after time.
    private static let mostRounds = 8
    // Database header, fileformat2.html section 1.3.
    private static let readVersion = 19..<20
    private static let changeCounter = 24..<28

    private let target: String
    private let image: String
    private let lockMilliseconds: Int32
    /// For tests: called between the copy of the old content and the lock for the new one.
    var beforeLock: @Sendable () -> Void = {}

    /// - Parameters:
    ///   - image: a checked file that nobody else has open.
    ///   - lockMilliseconds: how long to wait for the locks of others.
    package init(of target: String, with image: String, lockMilliseconds: Int32 = 30_000) {
        (self.target, self.image, self.lockMilliseconds) = (target, image, lockMilliseconds)
    }

    /// Blocks until it is done.
    ///
    /// - Parameter kept: where the content of before goes; a file there is replaced.
    /// - Throws: `SQLiteError`, `TargetTooBusy`; the target is as it was then.
    package func run(keepingOldAs kept: String) throws {
        guard let owner = FileOwner(of: target) else { throw FileOwner.refusal(target) }
        guard let file = OwnDescriptor(reading: target, followingLinks: false) else {
            throw SourceFiles.refusal(target, lastErrno())
        }
        // It is not the owner's yet.
        let source = try DatabaseImage(path: image)
        // The descriptor is closed after the connections: closing any descriptor of a file gives up all the locks that
        // this process has on it (fcntl(2)).
        let isDone = try owner.perform { try run(keepingOldAs: kept, file, source) }
        guard isDone else { throw FileOwner.refusal(target) }
    }

    private func run(
        keepingOldAs kept: String, _ file: borrowing OwnDescriptor, _ source: borrowing DatabaseImage
    ) throws {
        let watcher = try SQLiteConnection(path: target, access: .readOnly, busyTimeoutMilliseconds: lockMilliseconds)
        let writer = try SQLiteConnection(path: target, access: .readWrite, busyTimeoutMilliseconds: lockMilliseconds)
        for _ in 1...Self.mostRounds {
            let before = try keep(kept, watcher, file)
            beforeLock()
            let isDone = try Self.copy(from: source.connection, into: writer) { () throws(SQLiteError) in
                try mark(watcher, file) == before
            }
            if isDone { return }
        }
        throw TargetTooBusy(path: target)
    }

    // MARK: - What was there

    /// Copies the target as one reader sees it.
    ///
    /// - Returns: what is another after any later commit.
    private func keep(
        _ kept: String, _ watcher: borrowing SQLiteConnection, _ file: borrowing OwnDescriptor
    ) throws(SQLiteError) -> Mark {
        unsafe unlink(kept)
        try makeEmpty(kept, like: file)
        let copy = try SQLiteConnection(path: kept, access: .readWrite)
        try watcher.executeDespiteSchema("BEGIN; SELECT count(*) FROM sqlite_schema")
        do {
            let mark = try mark(watcher, file)
            _ = try Self.copy(from: watcher, into: copy)
            try watcher.execute("COMMIT")
            return mark
        } catch {
            // The connection ends its transaction in any case.
            try? watcher.execute("ROLLBACK")
            throw error
        }
    }

    /// Nobody who may not read the target may read what is kept of it, from its first byte on.
    private func makeEmpty(_ kept: String, like file: borrowing OwnDescriptor) throws(SQLiteError) {
        let made = unsafe open(kept, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard made >= 0 else {
            throw SQLiteError(code: SQLITE_CANTOPEN, path: kept, reason: unsafe String(cString: strerror(lastErrno())))
        }
        let copy = OwnDescriptor(adopting: made)
        guard let old = FileState(descriptor: file.number) else { return }
        // Where the owner or the group cannot be taken over, it stays readable to its maker alone.
        guard fchown(copy.number, old.owner, old.group) == 0 else { return }
        fchmod(copy.number, old.permissions & 0o777)
    }

    /// In WAL mode SQLite counts the commits of others, in the other modes the file does.
    private struct Mark: Equatable {
        let version: Int64?
        let counter: [UInt8]
    }

    private func mark(
        _ watcher: borrowing SQLiteConnection, _ file: borrowing OwnDescriptor
    ) throws(SQLiteError) -> Mark {
        guard bytes(file, Self.readVersion) == [2] else {
            // While the writer's lock is held SQLite lets nobody ask.
            return Mark(version: nil, counter: bytes(file, Self.changeCounter))
        }
        return Mark(version: try watcher.integer("PRAGMA data_version"), counter: [])
    }

    private func bytes(_ file: borrowing OwnDescriptor, _ range: Range<Int>) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: range.count)
        let count = unsafe pread(file.number, &bytes, range.count, off_t(range.lowerBound))
        return count == range.count ? bytes : []
    }

    // MARK: - Copying

    /// - Parameter isWanted: asked once the target's lock is held.
    /// - Returns: false where it was not wanted any more: then nothing was written.
    private static func copy(
        from source: borrowing SQLiteConnection, into target: borrowing SQLiteConnection,
        isWanted: () throws(SQLiteError) -> Bool = { true }
    ) throws(SQLiteError) -> Bool {
        guard let backup = unsafe sqlite3_backup_init(target.pointer, "main", source.pointer, "main") else {
            throw target.lastError(unsafe sqlite3_errcode(target.pointer))
        }
        // A step of no pages takes the target's write lock and copies nothing (backup.c, sqlite3_backup_step).
        var code = unsafe sqlite3_backup_step(backup, 0)
        var goesOn = code == SQLITE_OK || code == SQLITE_DONE
        do {
            if goesOn {
                goesOn = try isWanted()
                if goesOn { code = unsafe sqlite3_backup_step(backup, -1) }
            }
        } catch {
            unsafe sqlite3_backup_finish(backup)
            throw error
        }
        // Finish forgets a busy or locked step, so the step's own code counts too.
        let finished = unsafe sqlite3_backup_finish(backup)
        if !goesOn, code == SQLITE_OK || code == SQLITE_DONE { return false }
        guard code == SQLITE_DONE, finished == SQLITE_OK else {
            throw target.lastError(finished == SQLITE_OK ? code : finished)
        }
        return true
    }
}

/// Somebody committed each time between the copy of the old content and the lock for the new one.
package struct TargetTooBusy: ActionableError {
    let path: String
    package var summary: String { "'\(path)' is written to so often that its content cannot be kept and replaced" }
    package var hint: String {
        "Let the application rest for a moment, and try again; or stop it and leave out --live."
    }
    package var isTransient: Bool { true }
}
