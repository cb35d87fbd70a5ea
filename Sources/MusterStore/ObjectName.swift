/// The name of one stored object: a relative path that cannot leave its store.
///
/// One to eight segments of `A-Z a-z 0-9 . _ -`, none of which begins with a
/// dot. The first segment is never `incoming`, where a folder store keeps what
/// is not yet an object.
package struct ObjectName: Hashable, Sendable, Comparable, CustomStringConvertible {
    package static let maximumBytes = 512
    package static let maximumSegments = 8
    package static let maximumSegmentBytes = 200
    /// The folder of unfinished objects.
    static let reservedSegment = "incoming"

    package let description: String

    /// - Returns: nil for anything but such a name, so text of a peer or a directory can be passed as it came.
    package init?(_ text: some StringProtocol) {
        let segments = text.split(separator: "/", omittingEmptySubsequences: false)
        guard text.utf8.count <= Self.maximumBytes, (1...Self.maximumSegments).contains(segments.count),
            segments.allSatisfy({ Self.isSegment($0) }), segments[0] != Self.reservedSegment
        else { return nil }
        description = String(text)
    }

    /// For the builders of the layout, whose parts are all valid by their types.
    init(trusted text: String) { description = text }

    package static func < (a: Self, b: Self) -> Bool { a.description < b.description }

    var segments: [Substring] { description.split(separator: "/") }

    static func isSegment(_ text: some StringProtocol) -> Bool {
        (1...maximumSegmentBytes).contains(text.utf8.count) && text.utf8.first != UInt8(ascii: ".")
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }
}
