/// What version 1 of the stored format fixes: bytes in, bytes out, no I/O. `proto/format.md` is the contract.
///
/// A snapshot's pages become extents, extents become sealed chunks, sealed
/// chunks lie in packs, and a signed manifest says which pack holds what. The
/// target owns the hash tree, the seals, the signatures and every parser of a
/// stored object. It never reads a file, a clock or a random device: callers
/// hand in bytes, moments and a `RandomSource`.
///
/// Stored bytes come from machines that may lie, so each parser bounds a count
/// before it allocates for it, accounts for every byte and never traps: what it
/// does not expect is a `FormatError`. A trap here means that libcrypto or
/// libzstd had no memory, or a bug of ours.
///
/// Contexts of libcrypto and libzstd are dear, so `ChunkSealer`, `ChunkOpener`
/// and `TreeHasher` keep theirs; make one for each lane (thread) and never
/// share it. Everything else here is a value.
package enum Format {
    package static let version: UInt8 = 1
    /// The aim for an extent in new lineages; `proto/decisions/0001-extent-size.md` has the measurements.
    package static let defaultExtentBytes = 64 << 10

    /// The largest plain chunk of any kind, and the largest extent that the geometry allows.
    package static let maximumPlainChunkBytes = 1 << 20
    package static let targetPackBytes = 16 << 20
    package static let maximumPackBytes = 64 << 20
    package static let maximumManifestBytes = 64 << 20
    /// Receipts and key records.
    package static let maximumRecordBytes = 1 << 20
    /// The state of a whole fleet is one of them.
    package static let maximumSealedRecordBytes = 16 << 20

    /// How many pages make an extent in a new lineage with this page size.
    package static func pagesPerExtent(pageSize: Int) -> Int { max(1, defaultExtentBytes / pageSize) }
}
