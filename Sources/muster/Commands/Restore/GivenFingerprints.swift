import ArgumentParser

/// Fingerprints from the command line, each bound to the node that it is of: one of two nodes does not vouch for both.
struct GivenFingerprints {
    private static let shortest = 32

    private var byName: [String: String] = [:]

    /// - Parameters:
    ///   - texts: `HEX` where one node is meant, else `NAME=HEX`. The beginning is enough where it is long enough.
    ///   - names: of the nodes that are meant, as they were typed.
    init(_ texts: [String], flag: String, names: Set<String>) throws {
        for text in texts {
            let cut = text.lastIndex(of: "=")
            let hex = String(cut.map { text[text.index(after: $0)...] } ?? text[...])
            guard (Self.shortest...64).contains(hex.utf8.count),
                hex.allSatisfy({ $0.isHexDigit && $0.isASCII && !$0.isUppercase })
            else { throw ValidationError("\(flag) wants 32 to 64 lowercase hex digits, or NODE=HEX") }
            guard let name = cut.map({ String(text[..<$0]) }) ?? (names.count == 1 ? names.first : nil) else {
                throw ValidationError("of several nodes, \(flag) wants each by its name: NODE=HEX")
            }
            guard names.contains(name) else { throw ValidationError("\(flag) names '\(name)', which takes no part") }
            guard byName.updateValue(hex, forKey: name) == nil else {
                throw ValidationError("\(flag) is given twice for one node")
            }
        }
    }

    /// - Parameter name: as it was typed.
    subscript(name: String) -> String? { byName[name] }
}
