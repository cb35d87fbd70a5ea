import Foundation
import Glibc

/// Files of mode 0600 that appear whole or not at all.
enum PrivateFile {
    /// Writes a temporary file, makes it durable, gives it its name and makes the name durable.
    static func write(_ bytes: [UInt8], to path: String) throws(CoordinatorSetupError) {
        let temporary = path + ".new"
        // Left by a write that a crash cut short; it was never anything.
        unlink(temporary)
        let file = try succeed(open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600), temporary, "create")
        do {
            try writeAll(bytes, to: file, temporary)
            try succeed(fsync(file), temporary, "sync")
        } catch {
            close(file)
            unlink(temporary)
            throw error
        }
        try succeed(close(file), temporary, "close")
        try succeed(rename(temporary, path), path, "rename")
        try syncDirectory(of: path)
    }

    static func write(_ text: String, to path: String) throws(CoordinatorSetupError) {
        try write(Array(text.utf8), to: path)
    }

    static func readText(_ path: String, maximumBytes: Int = 1 << 20) throws(CoordinatorSetupError) -> String {
        let file = try succeed(open(path, O_RDONLY | O_CLOEXEC), path, "open")
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: maximumBytes + 1)
        var count = 0
        while count < bytes.count {
            let read = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(file, buffer.baseAddress?.advanced(by: count), buffer.count - count)
            }
            if read < 0, errno == EINTR { continue }
            guard read >= 0 else { throw failure(path, "read") }
            if read == 0 { break }
            count += read
        }
        guard count <= maximumBytes, let text = String(validating: bytes[..<count], as: UTF8.self) else {
            throw .fileFailed(path: path, reason: "it is too large or no text")
        }
        return text
    }

    static func makeDirectory(_ path: String) throws(CoordinatorSetupError) {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw .fileFailed(path: path, reason: "\(error.localizedDescription)")
        }
        try syncDirectory(of: path)
    }

    static func syncDirectory(of path: String) throws(CoordinatorSetupError) {
        let parent = URL(filePath: path).deletingLastPathComponent().path(percentEncoded: false)
        let directory = try succeed(open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC), parent, "open")
        defer { close(directory) }
        try succeed(fsync(directory), parent, "sync")
    }

    @discardableResult
    static func succeed(_ code: Int32, _ path: String, _ operation: String) throws(CoordinatorSetupError) -> Int32 {
        guard code >= 0 else { throw failure(path, operation) }
        return code
    }

    static func failure(_ path: String, _ operation: String) -> CoordinatorSetupError {
        .fileFailed(path: path, reason: "\(operation): \(String(cString: strerror(errno)))")
    }

    private static func writeAll(_ bytes: [UInt8], to file: Int32, _ path: String) throws(CoordinatorSetupError) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.write(file, buffer.baseAddress?.advanced(by: written), buffer.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure(path, "write") }
            written += count
        }
    }
}
