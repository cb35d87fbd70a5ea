import CSQLite
import Glibc

/// Whose rights are used where SQLite opens a file of an application for writing.
///
/// SQLite then follows what lies beside the file: it rolls journals back, copies a `-wal` into the file, removes both, and
/// what a journal names. Who may write to the folder decides what lies there. So a process that is root does it as the
/// owner of the file, who gains nothing by it.
struct FileOwner {
    /// nil: this process has no rights that the owner has not.
    private let rights: (user: UInt32, group: UInt32)?

    /// - Parameter path: without symbolic links.
    /// - Returns: nil where the file is root's, but others decide what lies beside it.
    init?(of path: String) {
        guard geteuid() == 0 else {
            rights = nil
            return
        }
        guard let file = FileState(unfollowed: path), file.kind == S_IFREG else { return nil }
        if file.owner == 0 {
            guard Self.isRootsAlone(folderOf: path) else { return nil }
            rights = nil
        } else {
            rights = (file.owner, csqlite_group_of(file.owner))
        }
    }

    static func refusal(_ path: String) -> SQLiteError {
        SQLiteError(code: SQLITE_PERM, path: path, reason: "it cannot be written to with its owner's rights alone")
    }

    /// Runs `body`, on another thread where that needs other rights, and waits for it.
    ///
    /// - Parameter path: for the error.
    func act(_ path: String, _ body: () throws(SQLiteError) -> Void) throws(SQLiteError) {
        guard try perform(body) else { throw Self.refusal(path) }
    }

    /// - Returns: false where the rights could not be had: then nothing was done.
    func perform<Failure: Error>(_ body: () throws(Failure) -> Void) throws(Failure) -> Bool {
        guard let rights else {
            try body()
            return true
        }
        var outcome: Result<Void, Failure>?
        func note() {
            do throws(Failure) {
                try body()
                outcome = .success(())
            } catch { outcome = .failure(error) }
        }
        withoutActuallyEscaping(note) { note in
            let errand = Errand(note)
            // A code says that nothing was done, as the missing outcome does.
            _ = unsafe csqlite_act_as(
                rights.user, rights.group,
                { context in
                    guard let context = unsafe context else { return }
                    unsafe Unmanaged<Errand>.fromOpaque(context).takeUnretainedValue().run()
                },
                Unmanaged.passUnretained(errand).toOpaque())
            withExtendedLifetime(errand) {}
        }
        guard let outcome else { return false }
        try outcome.get()
        return true
    }

    private final class Errand {
        let run: () -> Void
        init(_ run: @escaping () -> Void) { self.run = run }
    }

    /// True if nobody but root can put anything into the folder, or another folder into its place.
    private static func isRootsAlone(folderOf path: String) -> Bool {
        var rest = path[...]
        var isInnermost = true
        while let slash = rest.lastIndex(of: "/") {
            rest = rest[..<slash]
            guard let folder = FileState(unfollowed: rest.isEmpty ? "/" : String(rest)), folder.kind == S_IFDIR,
                folder.owner == 0
            else { return false }
            let isGroups = folder.permissions & 0o020 != 0 && folder.group != 0
            // In a sticky folder nobody moves what is another's away, but everybody may make a journal.
            let isSticky = folder.permissions & UInt32(S_ISVTX) != 0 && !isInnermost
            guard isSticky || !isGroups && folder.permissions & 0o002 == 0 else { return false }
            isInnermost = false
        }
        return true
    }
}
