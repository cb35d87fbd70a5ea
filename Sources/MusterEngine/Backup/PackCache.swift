import Foundation
import MusterFormat
package import MusterModel
import Synchronization

/// Packs that this node pushed, kept as sealed beside its state: the bases of differences, and a near source.
///
/// It may be emptied at any time: what is not there is sent in a longer form, or fetched. Nothing in it is
/// trusted; whoever reads a chunk checks its id. Files are dropped, least used first, when they pass the quota
/// or when the file system has less free than the reserve: the application's disk always wins.
package final class PackCache: Sendable {
    private struct Content {
        var sizes: [PackID: Int] = [:]
        /// When each was used last, by a counter.
        var uses: [PackID: UInt64] = [:]
        var clock: UInt64 = 0
        var total = 0
    }

    private let folder: String
    private let quotaBytes: Int
    private let reserveBytes: UInt64
    private let freeBytes: @Sendable () -> UInt64?
    private let content: Mutex<Content>
    private let pool = BlockingPool(label: "muster-cache", width: 1)

    /// Takes up what an earlier life left, oldest use first.
    ///
    /// - Parameters:
    ///   - quotaBytes: 0 keeps nothing.
    ///   - reserveBytes: free space that is left to others.
    ///   - freeBytes: of the folder's file system; nil asks the system.
    package init(
        folder: String, quotaBytes: Int, reserveBytes: UInt64 = 1 << 30, freeBytes: (@Sendable () -> UInt64?)? = nil
    ) throws {
        (self.folder, self.quotaBytes, self.reserveBytes) = (folder, quotaBytes, reserveBytes)
        self.freeBytes = freeBytes ?? { Self.freeBytes(of: folder) }
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        var content = Content()
        var found: [(id: PackID, bytes: Int, used: Date)] = []
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
            let path = folder + "/" + name
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            guard let id = PackID(name), let bytes = attributes[.size] as? Int else {
                // A write that was cut off.
                try FileManager.default.removeItem(atPath: path)
                continue
            }
            found.append((id, bytes, attributes[.modificationDate] as? Date ?? .distantPast))
        }
        for entry in found.sorted(by: { $0.used < $1.used }) {
            content.clock += 1
            (content.sizes[entry.id], content.uses[entry.id]) = (entry.bytes, content.clock)
            content.total += entry.bytes
        }
        self.content = Mutex(content)
        makeRoom(for: 0)
    }

    /// Keeps a pack if there is room; it is not an error if there is none.
    package func keep(_ id: PackID, _ bytes: [UInt8]) async {
        // The work itself does not throw, and `run` only passes on what it throws.
        try? await pool.run { self.store(id, bytes) }
    }

    private func store(_ id: PackID, _ bytes: [UInt8]) {
        guard bytes.count <= quotaBytes, content.withLock({ $0.sizes[id] == nil }) else { return }
        makeRoom(for: bytes.count)
        guard let free = freeBytes(), free >= needed(for: bytes.count) else { return }
        let number = content.withLock { content in
            content.clock += 1
            return content.clock
        }
        let temporary = path(id) + ".\(number).new"
        guard Self.write(bytes, to: temporary), unsafe rename(temporary, path(id)) == 0 else {
            // A full disk: the cache does without.
            _ = unsafe unlink(temporary)
            return
        }
        content.withLock { content in
            // Another database of the node may have kept the same pack meanwhile.
            guard content.sizes[id] == nil else { return }
            (content.sizes[id], content.uses[id]) = (bytes.count, number)
            content.total += bytes.count
        }
    }

    /// A little at each call: a database's writer may wait for the core on which the kernel copies.
    private static func write(_ bytes: [UInt8], to path: String) -> Bool {
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { return false }
        var written = 0
        while written < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                let piece = unsafe UnsafeRawBufferPointer(rebasing: buffer[written...].prefix(128 << 10))
                return unsafe Glibc.write(descriptor, piece.baseAddress, piece.count)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { break }
            written += count
        }
        // A write that the kernel put off may fail only now.
        return close(descriptor) == 0 && written == bytes.count
    }

    /// - Returns: nil where the cache does not have these bytes.
    package func read(_ id: PackID, _ range: Range<Int>) -> [UInt8]? {
        let isKnown = content.withLock { content -> Bool in
            guard content.sizes[id] != nil else { return false }
            content.clock += 1
            content.uses[id] = content.clock
            return true
        }
        guard isKnown else { return nil }
        let descriptor = unsafe open(path(id), O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            forget(id)
            return nil
        }
        defer { close(descriptor) }
        var filled = 0
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: range.count) { buffer, initialised in
            while filled < range.count {
                let count = unsafe pread(
                    descriptor, buffer.baseAddress?.advanced(by: filled), range.count - filled,
                    off_t(range.lowerBound + filled))
                if count < 0 && errno == EINTR { continue }
                if count <= 0 { break }
                filled += count
            }
            initialised = filled
        }
        return filled == range.count ? bytes : nil
    }

    /// All bytes of a pack, as they were sealed.
    ///
    /// - Returns: nil where they are not here, or are damaged; then they are dropped.
    package func whole(_ id: PackID) async throws -> [UInt8]? {
        try await pool.run { () -> [UInt8]? in
            guard let size = self.content.withLock({ $0.sizes[id] }) else { return nil }
            guard let bytes = self.read(id, 0..<size), SHA256Hasher.hash(bytes, as: PackID.self) == id else {
                self.drop(id)
                return nil
            }
            return bytes
        }
    }

    /// Removes a pack, for example one that turned out to be damaged.
    package func drop(_ id: PackID) {
        forget(id)
        _ = unsafe unlink(path(id))
    }

    package var byteCount: Int { content.withLock { $0.total } }

    /// Gives back what the file system has come to lack since; called from time to time.
    package func makeRoom() async {
        // As above.
        try? await pool.run { self.makeRoom(for: 0) }
    }

    /// Free space with which so many bytes may come.
    private func needed(for bytes: Int) -> UInt64 {
        let (sum, isTooMuch) = reserveBytes.addingReportingOverflow(UInt64(bytes))
        return isTooMuch ? .max : sum
    }

    private func makeRoom(for bytes: Int) {
        let needed = needed(for: bytes)
        // A file system that does not say is not made emptier for it.
        let lacking = freeBytes().map { Int(clamping: needed - min($0, needed)) } ?? 0
        let dropped = content.withLock { content -> [PackID] in
            let target = min(quotaBytes - bytes, content.total - lacking)
            guard content.total > target else { return [] }
            var dropped: [PackID] = []
            for (id, _) in content.uses.sorted(by: { $0.value < $1.value }) {
                guard content.total > target else { break }
                content.total -= content.sizes[id] ?? 0
                (content.sizes[id], content.uses[id]) = (nil, nil)
                dropped.append(id)
            }
            return dropped
        }
        for id in dropped { _ = unsafe unlink(path(id)) }
    }

    private func forget(_ id: PackID) {
        content.withLock { content in
            content.total -= content.sizes[id] ?? 0
            (content.sizes[id], content.uses[id]) = (nil, nil)
        }
    }

    private static func freeBytes(of folder: String) -> UInt64? {
        var status = statvfs()
        guard unsafe statvfs(folder, &status) == 0 else { return nil }
        return UInt64(status.f_bavail) * UInt64(status.f_frsize)
    }

    private func path(_ id: PackID) -> String { folder + "/" + id.description }
}
