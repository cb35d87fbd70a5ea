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
        guard let match = text.wholeMatch(of: #/([0-9]{1,4})\.([0-9]{1,4})/#),
            let major = Int(match.1), let minor = Int(match.2)
        else { return nil }
        self.init(major: major, minor: minor)
    }

    package var description: String { "\(major).\(minor)" }
}
