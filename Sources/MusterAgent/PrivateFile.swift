import Foundation

/// Small files that only the agent's user may read, replaced whole or not at all.
enum PrivateFile {
    /// Writes beside the target, syncs, renames over it and syncs the directory: after a crash the
    /// old bytes stand there or the new ones, never a mixture. Mode 0600 from the first byte on.
    static func write(_ bytes: [UInt8], to path: String) throws {
        // Two processes may write one file; each has a temporary of its own.
        let temporary = "\(path).new-\(getpid())"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure(path) }
        do {
            defer { close(descriptor) }
            guard fchmod(descriptor, 0o600) == 0 else { throw failure(path) }
            var written = 0
            while written < bytes.count {
                let count = bytes[written...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
                guard count > 0 else { throw failure(path) }
                written += count
            }
            guard fsync(descriptor) == 0 else { throw failure(path) }
        }
        guard rename(temporary, path) == 0 else { throw failure(path) }
        let folder = open(
            URL(filePath: path).deletingLastPathComponent().path(percentEncoded: false), O_RDONLY | O_DIRECTORY)
        guard folder >= 0 else { throw failure(path) }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw failure(path) }
    }

    static func write(_ text: String, to path: String) throws {
        try write(Array(text.utf8), to: path)
    }

    /// - Throws: `AgentDirectoryError.damagedFile` where the file is missing or not text.
    static func text(at path: String) throws -> String {
        do {
            return try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw AgentDirectoryError.damagedFile(path)
        }
    }

    private static func failure(_ path: String) -> AgentDirectoryError {
        .refusedWrite(path, reason: String(cString: strerror(errno)))
    }
}
