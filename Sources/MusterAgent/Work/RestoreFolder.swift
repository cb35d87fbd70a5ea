import Foundation
import Glibc
import MusterModel

/// The folder that an ordered restore writes into: one that the node's owner allowed, or below it.
///
/// What lies below the owner's folder is walked without following any link, and held by a descriptor from then on: who
/// may write there could put a link in its place meanwhile, and this process may write elsewhere too.
struct RestoreFolder: Sendable {
    private let descriptor: Int32
    private let name: String

    /// The target by way of the descriptor.
    var target: String { "/proc/self/fd/\(descriptor)/\(name)" }
    var path: String { "/proc/self/fd/\(descriptor)" }

    /// - Parameters:
    ///   - allowed: absolute paths, as the owner wrote them; where one is a link, that is the owner's word.
    ///   - makingFolders: on the way, each on disk before anything is in it.
    init(for target: String, allowed: [String], makingFolders: Bool = true) throws(RestoreNotAllowed) {
        guard let segments = Self.segments(target), let name = segments.last else {
            throw RestoreNotAllowed(path: target, reason: "it is not a plain absolute path")
        }
        guard !["-wal", "-shm", "-journal"].contains(where: name.hasSuffix) else {
            throw RestoreNotAllowed(path: target, reason: "it is the name of another database's sidecar")
        }
        let folders = allowed.compactMap { path in
            let plain = path.replacing(#/\/+$/#, with: "")
            return Self.segments(plain).map { (plain, $0) }
        }
        let around = folders.filter { segments.count > $0.1.count && segments.starts(with: $0.1) }
        guard let (base, prefix) = around.max(by: { $0.1.count < $1.1.count }) else {
            throw RestoreNotAllowed(path: target, reason: "this node's owner allows no restore there")
        }
        self.name = name
        descriptor = try Self.walk(segments[prefix.count..<segments.count - 1], from: base, to: target, makingFolders)
    }

    /// Makes sure that the names in the folder outlast a power cut.
    func sync() throws(RestoreNotAllowed) {
        guard fsync(descriptor) == 0 else {
            throw RestoreNotAllowed(path: name, reason: "its folder: \(String(cString: strerror(errno)))")
        }
    }

    /// To be called once, when nothing is to be written any more.
    func leave() { close(descriptor) }

    /// - Returns: nil unless the path is absolute and every segment of it names one thing.
    private static func segments(_ path: String) -> [String]? {
        guard path.hasPrefix("/"), !path.utf8.contains(0) else { return nil }
        let segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        return segments.allSatisfy { !["", ".", ".."].contains($0) && $0.utf8.count <= 255 } ? segments : nil
    }

    private static func walk(
        _ segments: ArraySlice<String>, from base: String, to target: String, _ makingFolders: Bool
    ) throws(RestoreNotAllowed) -> Int32 {
        var current = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard current >= 0 else {
            throw RestoreNotAllowed(path: target, reason: "folder '\(base)': \(String(cString: strerror(errno)))")
        }
        for segment in segments {
            // One that is there already is as good. A new one that cannot be kept is none.
            let isKept = !makingFolders || mkdirat(current, segment, 0o700) != 0 || fsync(current) == 0
            let next = isKept ? openat(current, segment, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1
            let code = errno
            close(current)
            guard next >= 0 else {
                throw RestoreNotAllowed(
                    path: target, reason: "'\(segment)' on the way: \(String(cString: strerror(code)))")
            }
            current = next
        }
        return current
    }
}

struct RestoreNotAllowed: ActionableError {
    let path, reason: String
    var summary: String { "a restore to '\(path)' is refused: \(reason)" }
    var hint: String {
        "On the node, name the folder in agent.yaml, as in 'restore_into: [/srv/restore]', and let the agent's user "
            + "write there; then restore to a path below it."
    }
    var isTransient: Bool { false }
}
