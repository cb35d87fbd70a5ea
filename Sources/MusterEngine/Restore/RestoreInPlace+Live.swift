import MusterSQLite

/// A database that others have open: its content is replaced, not its file.
extension RestoreInPlace {
    /// Gives the target the content of the built file, under SQLite's own locks.
    ///
    /// - Returns: where the content of before is now.
    package func replaceContent(with built: String) throws -> String {
        let kept = Self.freeName(for: target)
        try LiveReplacement(of: target, with: built).run(keepingOldAs: kept)
        // It is the owner's already, or readable to nobody but us. All is done: that a group could not be given to it is no
        // reason to say that nothing was.
        try? takeOver(kept)
        return kept
    }
}
