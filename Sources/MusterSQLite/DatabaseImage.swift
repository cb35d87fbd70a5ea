/// A finished image, opened for reading: a restored file, or anything else that serves pages.
///
/// It never creates a file beside the image and never reads one, so a stale
/// `-wal` cannot get in. Do not open a file that anybody may still write.
package struct DatabaseImage: ~Copyable {
    package let connection: SQLiteConnection
    private let name: ImageFileSystem.Name

    package init(_ source: any PageSource) throws(SQLiteError) {
        let name = try ImageFileSystem.name(for: source)
        connection = try SQLiteConnection(name: name.text, fileSystem: ImageFileSystem.name)
        self.name = name
    }

    /// Opens a file that belongs to Muster.
    package init(path: String) throws(CaptureError) {
        guard let file = OwnDescriptor(reading: path) else { throw SourceFiles.refusal(path, lastErrno()) }
        let source = DescriptorSource(file, path: path)
        self = try orFailed { () throws(SQLiteError) in try DatabaseImage(source) }
    }

    /// Opens a file that belongs to Muster by a descriptor, which is closed with it.
    package init(descriptor: Int32) throws(CaptureError) {
        let source = DescriptorSource(OwnDescriptor(adopting: descriptor), path: "descriptor \(descriptor)")
        self = try orFailed { () throws(SQLiteError) in try DatabaseImage(source) }
    }

    private static let checkCacheKibibytes = 32 << 10

    /// Runs `PRAGMA integrity_check` with every check on; takes seconds for each gigabyte.
    ///
    /// - Parameters:
    ///   - maximumProblems: after how many problems to stop looking.
    ///   - shouldStop: asked every few milliseconds; true ends the check with an error whose `isInterrupted` is true.
    /// - Returns: the problems found; empty means the image is sound.
    package func integrityCheck(
        maximumProblems: Int = 100, shouldStop: () -> Bool = { false }
    ) throws(SQLiteError) -> [String] {
        do {
            // The check walks every index in its order and the pages behind it in theirs: with SQLite's default of
            // 2 MiB the same pages of a large database are read many times over.
            try connection.execute("PRAGMA cache_size = -\(Self.checkCacheKibibytes)")
            let rows = try connection.interruptible(every: 10_000, when: shouldStop) { () throws(SQLiteError) in
                try connection.rows("PRAGMA integrity_check(\(maximumProblems))")
            }
            let lines = rows.compactMap { $0.first?.text }
            return lines == ["ok"] ? [] : lines
        } catch {
            // A schema or header too broken to begin with is a finding, not a failure of the check.
            if error.isDamage { return [error.reason] }
            throw error
        }
    }
}
