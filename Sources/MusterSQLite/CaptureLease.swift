import Synchronization

/// The right to work on one database file in this process.
///
/// Two users of one file in one process would drop each other's POSIX locks
/// when the first of them closes a descriptor (fcntl(2), sqlite.org/howtocorrupt.html 2.2).
struct CaptureLease: ~Copyable, Sendable {
    private static let held = Mutex<Set<FileState.Identity>>([])

    private let identity: FileState.Identity

    init(_ identity: FileState.Identity, path: String) throws(CaptureError) {
        guard Self.held.withLock({ $0.insert(identity).inserted }) else { throw .alreadyBeingCaptured(path: path) }
        self.identity = identity
    }

    deinit {
        let identity = identity
        Self.held.withLock { _ = $0.remove(identity) }
    }
}
