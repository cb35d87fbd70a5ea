package import MusterModel

/// Checks a pack's id while its bytes stream by.
///
/// The chunks are checked afterwards, when the directory at the end is known:
/// `PackDirectory.read`, then `checkChunks`.
package struct PackReceiver: ~Copyable {
    package let id: PackID
    package private(set) var byteCount = 0
    private var hasher = SHA256Hasher()

    package init(expecting id: PackID) { self.id = id }

    /// - Throws: `FormatError`, `tooLarge`, as soon as the pack is longer than any may be.
    package mutating func update(_ bytes: RawSpan) throws(FormatError) {
        byteCount += bytes.byteCount
        guard byteCount <= Format.maximumPackBytes else {
            throw FormatError(
                "pack \(id)",
                .tooLarge(what: "bytes", count: UInt64(byteCount), limit: UInt64(Format.maximumPackBytes)))
        }
        hasher.update(bytes)
    }

    package mutating func update(_ bytes: [UInt8]) throws(FormatError) { try unsafe update(bytes.span.bytes) }

    /// - Returns: the pack's length.
    /// - Throws: `FormatError`, `wrongHash`, where the bytes were not that pack's.
    package consuming func finish() throws(FormatError) -> Int {
        let actual: PackID = hasher.finish()
        guard actual == id else {
            throw FormatError("pack \(id)", .wrongHash(expected: id.description, actual: actual.description))
        }
        return byteCount
    }
}
