/// What was around a database before we came, and so what we may tidy up when we leave.
struct Presence {
    let wasAttachedElsewhere: Bool
    let wal: FileState?

    init(wasAttachedElsewhere: Bool, wal: FileState?) {
        (self.wasAttachedElsewhere, self.wal) = (wasAttachedElsewhere, wal)
    }

    /// Call it before this process opens the database.
    init(before files: SourceFiles) {
        self.init(wasAttachedElsewhere: files.isAttachedElsewhere(), wal: FileState(path: files.walPath))
    }

    /// Does what SQLite's last connection does when it closes: checkpoint, and remove `-wal`.
    ///
    /// While we held SHARED the application's own last close could not; a `-wal` that outlives it would be
    /// replayed over a file that somebody copies into its place.
    func leaveAsLast(_ files: SourceFiles) {
        guard isOursToClose(files), !files.isAttachedElsewhere() else { return }
        // If this fails, -wal stays as after a crash: nothing is lost and the next opener recovers it.
        try? closeAsLast(files) {}
    }

    /// False for a `-wal` that lay there before us, untouched since: it belongs to a crashed application, and every
    /// byte of it stays.
    func isOursToClose(_ files: SourceFiles) -> Bool {
        guard let left = FileState(path: files.walPath) else { return false }
        // Not the change time: SQLite running as root sets the owner of -wal at every open (os_unix.c, unixOpen).
        let isUntouched =
            left.identity == wal?.identity && left.sizeBytes == wal?.sizeBytes
            && left.modifiedNanoseconds == wal?.modifiedNanoseconds
        return wasAttachedElsewhere || !isUntouched
    }

    /// With the rights of the file's owner: SQLite, which opens the file for writing, rolls back a journal that lies there
    /// and removes a file that the journal names (pager.c, pager_delsuper). The owner may have made one up.
    ///
    /// - Parameter beforeClosing: lets go of locks that kept the database from being closed until now.
    func closeAsLast(_ files: SourceFiles, beforeClosing: () -> Void) throws(SQLiteError) {
        guard !FileState.isThere(files.journalPath), let owner = FileOwner(of: files.path) else {
            throw FileOwner.refusal(files.path)
        }
        try owner.act(files.path) { () throws(SQLiteError) in
            let last = try SQLiteConnection(path: files.path, access: .lastToLeave)
            try last.executeDespiteSchema("SELECT 1 FROM sqlite_schema LIMIT 1")
            beforeClosing()
            _ = consume last
        }
    }
}
