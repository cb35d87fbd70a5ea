import Foundation
package import MusterModel

/// Puts a restored database in the place of another one.
///
/// The restored file was checked and lies beside the target. What stood there is kept under a name of its own, its
/// sidecars too: they are never replayed into the new file. A crash in between leaves both files, under names that say
/// what they are.
package struct RestoreInPlace: Sendable {
    private static let sidecars = ["-wal", "-shm", "-journal"]

    package let target: String

    package init(target: String) { self.target = target }

    /// Where the file is built: on the same file system, so that it is only renamed.
    package func buildPath(_ random: RandomSource) -> String { "\(target).restored-\(Hex.encode(random.bytes(4)))" }

    /// Who has the target or a sidecar of it open, as far as this user may see.
    ///
    /// - Returns: process ids; and how many processes could not be looked at.
    package func openers() -> (processes: [Int32], unseen: Int) {
        let identities = Set((Self.sidecars + [""]).compactMap { Self.identity(target + $0) })
        guard !identities.isEmpty else { return ([], 0) }
        var (processes, unseen): ([Int32], Int) = ([], 0)
        // Where there is no /proc nothing is known of anybody, which counts as one that cannot be seen.
        guard let entries = try? FileManager.default.contentsOfDirectory(atPath: "/proc") else { return ([], 1) }
        for process in entries.compactMap({ Int32($0) }) where process != getpid() {
            let folder = "/proc/\(process)/fd"
            // Why it cannot be read does not matter, only that it cannot.
            guard let descriptors = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
                // One that has ended meanwhile has nothing open.
                if access("/proc/\(process)", F_OK) == 0 { unseen += 1 }
                continue
            }
            if descriptors.contains(where: { Self.identity("\(folder)/\($0)").map(identities.contains) ?? false }) {
                processes.append(process)
            }
        }
        return (processes.sorted(), unseen)
    }

    /// Gives the built file the target's name.
    ///
    /// - Returns: where what stood there is now; nil where nothing did.
    package func replace(with built: String) throws(RestoreError) -> String? {
        try takeOver(built)
        var kept: String?
        for suffix in [""] + Self.sidecars {
            var status = stat()
            guard lstat(target + suffix, &status) == 0 else { continue }
            let aside = Self.freeName(for: target + suffix)
            guard rename(target + suffix, aside) == 0 else { throw refusal() }
            if suffix.isEmpty { kept = aside }
        }
        // A hard link, unlike rename, never replaces what may have come to stand there.
        guard link(built, target) == 0 else { throw refusal() }
        unlink(built)
        let folder = URL(filePath: target).deletingLastPathComponent().path(percentEncoded: false)
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw refusal() }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw refusal() }
        return kept
    }

    /// Whoever could open what stood there can open what comes.
    private func takeOver(_ built: String) throws(RestoreError) {
        var (old, new) = (stat(), stat())
        guard stat(target, &old) == 0 else { return }
        guard stat(built, &new) == 0, chmod(built, old.st_mode & 0o777) == 0 else { throw refusal() }
        guard old.st_uid != new.st_uid || old.st_gid != new.st_gid else { return }
        guard chown(built, old.st_uid, old.st_gid) == 0 else { throw refusal() }
    }

    private func refusal() -> RestoreError {
        .targetRefused(path: target, reason: String(cString: strerror(errno)))
    }

    private static func freeName(for path: String) -> String {
        var (name, number) = (path + ".before-restore", 2)
        var status = stat()
        while lstat(name, &status) == 0 {
            name = "\(path).before-restore-\(number)"
            number += 1
        }
        return name
    }

    private struct FileIdentity: Hashable {
        let device: UInt64
        let inode: UInt64
    }

    private static func identity(_ path: String) -> FileIdentity? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }
}
