import MusterTransfer

/// `s3://BUCKET/PREFIX?endpoint=URL&region=REGION&style=path|virtual`: a bucket, or a part of one, at a server that
/// speaks S3.
///
/// Without an endpoint it is Amazon's, whose hosts are named after the bucket (`style=virtual`); with one the bucket is
/// the first part of the path (`style=path`). The region is `us-east-1` where none is given. The credentials are no part
/// of the address.
package struct S3Address: Hashable, Sendable, CustomStringConvertible {
    package enum Style: String, Sendable, CaseIterable { case path, virtual }

    package let bucket: String
    /// "", or what all keys begin with, without a slash at its end.
    package let prefix: String
    package let region: String
    package let style: Style
    /// nil for Amazon's.
    package let endpoint: S3Endpoint?

    /// - Returns: nil for anything but such an address.
    package init?(_ text: some StringProtocol) {
        let scheme = "s3://"
        guard text.hasPrefix(scheme) else { return nil }
        let parts = text.dropFirst(scheme.count).split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = parts[0].split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard Self.isBucket(path[0]) else { return nil }
        bucket = String(path[0])
        prefix = path.count > 1 ? String(path[1].hasSuffix("/") ? path[1].dropLast() : path[1]) : ""
        guard prefix.isEmpty || ObjectName(prefix) != nil else { return nil }
        var options: [Substring: Substring] = [:]
        for option in parts.count > 1 ? parts[1].split(separator: "&", omittingEmptySubsequences: false) : [] {
            let pair = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2, ["endpoint", "region", "style"].contains(pair[0]),
                options.updateValue(Substring(pair[1]), forKey: Substring(pair[0])) == nil
            else { return nil }
        }
        region = options["region"].map(String.init) ?? "us-east-1"
        guard ObjectName.isSegment(region), region.utf8.count <= 63 else { return nil }
        endpoint = options["endpoint"].flatMap { S3Endpoint($0) }
        guard (options["endpoint"] == nil) == (endpoint == nil) else { return nil }
        guard let style = options["style"].map({ Style(rawValue: String($0)) }) ?? (endpoint == nil ? .virtual : .path)
        else { return nil }
        self.style = style
    }

    package var description: String {
        var options = ["region=\(region)", "style=\(style.rawValue)"]
        if let endpoint { options.insert("endpoint=\(endpoint)", at: 0) }
        return "s3://\(bucket)\(prefix.isEmpty ? "" : "/" + prefix)?" + options.joined(separator: "&")
    }

    /// The scheme and host that requests go to; the host is what they sign.
    var server: S3Endpoint {
        let base = endpoint ?? S3Endpoint(isPlain: false, host: "s3.\(region).amazonaws.com", port: nil)
        guard style == .virtual else { return base }
        return S3Endpoint(isPlain: base.isPlain, host: "\(bucket).\(base.host)", port: base.port)
    }

    /// - Parameter key: nil for the bucket itself.
    func path(of key: String?) -> String {
        (style == .path ? "/" + bucket : "") + (key.map { "/" + $0 } ?? (style == .path ? "" : "/"))
    }

    func key(of name: some CustomStringConvertible) -> String { prefix.isEmpty ? "\(name)" : "\(prefix)/\(name)" }

    /// - Returns: nil for what is not below the prefix.
    func name(ofKey key: String) -> ObjectName? {
        guard !prefix.isEmpty else { return ObjectName(key) }
        guard key.hasPrefix(prefix + "/") else { return nil }
        return ObjectName(key.dropFirst(prefix.count + 1))
    }

    /// As Amazon allows it, and what older servers do: 3 to 63 letters, digits, dots, dashes and underscores.
    private static func isBucket(_ text: some StringProtocol) -> Bool {
        (3...63).contains(text.utf8.count) && ObjectName.isSegment(text)
    }
}

/// Where a server listens: `https://HOST` or `https://HOST:PORT`; `http://` to this very machine only.
package struct S3Endpoint: Hashable, Sendable, CustomStringConvertible {
    package let isPlain: Bool
    package let host: String
    package let port: Int?

    init(isPlain: Bool, host: String, port: Int?) { (self.isPlain, self.host, self.port) = (isPlain, host, port) }

    package init?(_ text: some StringProtocol) {
        let isPlain = text.hasPrefix("http://")
        guard isPlain || text.hasPrefix("https://") else { return nil }
        var rest = text.dropFirst(isPlain ? 7 : 8)
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        var port: Int?
        if let colon = rest.lastIndex(of: ":"), !rest.hasSuffix("]") {
            guard let number = Int(rest[rest.index(after: colon)...]), (1...65_535).contains(number) else { return nil }
            port = number
            rest = rest[..<colon]
        }
        let isBracketed = rest.hasPrefix("[") && rest.hasSuffix("]")
        let bare = isBracketed ? rest.dropFirst().dropLast() : rest
        let isHost = { (byte: UInt8) in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                true
            default: isBracketed && byte == UInt8(ascii: ":")
            }
        }
        guard !bare.isEmpty, bare.utf8.allSatisfy(isHost) else { return nil }
        (self.isPlain, host, self.port) = (isPlain, String(rest), port)
        guard !isPlain || HTTPRequest.isLoopback(host: host) else { return nil }
    }

    package var description: String { (isPlain ? "http://" : "https://") + authority }

    /// As the `Host` header has it.
    var authority: String { port.map { "\(host):\($0)" } ?? host }
}
