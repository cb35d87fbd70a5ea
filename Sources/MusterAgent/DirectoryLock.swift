import Foundation
import MusterModel
import MusterSQLite

/// One agent for each directory: a lock that the kernel drops with the process, however it ends.
struct DirectoryLock {
    private let descriptor: Int32

    /// Takes the lock; another's that is held for a moment only is waited for.
    ///
    /// An agent that was killed a moment ago may hold it until the kernel is done with it, and a command that looks
    /// whether an agent runs takes it for an instant.
    static func take(
        _ directory: AgentDirectory, sleep: @Sendable (Duration) async throws -> Void
    ) async throws -> DirectoryLock {
        for _ in 0..<40 {
            do {
                return try DirectoryLock(directory)
            } catch AgentDirectoryError.inUse {
                try await sleep(.milliseconds(50))
            }
        }
        return try DirectoryLock(directory)
    }

    private init(_ directory: AgentDirectory) throws {
        let descriptor = open(directory.lockFile, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            throw AgentDirectoryError.refusedWrite(directory.lockFile, reason: String(cString: strerror(errno)))
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw AgentDirectoryError.inUse(directory.path, processID: Self.holder(of: directory) ?? "unknown")
        }
        self.descriptor = descriptor
        let text = Array("\(getpid())\n".utf8)
        guard ftruncate(descriptor, 0) == 0, write(descriptor, text, text.count) == text.count else {
            release()
            throw AgentDirectoryError.refusedWrite(directory.lockFile, reason: String(cString: strerror(errno)))
        }
    }

    /// Unlocked by name: a child that is being started meanwhile has the open file too until it runs its program.
    func release() {
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }

    /// The process id in the lock file, whether it still runs or not.
    static func holder(of directory: AgentDirectory) -> String? {
        // No file means that no agent ever ran here.
        let text = try? String(contentsOfFile: directory.lockFile, encoding: .utf8)
        return text?.split(separator: "\n").first.map(String.init)
    }

    /// True while an agent runs in the directory, or where that cannot be looked at.
    static func isHeld(_ directory: AgentDirectory) -> Bool {
        let descriptor = open(directory.lockFile, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return errno != ENOENT }
        defer { close(descriptor) }
        guard flock(descriptor, LOCK_SH | LOCK_NB) == 0 else { return true }
        flock(descriptor, LOCK_UN)
        return false
    }

    /// What came of telling the agent of a directory something.
    enum Reach: Equatable {
        case noAgent, told
        /// One runs, but not as the process that its lock names, as far as this one may look.
        case notReached(process: String)
    }

    /// Tells a running agent to read its configuration again.
    static func signalReload(_ directory: AgentDirectory) -> Reach {
        var text = "unknown"
        for attempt in 0..<10 {
            // One that starts has the lock for a moment before it has written who it is.
            if attempt > 0 { usleep(50_000) }
            guard isHeld(directory) else { return .noAgent }
            text = holder(of: directory) ?? "unknown"
            if let process = Int32(text), process > 1, hasOpen(directory.lockFile, process), kill(process, SIGHUP) == 0
            {
                return .told
            }
        }
        return .notReached(process: text)
    }

    /// A process id that was left behind may be a stranger's by now, so a process counts by the file that it has open.
    ///
    /// Its program says nothing: an agent runs on after an upgrade replaced it (proc(5): "… (deleted)"), and may have
    /// been started from elsewhere.
    private static func hasOpen(_ file: String, _ process: Int32) -> Bool {
        let name = "/" + URL(filePath: file).lastPathComponent
        let folder = "/proc/\(process)/fd"
        // What may not be looked at counts as another's.
        guard let lock = try? FileStatus(path: file, followsLink: false) else { return false }
        let links = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return links.contains { link in
            // By its name first: a database among them may be on a disk that does not answer. One closed meanwhile is none.
            guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: folder + "/" + link),
                target.hasSuffix(name), let opened = try? FileStatus(path: folder + "/" + link, followsLink: true)
            else { return false }
            return opened.device == lock.device && opened.inode == lock.inode
        }
    }
}

/// One change of the configuration at a time: `database add` reads, changes and writes.
struct ConfigurationTurn {
    private let descriptor: Int32

    /// Waits for its turn; the kernel ends another's with its process.
    init(_ directory: AgentDirectory) throws {
        let path = directory.configurationFile + ".lock"
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0, flock(descriptor, LOCK_EX) == 0 else {
            throw AgentDirectoryError.refusedWrite(path, reason: String(cString: strerror(errno)))
        }
    }

    func end() {
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }
}
