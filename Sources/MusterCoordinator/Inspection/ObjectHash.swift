import MusterFormat
import MusterModel
import Synchronization

enum ReceiptKind {}

/// The hash of an object under way. Pieces come one after the other; the lock lets them come from any thread.
final class ObjectHash<Kind>: Sendable {
    private let hasher = Mutex(SHA256Hasher())

    func update(_ bytes: [UInt8]) { hasher.withLock { $0.update(bytes) } }

    func finish() -> Digest<Kind> { hasher.withLock { $0.finish() } }
}
