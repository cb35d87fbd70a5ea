/// A version of `api.proto`, as each request names it.
///
/// The minor number grows with what may be left out or skipped, the major one with what may not.
package struct ProtocolVersion: Hashable, Sendable, CustomStringConvertible {
    package static let headerName = "muster-protocol"
    package static let current = ProtocolVersion(major: 1, minor: 0)

    package let major: Int
    package let minor: Int

    package init(major: Int, minor: Int) { (self.major, self.minor) = (major, minor) }

    /// - Parameter text: two numbers of at most 4 digits with a dot between them.
    package init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let major = Self.number(parts[0]), let minor = Self.number(parts[1]) else { return nil }
        self.init(major: major, minor: minor)
    }

    /// Every request has one: a regular expression would be compiled for each.
    private static func number(_ text: Substring) -> Int? {
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        return (1...4).contains(text.utf8.count) && text.utf8.allSatisfy(digits.contains) ? Int(text) : nil
    }

    package var description: String { "\(major).\(minor)" }
}
