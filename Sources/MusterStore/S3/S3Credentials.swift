/// Whom a server that speaks S3 knows us as. Never printed.
package struct S3Credentials: Codable, Hashable, Sendable, CustomStringConvertible {
    package let accessKeyID: String
    package let secretAccessKey: String
    /// With credentials that were lent for a time.
    package let sessionToken: String?

    /// - Returns: nil for what can be no credentials: empty, or with characters that no header may hold.
    package init?(accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil) {
        let isPlain = { (text: String) in !text.isEmpty && text.utf8.allSatisfy { $0 > 32 && $0 < 127 } }
        guard isPlain(accessKeyID), isPlain(secretAccessKey), sessionToken.map(isPlain) ?? true else { return nil }
        (self.accessKeyID, self.secretAccessKey, self.sessionToken) = (accessKeyID, secretAccessKey, sessionToken)
    }

    /// Reads the file that Amazon's tools keep (`~/.aws/credentials`): its profile `default`, else its only one.
    ///
    /// - Returns: nil where there are none in it.
    package init?(fileText: String) {
        var profiles: [String: [String: String]] = [:]
        var profile = "default"
        for line in fileText.split(whereSeparator: \.isNewline) {
            let text = line.trimmed
            if text.isEmpty || text.hasPrefix("#") || text.hasPrefix(";") { continue }
            if text.hasPrefix("["), text.hasSuffix("]") {
                profile = text.dropFirst().dropLast().trimmed
                continue
            }
            let pair = text.split(separator: "=", maxSplits: 1)
            guard pair.count == 2 else { return nil }
            profiles[profile, default: [:]][pair[0].trimmed] = pair[1].trimmed
        }
        guard let found = profiles["default"] ?? (profiles.count == 1 ? profiles.values.first : nil),
            let id = found["aws_access_key_id"], let secret = found["aws_secret_access_key"]
        else { return nil }
        self.init(accessKeyID: id, secretAccessKey: secret, sessionToken: found["aws_session_token"])
    }

    package var description: String { "credentials of \(accessKeyID)" }
}

extension StringProtocol {
    fileprivate var trimmed: String {
        String(drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
