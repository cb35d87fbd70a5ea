/// Where random bytes come from: the system's generator in production, a seeded one in tests.
package struct RandomSource: Sendable {
    private let draw: @Sendable (Int) -> [UInt8]

    package init(_ draw: @escaping @Sendable (Int) -> [UInt8]) { self.draw = draw }

    /// - Parameter count: how many bytes, from 0 up.
    package func bytes(_ count: Int) -> [UInt8] {
        let drawn = draw(count)
        precondition(drawn.count == count, "a random source returned \(drawn.count) bytes of \(count)")
        return drawn
    }

    /// A number from 0 up to, not including, 1.
    package func unitInterval() -> Double { Double(bigEndian(bytes(8)) >> 11) / Double(1 << 53) }
}
