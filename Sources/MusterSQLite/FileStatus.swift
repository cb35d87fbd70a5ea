import Glibc

/// What `stat` says about any file, link or folder, for whoever looks for databases or looks after them.
package struct FileStatus: Equatable, Sendable {
    package enum Kind: Sendable { case file, folder, link, other }

    package let kind: Kind
    package let device: UInt64
    package let inode: UInt64
    package let sizeBytes: Int64
    package let modifiedNanoseconds: Int64
    package let changedNanoseconds: Int64

    /// Why there is none.
    package struct Missing: Error {
        package let code: Int32
        package var isGone: Bool { code == ENOENT || code == ENOTDIR }
    }

    /// - Parameter followsLink: false to look at a symbolic link itself.
    package init(path: String, followsLink: Bool) throws(Missing) {
        var status = stat()
        let code = unsafe followsLink ? stat(path, &status) : lstat(path, &status)
        guard code == 0 else { throw Missing(code: errno) }
        self.init(status)
    }

    package init(descriptor: Int32) throws(Missing) {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw Missing(code: errno) }
        self.init(status)
    }

    private init(_ status: stat) {
        kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .folder
            case S_IFLNK: .link
            default: .other
            }
        (device, inode) = (UInt64(status.st_dev), UInt64(status.st_ino))
        sizeBytes = Int64(status.st_size)
        modifiedNanoseconds = Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
        changedNanoseconds = Int64(status.st_ctim.tv_sec) * 1_000_000_000 + Int64(status.st_ctim.tv_nsec)
    }
}
