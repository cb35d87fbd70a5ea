import Glibc

/// How much room the disk of a folder has.
package enum FreeSpace {
    /// What a program without special rights may still write where this file is, or would be.
    package static func bytes(besideFile path: String) throws(StoreError) -> UInt64 {
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        var status = statvfs()
        guard unsafe statvfs(folder.isEmpty ? "/" : folder, &status) == 0 else {
            throw .unavailable(store: folder, reason: "error \(errno)")
        }
        return UInt64(status.f_bavail) * UInt64(status.f_frsize)
    }
}
