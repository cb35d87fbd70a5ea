import Foundation

/// What a node needs to join a fleet once: `muster node invite` prints it, `muster agent join` takes it.
///
/// It carries the fleet's CA certificate itself, so that no connection is ever made
/// to a coordinator that was not checked, and the public recovery keys, so that a
/// coordinator that turns bad cannot hand out other ones.
package struct JoinToken: Codable, Equatable, Sendable {
    private static let prefix = "muster-join-1."
    /// A token is a few hundred bytes; a longer text is not one.
    private static let maximumLength = 8192

    /// The agent plane, for example `https://backup.example:7420`.
    package var url: String
    /// The CA certificate, PEM.
    package var authority: String
    /// X25519 public keys, 64 hex digits each.
    package var recoveryKeys: [String]
    /// 64 hex digits, good for one use.
    package var secret: String
    package var nodeName: String
    /// RFC 3339.
    package var expiresAt: String

    package init(
        url: String, authority: String, recoveryKeys: [String], secret: String, nodeName: String, expiresAt: String
    ) {
        self.url = url
        self.authority = authority
        self.recoveryKeys = recoveryKeys
        self.secret = secret
        self.nodeName = nodeName
        self.expiresAt = expiresAt
    }

    /// - Returns: nil where `text` is no token.
    package init?(text: String) {
        let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard trimmed.utf8.count <= Self.maximumLength, trimmed.hasPrefix(Self.prefix) else { return nil }
        var base64 = trimmed.dropFirst(Self.prefix.count)
            .replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
        base64 += String(repeating: "=", count: (4 - base64.count % 4) % 4)
        // A text that does not decode is no token: the nil says so.
        guard let json = Data(base64Encoded: base64), let token = try? JSONDecoder().decode(Self.self, from: json)
        else { return nil }
        self = token
    }

    /// One word, safe in a shell and in an e-mail.
    package func text() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let base64 = try encoder.encode(self).base64EncodedString()
        return Self.prefix
            + base64.replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
            .replacingOccurrences(of: "=", with: "")
    }
}
