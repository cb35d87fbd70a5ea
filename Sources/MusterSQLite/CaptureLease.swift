import Glibc
import Synchronization

/// The right to work on one database file in this process.
///
/// Two users of one file in one process would drop each other's POSIX locks
/// when the first of them closes a descriptor (fcntl(2), sqlite.org/howtocorrupt.html 2.2).
struct CaptureLease: ~Copyable, Sendable {
    /// Who is leased, and which descriptors wait for the lease to end before they are closed.
    private static let held = Mutex<[FileState.Identity: [Int32]]>([:])

    private let identity: FileState.Identity

    init(_ identity: FileState.Identity, path: String) throws(CaptureError) {
        let isFree = Self.held.withLock { held in
            guard held[identity] == nil else { return false }
            held[identity] = []
            return true
        }
        guard isFree else { throw .alreadyBeingCaptured(path: path) }
        self.identity = identity
    }

    deinit {
        let identity = identity
        // Inside the lock: the next lease's connection must not open before they are closed.
        Self.held.withLock { held in held.removeValue(forKey: identity)?.forEach { close($0) } }
    }

    /// Closes descriptors of a database's files, or of the files beside it, as soon as no lease on it is held.
    static func closeWhenFree(_ descriptors: [Int32], of identity: FileState.Identity) {
        held.withLock { held in
            if held[identity] != nil {
                held[identity]?.append(contentsOf: descriptors)
            } else {
                descriptors.forEach { close($0) }
            }
        }
    }
}
