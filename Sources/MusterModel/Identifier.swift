/// A 16-byte name of one thing, drawn at random when the thing is made.
///
/// `Kind` keeps a node's id from being passed where a database's is wanted.
/// The text form is 32 lowercase hex digits; nothing else parses, so a parsed
/// id is safe in a path, a URL or a statement.
package struct Identifier<Kind>: Hashable, Sendable, Comparable, CustomStringConvertible {
    package static var byteCount: Int { 16 }
    private let high: UInt64
    private let low: UInt64

    /// - Returns: nil unless `bytes` are exactly 16.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        high = bigEndian(bytes.prefix(8))
        low = bigEndian(bytes.dropFirst(8))
    }

    /// The same for an array, which lists of tens of thousands come from.
    package init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        (high, low) = bytes.withUnsafeBytes { bytes in
            (
                UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        }
    }

    /// - Returns: nil unless `text` is exactly 32 lowercase hex digits.
    package init?(_ text: some StringProtocol) {
        guard let bytes = Hex.decode(text) else { return nil }
        self.init(bytes: bytes)
    }

    /// Draws a new id; pass the process's random source.
    package init(from random: RandomSource) {
        let bytes = random.bytes(Self.byteCount)
        high = bigEndian(bytes.prefix(8))
        low = bigEndian(bytes.dropFirst(8))
    }

    package var bytes: [UInt8] { bigEndianBytes(high) + bigEndianBytes(low) }
    package var description: String { Hex.encode(high, low) }

    package static func < (a: Self, b: Self) -> Bool { (a.high, a.low) < (b.high, b.low) }
}

package enum NodeKind {}
package enum DatabaseKind {}
package enum LineageKind {}
package enum SnapshotKind {}
package enum ScopeKind {}
package enum JobKind {}
package enum RunKind {}
package enum StoreKind {}
package enum GrantKind {}

package typealias NodeID = Identifier<NodeKind>
package typealias DatabaseID = Identifier<DatabaseKind>
package typealias LineageID = Identifier<LineageKind>
package typealias SnapshotID = Identifier<SnapshotKind>
/// Who shares a sealing secret, and so who can dedup with whom. Default: one node.
package typealias ScopeID = Identifier<ScopeKind>
package typealias JobID = Identifier<JobKind>
package typealias RunID = Identifier<RunKind>
/// Names a store wherever it is reached.
package typealias StoreID = Identifier<StoreKind>
/// One order to restore one snapshot onto one node.
package typealias GrantID = Identifier<GrantKind>

func bigEndian(_ bytes: some Collection<UInt8>) -> UInt64 {
    bytes.reduce(0) { $0 << 8 | UInt64($1) }
}

func bigEndianBytes(_ value: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(56 - 8 * $0)) }
}
