import Glibc

/// What `stat` says about one file: who it is and when it last changed.
package struct FileState: Hashable, Sendable {
    package struct Identity: Hashable, Sendable {
        package let device: UInt64
        package let inode: UInt64
    }
    package let identity: Identity
    package let sizeBytes: UInt64
    package let modifiedNanoseconds: Int64
    package let changedNanoseconds: Int64
    let owner: UInt32
    let group: UInt32
    let kind: UInt32
    let permissions: UInt32
    /// Hard links.
    let names: UInt64

    /// - Returns: nil if there is no such file, or if it cannot be asked for; `lastErrno` then says why.
    init?(path: String) {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    /// The same of the name itself, which may be a link.
    init?(unfollowed path: String) {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    init?(descriptor: Int32) {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    private init(_ status: stat) {
        identity = Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        sizeBytes = UInt64(max(0, status.st_size))
        modifiedNanoseconds = Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
        changedNanoseconds = Int64(status.st_ctim.tv_sec) * 1_000_000_000 + Int64(status.st_ctim.tv_nsec)
        (owner, group) = (status.st_uid, status.st_gid)
        (kind, permissions) = (status.st_mode & S_IFMT, status.st_mode & 0o7777)
        names = UInt64(status.st_nlink)
    }

    static func exists(_ path: String) -> Bool { FileState(path: path) != nil }
    /// Also true for a link that leads nowhere.
    static func isThere(_ path: String) -> Bool { FileState(unfollowed: path) != nil }
}

/// A descriptor of our own, closed exactly once.
///
/// Closing ANY descriptor of a file drops every POSIX lock that this process
/// holds on it (fcntl(2)), SQLite's too. So it lives only while a
/// `CaptureLease` on the database is held and no connection of ours is open.
struct OwnDescriptor: ~Copyable {
    let number: Int32

    /// - Returns: nil if it cannot be opened; `errno` says why.
    init?(reading path: String, followingLinks: Bool = true) {
        // Without O_NONBLOCK, opening a FIFO would wait for a writer.
        let opened = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (followingLinks ? 0 : O_NOFOLLOW))
        guard opened >= 0 else { return nil }
        number = opened
    }

    /// - Returns: nil if it is a link, or may not be opened for writing; `errno` says why.
    init?(updating path: String) {
        let opened = unsafe open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW)
        guard opened >= 0 else { return nil }
        number = opened
    }

    /// Takes over a descriptor that somebody else opened.
    init(adopting number: Int32) { self.number = number }

    deinit { close(number) }

    /// Hands the descriptor over to somebody else, who closes it.
    consuming func handOver() -> Int32 {
        let number = number
        discard self
        return number
    }

    /// Reads until `buffer` is full or the file ends.
    ///
    /// - Returns: the bytes read, or nil on an I/O error.
    borrowing func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        unsafe Self.read(number, at: offset, into: buffer)
    }

    static func read(_ number: Int32, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        var filled = 0
        while filled < buffer.count {
            let count = unsafe pread(
                number, buffer.baseAddress?.advanced(by: filled), buffer.count - filled, off_t(offset) + off_t(filled))
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { return nil }
            if count == 0 { break }
            filled += count
        }
        return filled
    }

    borrowing func bytes(at offset: UInt64, count: Int) -> [UInt8]? {
        var filled: Int?
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialised in
            let target = unsafe UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count)
            filled = unsafe read(at: offset, into: target)
            initialised = filled ?? 0
        }
        return filled == nil ? nil : bytes
    }
}

/// The reason why the last call failed; read it at once.
func lastErrno() -> Int32 { errno }
