import Glibc

/// A system call that failed.
struct SystemFailure: Error {
    /// What was tried, to follow "failed to".
    let operation: String
    let code: Int32

    init(_ operation: String, code: Int32 = errno) { (self.operation, self.code) = (operation, code) }
}

/// One open file or directory, closed exactly once. Its calls block.
struct Descriptor: ~Copyable, Sendable {
    private let number: Int32

    /// Opens the folder at `path`.
    init(folder path: String) throws(SystemFailure) {
        number = try Self.opened(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, "open folder")
    }

    /// Opens `name` in `folder`. The last part of the name is never followed if it is a link.
    init(_ name: String, in folder: borrowing Descriptor, flags: Int32) throws(SystemFailure) {
        // O_NONBLOCK: opening a pipe that someone put there must not wait for its other end.
        number = try Self.opened(folder.number, name, flags | O_NOFOLLOW | O_NONBLOCK, "open")
    }

    deinit {
        // Whoever cares for the result calls `close()`; here the file was only read, or is given up.
        _ = Glibc.close(number)
    }

    consuming func close() throws(SystemFailure) {
        let number = self.number
        discard self
        // Never again after EINTR: Linux has let go of the number by then (close(2)).
        guard Glibc.close(number) == 0 else { throw SystemFailure("close") }
    }

    /// - Returns: the number, which the caller must close or give away.
    consuming func release() -> Int32 {
        let number = self.number
        discard self
        return number
    }

    private static func opened(
        _ folder: Int32, _ name: String, _ flags: Int32, _ operation: String
    ) throws(SystemFailure) -> Int32 {
        let mode: mode_t = 0o600
        return Int32(
            try retrying(operation) { unsafe Int(openat(folder, name, flags | O_CLOEXEC, mode)) })
    }

    /// Calls again while a signal interrupts, but not for ever.
    private static func retrying(_ operation: String, _ call: () -> Int) throws(SystemFailure) -> Int {
        for _ in 0..<1000 {
            let result = call()
            if result >= 0 { return result }
            guard errno == EINTR else { break }
        }
        throw SystemFailure(operation)
    }
}

// MARK: Bytes

extension Descriptor {
    /// What goes to the kernel in one call. It copies a call's bytes at one stretch where the file's cache is made of
    /// large folios, and a kernel without preemption lets nobody else run meanwhile: 16 MiB cost a database's writer
    /// on the same core 5 ms.
    private static let pieceBytes = 128 << 10

    func write(_ bytes: ArraySlice<UInt8>, at offset: UInt64) throws(SystemFailure) {
        var written = 0
        while written < bytes.count {
            let count = try Self.retrying("write") {
                unsafe bytes.withUnsafeBytes { buffer in
                    let piece = unsafe UnsafeRawBufferPointer(rebasing: buffer[written...].prefix(Self.pieceBytes))
                    return unsafe pwrite(number, piece.baseAddress, piece.count, off_t(offset) + off_t(written))
                }
            }
            guard count > 0 else { throw SystemFailure("write", code: EIO) }
            written += count
        }
    }

    /// - Returns: fewer bytes than asked for only if the file ends before.
    func read(_ range: Range<UInt64>) throws(SystemFailure) -> [UInt8] {
        var failure: SystemFailure?
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
            do throws(SystemFailure) {
                while count < range.count {
                    let rest = unsafe UnsafeMutableRawBufferPointer(
                        rebasing: UnsafeMutableRawBufferPointer(buffer)[count...])
                    let got = try Self.retrying("read") {
                        unsafe pread(number, rest.baseAddress, rest.count, off_t(range.lowerBound) + off_t(count))
                    }
                    guard got > 0 else { break }
                    count += got
                }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Makes the file's bytes, or the folder's entries, durable.
    ///
    /// Must not be called again after it failed: the kernel reports a lost page
    /// once and then calls it clean (fsync(2), "Errors").
    func sync() throws(SystemFailure) {
        guard fsync(number) == 0 else { throw SystemFailure("make durable") }
    }

    /// Asks the kernel to forget what it holds of this range, so that a read goes to the medium.
    func dropCache(_ range: Range<UInt64>) throws(SystemFailure) {
        let code = posix_fadvise(number, off_t(range.lowerBound), off_t(range.count), POSIX_FADV_DONTNEED)
        guard code == 0 else { throw SystemFailure("read without the cache", code: code) }
    }

    /// - Returns: false if another process or descriptor holds it. The lock ends with the descriptor.
    func tryLock() throws(SystemFailure) -> Bool {
        do {
            _ = try Self.retrying("lock") { Int(flock(number, LOCK_EX | LOCK_NB)) }
            return true
        } catch {
            guard error.code == EWOULDBLOCK else { throw error }
            return false
        }
    }
}

// MARK: Folders

extension Descriptor {
    struct Status {
        let isFile: Bool
        let isFolder: Bool
        let byteCount: UInt64
        let linkCount: Int

        init(_ status: stat) {
            isFile = status.st_mode & S_IFMT == S_IFREG
            isFolder = status.st_mode & S_IFMT == S_IFDIR
            byteCount = UInt64(max(0, status.st_size))
            linkCount = Int(status.st_nlink)
        }
    }

    func status() throws(SystemFailure) -> Status {
        var status = stat()
        guard unsafe fstat(number, &status) == 0 else { throw SystemFailure("look at") }
        return Status(status)
    }

    /// - Returns: nil if there is no such entry; a link is not followed.
    func status(of name: String) throws(SystemFailure) -> Status? {
        var status = stat()
        guard unsafe fstatat(number, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw SystemFailure("look at")
        }
        return Status(status)
    }

    /// - Returns: false if it was there already.
    func makeFolder(_ name: String) throws(SystemFailure) -> Bool {
        if unsafe mkdirat(number, name, 0o700) == 0 { return true }
        guard errno == EEXIST else { throw SystemFailure("make folder") }
        return false
    }

    /// Gives the file `name` under this folder a second name; never replaces one.
    func link(_ name: String, to target: String, in folder: borrowing Descriptor) throws(SystemFailure) {
        guard unsafe linkat(number, name, folder.number, target, 0) == 0 else { throw SystemFailure("name") }
    }

    func remove(_ name: String) throws(SystemFailure) {
        guard unsafe unlinkat(number, name, 0) == 0 else { throw SystemFailure("delete") }
    }

    /// Removes an empty folder.
    func removeFolder(_ name: String) throws(SystemFailure) {
        guard unsafe unlinkat(number, name, AT_REMOVEDIR) == 0 else { throw SystemFailure("delete folder") }
    }

    func freeBytes() throws(SystemFailure) -> UInt64 {
        var status = statvfs()
        guard unsafe fstatvfs(number, &status) == 0 else { throw SystemFailure("look at") }
        return UInt64(status.f_bavail) * UInt64(status.f_frsize)
    }
}
