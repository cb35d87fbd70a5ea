import Foundation
import MusterModel
import MusterSQLite
import MusterStore

/// A folder for plain databases that are rebuilt and looked at: gone with its process, however that ends.
///
/// A process that is killed leaves its folder behind, with plain content in it. So each holds a lock on its folder, which
/// the kernel drops with it, and the next one removes what nobody holds.
struct ScratchFolder {
    private static let prefix = "muster-verify-"
    let path: String
    private let descriptor: Int32

    /// - Parameter parent: nil for the system's temporary folder.
    init(in parent: String?) throws {
        let parent = parent ?? FileManager.default.temporaryDirectory.path(percentEncoded: false)
        Self.removeLeftovers(in: parent)
        path = "\(parent)/\(Self.prefix)\(Hex.encode(Surroundings.random.bytes(8)))"
        guard mkdir(path, 0o700) == 0, let descriptor = Self.locked(path) else {
            throw ScratchRefused(folder: parent, reason: String(cString: strerror(errno)))
        }
        self.descriptor = descriptor
        // Between the two lines above somebody who tidied up may have taken it for a leftover.
        guard let named = try? FileStatus(path: path, followsLink: false),
            try FileStatus(descriptor: descriptor).inode == named.inode
        else {
            close(descriptor)
            throw ScratchRefused(folder: parent, reason: "somebody removed the new folder")
        }
    }

    func remove() {
        // What is left is the next one's to remove: no reason to fail a verification.
        try? FileManager.default.removeItem(atPath: path)
        close(descriptor)
    }

    /// Why a database of so many bytes is not rebuilt here; nil where it is.
    ///
    /// Its journal and what a drill writes besides have the margin.
    func lacks(_ bytes: UInt64) throws -> String? {
        let free = try FreeSpace.bytes(besideFile: path + "/x")
        let needed = bytes.addingReportingOverflow(bytes / 16 + (16 << 20))
        guard needed.overflow || free < needed.partialValue else { return nil }
        return "it needs \(Quantity.bytes(needed.overflow ? .max : needed.partialValue)) in '\(path)', where "
            + "\(Quantity.bytes(free)) are free: give a folder with more room with --scratch"
    }

    private static func removeLeftovers(in parent: String) {
        // A folder that cannot be listed cannot be tidied up; making ours in it says what is wrong.
        let names = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
        for name in names where name.hasPrefix(prefix) {
            let path = parent + "/" + name
            // One that is gone meanwhile is nobody's.
            let owner = try? FileManager.default.attributesOfItem(atPath: path)[.ownerAccountID] as? NSNumber
            guard owner?.uint32Value == geteuid(), let descriptor = locked(path) else { continue }
            // As in `remove`.
            try? FileManager.default.removeItem(atPath: path)
            close(descriptor)
        }
    }

    /// - Returns: nil where another one holds it, or it is no folder.
    private static func locked(_ path: String) -> Int32? {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            return nil
        }
        return descriptor
    }
}

private struct ScratchRefused: ActionableError {
    let folder, reason: String
    var summary: String { "no folder for rebuilt databases can be made in '\(folder)': \(reason)" }
    var hint: String { "Give one that is there and yours with --scratch." }
    var isTransient: Bool { false }
}
