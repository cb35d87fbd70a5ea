import MusterCatalog
import MusterFormat
import MusterModel

/// A small pack that travelled inside a commit, and was checked in memory as a streamed one is on its way to the store.
struct InlinePack: Sendable {
    let id: PackID
    let bytes: [UInt8]
    /// The extent chunks, the only ones that the dedup question is about.
    let extents: [Catalog.ChunkPlace]

    init(_ bytes: [UInt8]) throws {
        id = SHA256Hasher.hash(bytes)
        self.bytes = bytes
        guard bytes.count > PackTrailer.byteCount + Coordinator.magic.count, bytes.starts(with: Coordinator.magic)
        else {
            throw Refusal.malformed("pack \(id) does not begin as a pack does")
        }
        let trailer = try PackTrailer(
            Array(bytes[(bytes.count - PackTrailer.byteCount)...]), packByteCount: bytes.count, pack: id)
        let directory = try PackDirectory(Array(bytes[trailer.directoryRange]), trailer: trailer, pack: id)
        let start = directory.entries.first?.offset ?? 0
        let end = directory.entries.last?.range.upperBound ?? start
        extents = try Coordinator.check(directory.entries[...], in: Array(bytes[start..<end]), of: directory)
    }
}
