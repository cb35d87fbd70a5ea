import Foundation
import MusterFormat
import MusterModel

/// Whether a file is, page for page, what a plan would restore.
package struct ContentCheck: Sendable {
    private let plan: RestorePlan

    package init(_ plan: RestorePlan) { self.plan = plan }

    /// Reads the whole file; blocks meanwhile.
    ///
    /// - Returns: false also where nothing can be read there.
    package func isContent(ofFile path: String) -> Bool {
        let geometry = plan.publicPart.geometry
        let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            UInt64(status.st_size) == geometry.sizeBytes
        else { return false }
        var hasher = TreeHasher()
        var tree = ContentTree(geometry: geometry)
        for extent in 0..<geometry.extentCount {
            let offset = UInt64(extent) * UInt64(geometry.extentBytes)
            let count = geometry.pageCount(ofExtent: extent) * geometry.pageSize
            guard let bytes = Self.read(descriptor, at: offset, count) else { return false }
            tree.append(hasher.extentHash(of: bytes.span.bytes, pageSize: geometry.pageSize))
        }
        return tree.contentRoot() == plan.publicPart.contentRoot
    }

    private static func read(_ descriptor: Int32, at offset: UInt64, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = bytes.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress?.advanced(by: done), count - done, off_t(offset) + off_t(done))
            }
            if got < 0, errno == EINTR { continue }
            guard got > 0 else { return nil }
            done += got
        }
        return bytes
    }
}
