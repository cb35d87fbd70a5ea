package import MusterModel

/// `node://HOST:PORT/NODE`: a store that a node of the fleet keeps, where NODE is the node's name or id.
package struct NodeStoreAddress: Hashable, Sendable, CustomStringConvertible {
    package let host: String
    package let port: Int
    package let node: String

    package init(host: String, port: Int, node: String) { (self.host, self.port, self.node) = (host, port, node) }

    /// - Returns: nil for anything but such an address. An IPv6 address stands in brackets.
    package init?(_ text: some StringProtocol) {
        let scheme = "node://"
        let parts = text.dropFirst(scheme.count).split(separator: "/", omittingEmptySubsequences: false)
        guard text.hasPrefix(scheme), parts.count == 2, let colon = parts[0].lastIndex(of: ":"),
            let port = Int(parts[0][parts[0].index(after: colon)...]), (1...65_535).contains(port),
            (1...63).contains(parts[1].utf8.count), ObjectName.isSegment(parts[1])
        else { return nil }
        var host = parts[0][..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard host.contains(":") else { return nil }
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty, host.utf8.allSatisfy({ Self.isOfHost($0) }) else { return nil }
        (self.host, self.port, node) = (String(host), port, String(parts[1]))
    }

    package var description: String { "node://\(host.contains(":") ? "[\(host)]" : host):\(port)/\(node)" }

    /// - Parameter node: whose name or id the address holds.
    package func place(of node: NodeID) -> NodeStore.Place { NodeStore.Place(host: host, port: port, node: node) }

    private static func isOfHost(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: ":"):
            true
        default: false
        }
    }
}
