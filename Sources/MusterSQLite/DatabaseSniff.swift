import Glibc

/// What a file looks like to whoever searches folders for databases.
package enum DatabaseSniff: Sendable {
    /// It begins as every SQLite database does, or is one that this process works on.
    case database
    /// It is too short to be one yet.
    case empty
    /// Another file, a link, a folder, or nothing that could be read.
    case other

    /// Looks at the first bytes of a file; symbolic links are not followed.
    ///
    /// Call it only for files that no connection of this process has open but by a capture.
    package init(path: String) {
        var status = stat()
        guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            self = .other
            return
        }
        // The smallest page has 512 bytes, and every database has a first page (sqlite.org/fileformat2.html, 1.2).
        guard status.st_size >= 512 else {
            self = .empty
            return
        }
        let identity = FileState.Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        do throws(CaptureError) {
            let lease = try CaptureLease(identity, path: path)
            self = Self.magic(path, identity)
            _ = consume lease
        } catch {
            // Somebody is reading it under another name: it is a database.
            self = .database
        }
    }

    private static func magic(_ path: String, _ identity: FileState.Identity) -> DatabaseSniff {
        guard let file = OwnDescriptor(reading: path), FileState(descriptor: file.number)?.identity == identity,
            let head = file.bytes(at: 0, count: DatabaseHeader.byteCount), DatabaseHeader(head) != nil
        else { return .other }
        return .database
    }
}
