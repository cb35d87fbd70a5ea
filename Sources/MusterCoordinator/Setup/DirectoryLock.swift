import Glibc

/// Keeps a second process out of the directory for as long as it lives.
///
/// flock(2) goes with the open file, so the kernel drops it however the process ends.
final class DirectoryLock: Sendable {
    private let file: Int32

    init(_ directory: CoordinatorDirectory) throws(CoordinatorSetupError) {
        let path = directory.lock
        let file = try PrivateFile.succeed(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600), path, "open")
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            close(file)
            throw code == EWOULDBLOCK
                ? .alreadyRunning(path: directory.path) : .fileFailed(path: path, reason: "lock: error \(code)")
        }
        // Only now: once every property is set, a throwing init runs deinit, and the number would be closed twice,
        // the second time as somebody else's.
        self.file = file
    }

    deinit { close(file) }
}
