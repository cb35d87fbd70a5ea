package import MusterModel

/// What makes a physical name unique for ever: 8 random bytes, written as 16 hex digits.
///
/// Sealing is deterministic, so the same pack may come back while an older
/// copy of it is being deleted: only the generation tells the two apart.
package struct Generation: Hashable, Sendable, Comparable, CustomStringConvertible {
    package static let byteCount = 8
    package let description: String

    package init(from random: RandomSource) { description = Hex.encode(random.bytes(Self.byteCount)) }

    /// - Returns: nil unless `text` is exactly 16 lowercase hex digits.
    package init?(_ text: some StringProtocol) {
        guard let bytes = Hex.decode(text), bytes.count == Self.byteCount else { return nil }
        description = String(text)
    }

    package static func < (a: Self, b: Self) -> Bool { a.description < b.description }
}
