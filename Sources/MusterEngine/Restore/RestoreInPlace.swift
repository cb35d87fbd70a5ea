import Foundation
package import MusterModel
import MusterSQLite

/// Puts a restored database in the place of another one.
///
/// The restored file was checked and lies beside the target. What stood there is kept under a name of its own, its
/// sidecars too: they are never replayed into the new file. A crash in between leaves both files, under names that say
/// what they are.
package struct RestoreInPlace: Sendable {
    private static let sidecars = ["-wal", "-shm", "-journal"]

    package let target: String

    /// - Parameter target: where it is a link, what it leads to is replaced.
    package init(target: String) {
        let resolved = realpath(target, nil)
        defer { free(resolved) }
        self.target = resolved.map { String(cString: $0) } ?? target
    }

    package var isThere: Bool { Self.exists(target) }

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
    /// What stood there gets its second name, its sidecars with it, before anything loses its first: where that fails,
    /// nothing has moved. From then on neither it nor the built file is removed, whatever happens.
    /// - Returns: where what stood there is now, its sidecars beside it; nil where nothing did.
    package func replace(with built: String) throws(RestoreError) -> String? {
        try takeOver(built)
        let there = ([""] + Self.sidecars).filter { Self.exists(target + $0) }
        let aside = Self.freeName(for: target)
        for (index, suffix) in there.enumerated() where link(target + suffix, aside + suffix) != 0 {
            let code = errno
            for made in there[..<index] { unlink(aside + made) }
            throw refusal(code, "the restored database is '\(built)'")
        }
        try syncFolder()
        if there == [""], try exchange(built, aside) { return aside }
        for suffix in there { unlink(target + suffix) }
        // A hard link, unlike rename, never replaces what may have come to stand there.
        guard link(built, target) == 0 else {
            let code = errno
            // To a file that somebody has made meanwhile the old sidecars do not belong.
            if code != EEXIST { for suffix in there { link(aside + suffix, target + suffix) } }
            throw refusal(code, "what stood there is '\(aside)', and the restored database '\(built)'")
        }
        unlink(built)
        try syncFolder()
        return there.contains("") ? aside : nil
    }

    /// Gives the built file the target's name in one step, where no sidecar stands beside it: of these some would belong to
    /// the other file for a moment, and whoever opened it then would replay them.
    ///
    /// - Returns: false where the file system cannot do it.
    private func exchange(_ built: String, _ aside: String) throws(RestoreError) -> Bool {
        guard FileExchange.run(built, target) == 0 else { return false }
        // What came out must be what was kept: it goes now, and the other name of it is its only one.
        guard let out = Self.identity(built), out == Self.identity(aside) else {
            let code = FileExchange.run(built, target)
            throw .targetRefused(
                path: target,
                reason: code == 0
                    ? "another file took its place meanwhile; what stood there first is '\(aside)'"
                    : "another file took its place meanwhile, which is '\(built)' now")
        }
        unlink(built)
        try syncFolder()
        return true
    }

    /// Whoever could open what stood there can open what comes. By descriptor: in the folder of an application its user
    /// could put a link under the built file's name meanwhile.
    func takeOver(_ built: String) throws(RestoreError) {
        var (old, new) = (stat(), stat())
        guard stat(target, &old) == 0 else { return }
        let descriptor = open(built, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { throw refusal() }
        defer { close(descriptor) }
        guard fstat(descriptor, &new) == 0 else { throw refusal() }
        guard new.st_mode & S_IFMT == S_IFREG, new.st_nlink == 1 else {
            throw .targetRefused(path: target, reason: "'\(built)' is not the file that was built")
        }
        if old.st_uid != new.st_uid || old.st_gid != new.st_gid {
            guard fchown(descriptor, old.st_uid, old.st_gid) == 0 else { throw refusal() }
        }
        guard fchmod(descriptor, old.st_mode & 0o777) == 0, fsync(descriptor) == 0 else { throw refusal() }
    }

    private func syncFolder() throws(RestoreError) {
        let folder = URL(filePath: target).deletingLastPathComponent().path(percentEncoded: false)
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw refusal() }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw refusal() }
    }

    private func refusal(_ code: Int32 = errno, _ rest: String = "") -> RestoreError {
        .targetRefused(path: target, reason: String(cString: strerror(code)) + (rest.isEmpty ? "" : "; " + rest))
    }

    /// One under which neither a file nor a sidecar of it is: SQLite finds what is kept together by its name.
    static func freeName(for path: String) -> String {
        var (name, number) = (path + ".before-restore", 2)
        while ([""] + sidecars).contains(where: { exists(name + $0) }) {
            name = "\(path).before-restore-\(number)"
            number += 1
        }
        return name
    }

    private static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
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
