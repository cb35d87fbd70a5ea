/// A SHA-256 value that names one kind of thing.
///
/// The text form is 64 lowercase hex digits; nothing else parses.
package struct Digest<Kind>: Hashable, Sendable, Comparable, CustomStringConvertible {
    package static var byteCount: Int { 32 }
    private let first: UInt64
    private let second: UInt64
    private let third: UInt64
    private let fourth: UInt64

    /// - Returns: nil unless `bytes` are exactly 32.
    package init?(bytes: some RandomAccessCollection<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        // Every page that is read makes one: a loop over an unknown collection is fifty times slower.
        (first, second, third, fourth) =
            bytes.withContiguousStorageIfAvailable(bigEndianWords)
            ?? Array(bytes).withUnsafeBufferPointer(bigEndianWords)
    }

    /// - Returns: nil unless `text` is exactly 64 lowercase hex digits.
    package init?(_ text: some StringProtocol) {
        guard let bytes = Hex.decode(text) else { return nil }
        self.init(bytes: bytes)
    }

    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.byteCount)
        for word in [first, second, third, fourth] {
            for shift in stride(from: UInt64(56), through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: word >> shift))
            }
        }
        return bytes
    }
    package var description: String { Hex.encode(bytes) }

    package static func < (a: Self, b: Self) -> Bool {
        (a.first, a.second, a.third, a.fourth) < (b.first, b.second, b.third, b.fourth)
    }
}

package enum PackKind {}
package enum ChunkKind {}
package enum ManifestKind {}
package enum PageKind {}
package enum ExtentKind {}
package enum GroupKind {}
package enum ContentKind {}
package enum CertificateKind {}

/// SHA-256 of a pack's bytes.
package typealias PackID = Digest<PackKind>
/// SHA-256 of a sealed chunk's bytes.
package typealias ChunkID = Digest<ChunkKind>
/// SHA-256 of a manifest's bytes, signature included.
package typealias ManifestHash = Digest<ManifestKind>
package typealias PageHash = Digest<PageKind>
package typealias ExtentHash = Digest<ExtentKind>
package typealias GroupHash = Digest<GroupKind>
/// The hash-tree root over all pages of a snapshot: its checksum.
package typealias ContentRoot = Digest<ContentKind>
/// SHA-256 of a certificate's DER bytes.
package typealias CertificateFingerprint = Digest<CertificateKind>

/// - Parameter bytes: 32.
private func bigEndianWords(_ bytes: UnsafeBufferPointer<UInt8>) -> (UInt64, UInt64, UInt64, UInt64) {
    let raw = UnsafeRawBufferPointer(bytes)
    func word(_ index: Int) -> UInt64 {
        UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self))
    }
    return (word(0), word(1), word(2), word(3))
}
