import Foundation
import MusterModel

/// The file that a restore builds: under a name of its own until everything was checked.
///
/// `@unchecked Sendable`: after `init` only `pwrite` at disjoint places is called from several
/// threads, which POSIX allows on one descriptor; the ends run alone.
final class RestoredFile: @unchecked Sendable {
    let target: String
    /// Beside the target, so that the last step is a rename.
    let partial: String
    private let descriptor: Int32
    private var isDone = false

    init(target: String, random: RandomSource) throws(RestoreError) {
        self.target = target
        partial = Self.partial(for: target, random: random)
        var status = stat()
        guard lstat(target, &status) != 0 else { throw .targetExists(path: target) }
        descriptor = open(partial, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw .targetRefused(path: target, reason: Self.systemReason) }
    }

    static func partial(for target: String, random: RandomSource) -> String {
        let url = URL(filePath: target)
        let folder = url.deletingLastPathComponent().path(percentEncoded: false)
        return folder + "." + url.lastPathComponent + ".muster-" + Hex.encode(random.bytes(8))
    }

    deinit {
        if !isDone { discard() }
    }

    /// Writes one extent; may be called from several threads for different places.
    func write(_ bytes: [UInt8], at offset: UInt64) throws(RestoreError) {
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes {
                pwrite(descriptor, $0.baseAddress, $0.count, off_t(offset) + off_t(written))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .targetRefused(path: target, reason: Self.systemReason) }
            written += count
        }
    }

    func sync() throws(RestoreError) {
        guard fsync(descriptor) == 0 else { throw .targetRefused(path: target, reason: Self.systemReason) }
    }

    /// Gives the checked file its name. Sidecars that stand there under the target's name belong to
    /// another database: they are moved aside, never replayed.
    func publish() throws(RestoreError) {
        var status = stat()
        // Looked at again: an application may have begun there meanwhile, and its sidecars are its own.
        guard lstat(target, &status) != 0 else { throw .targetExists(path: target) }
        let moved = try moveSidecarsAside()
        // A hard link, unlike rename, never replaces what may have come to stand there.
        guard link(partial, target) == 0 else {
            let error: RestoreError =
                errno == EEXIST ? .targetExists(path: target) : .targetRefused(path: target, reason: Self.systemReason)
            for (from, to) in moved { rename(to, from) }
            throw error
        }
        // Before the folder is synced, so that no crash from then on leaves the content under two names.
        unlink(partial)
        do {
            try syncFolder()
        } catch {
            // Without its folder on disk the name may be gone after a power cut: better none at all.
            unlink(target)
            throw error
        }
        discard()
    }

    private func moveSidecarsAside() throws(RestoreError) -> [(from: String, to: String)] {
        var moved: [(from: String, to: String)] = []
        for suffix in ["-wal", "-shm", "-journal"] where access(target + suffix, F_OK) == 0 {
            let from = target + suffix
            var to = from + ".before-restore"
            var number = 2
            while access(to, F_OK) == 0 {
                to = from + ".before-restore-\(number)"
                number += 1
            }
            guard rename(from, to) == 0 else { throw .targetRefused(path: from, reason: Self.systemReason) }
            moved.append((from, to))
        }
        return moved
    }

    private func syncFolder() throws(RestoreError) {
        let folder = URL(filePath: target).deletingLastPathComponent().path(percentEncoded: false)
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw .targetRefused(path: folder, reason: Self.systemReason) }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw .targetRefused(path: folder, reason: Self.systemReason) }
    }

    /// Removes the name that was worked under; the target's, once given, stays.
    func discard() {
        guard !isDone else { return }
        isDone = true
        close(descriptor)
        unlink(partial)
    }

    private static var systemReason: String { String(cString: strerror(errno)) }
}
