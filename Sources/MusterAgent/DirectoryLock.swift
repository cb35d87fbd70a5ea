import Foundation
import MusterModel

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

    /// A process id that was left behind may be a stranger's by now.
    private static func isAgent(_ process: Int32) -> Bool {
        func program(_ process: String) -> String? {
            // Gone, or another user's: no agent of ours.
            try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/exe")
        }
        return program("\(process)") == program("self")
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

    /// True while an agent runs in the directory.
    static func isHeld(_ directory: AgentDirectory) -> Bool {
        let descriptor = open(directory.lockFile, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        guard flock(descriptor, LOCK_SH | LOCK_NB) == 0 else { return true }
        flock(descriptor, LOCK_UN)
        return false
    }

    /// Tells a running agent to read its configuration again.
    ///
    /// - Returns: false if none runs.
    static func signalReload(_ directory: AgentDirectory) -> Bool {
        guard isHeld(directory) else { return false }
        guard let process = holder(of: directory).flatMap({ Int32($0) }), process > 1, isAgent(process) else {
            return false
        }
        return kill(process, SIGHUP) == 0
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
