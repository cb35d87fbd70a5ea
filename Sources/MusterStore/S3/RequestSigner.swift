import Crypto
import Foundation
import MusterModel

/// Signature version 4 of Amazon's S3, in headers or in an address.
///
/// From Amazon's documentation, "Authenticating Requests: Using the Authorization Header" and "Using Query Parameters";
/// their examples are the tests. The path and the query are written once, so that what is sent is what was signed.
struct RequestSigner: Sendable {
    /// What a signature covers.
    struct Subject {
        var method: String
        /// As the `Host` header has it.
        var host: String
        /// Not encoded, with the slash that it begins with.
        var path: String
        /// Not encoded.
        var query: [(name: String, value: String)] = []
        /// All but `host`; each is signed.
        var headers: [String: String] = [:]
        /// The body's SHA-256 as hex digits.
        var payloadHash: String
    }

    static let algorithm = "AWS4-HMAC-SHA256"
    /// In the place of a body's hash that is not known when an address is signed.
    static let unsignedPayload = "UNSIGNED-PAYLOAD"

    let credentials: S3Credentials
    let region: String

    /// - Returns: path and query as they are to be sent, and all headers but `host`.
    func sign(_ subject: Subject, at now: Timestamp) -> (path: String, headers: [String: String]) {
        let time = Stamp(now)
        var signed = subject
        signed.headers["x-amz-date"] = time.text
        signed.headers["x-amz-content-sha256"] = subject.payloadHash
        if let token = credentials.sessionToken { signed.headers["x-amz-security-token"] = token }
        let signature = signature(of: signed, at: time)
        var headers = signed.headers
        headers["authorization"] =
            "\(Self.algorithm) Credential=\(credentials.accessKeyID)/\(scope(time)),"
            + "SignedHeaders=\(signed.headerNames),Signature=\(signature)"
        return (signed.pathAndQuery, headers)
    }

    /// Signs an address that somebody else may use, until its time is over.
    ///
    /// - Parameter subject: its headers must be sent as they are; its hash may be `unsignedPayload`.
    /// - Parameter lifetime: whole seconds, at most seven days.
    /// - Returns: path and query.
    func presign(_ subject: Subject, lifetime: Duration, at now: Timestamp) -> String {
        let time = Stamp(now)
        var signed = subject
        if subject.payloadHash != Self.unsignedPayload {
            signed.query.append(("X-Amz-Content-Sha256", subject.payloadHash))
        }
        signed.query += [
            ("X-Amz-Algorithm", Self.algorithm), ("X-Amz-Credential", "\(credentials.accessKeyID)/\(scope(time))"),
            ("X-Amz-Date", time.text), ("X-Amz-Expires", "\(lifetime.components.seconds)"),
            ("X-Amz-SignedHeaders", subject.headerNames),
        ]
        if let token = credentials.sessionToken { signed.query.append(("X-Amz-Security-Token", token)) }
        let signature = signature(of: signed, at: time)
        return signed.pathAndQuery + "&X-Amz-Signature=\(signature)"
    }

    private func scope(_ time: Stamp) -> String { "\(time.day)/\(region)/s3/aws4_request" }

    private func signature(of subject: Subject, at time: Stamp) -> String {
        let canonical = Hex.encode(SHA256.hash(data: Data(subject.canonicalText.utf8)))
        let text = [Self.algorithm, time.text, scope(time), canonical].joined(separator: "\n")
        var key = SymmetricKey(data: Data("AWS4\(credentials.secretAccessKey)".utf8))
        for part in [String(time.day), region, "s3", "aws4_request"] {
            key = SymmetricKey(data: HMAC<SHA256>.authenticationCode(for: Data(part.utf8), using: key))
        }
        return Hex.encode(HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: key))
    }

    /// A moment as signatures have it: `20130524T000000Z`.
    private struct Stamp {
        let text: String
        var day: Substring { text.prefix(8) }

        init(_ moment: Timestamp) {
            // A moment with a fraction has it behind a dot.
            let seconds = moment.description.prefix { $0 != "." && $0 != "Z" }
            text = seconds.filter { $0 != "-" && $0 != ":" } + "Z"
        }
    }
}

extension RequestSigner.Subject {
    fileprivate var sortedHeaders: [(name: String, value: String)] {
        (headers.map { (name: $0.key.lowercased(), value: $0.value) } + [(name: "host", value: host)])
            .sorted { $0.name < $1.name }
    }

    fileprivate var headerNames: String { sortedHeaders.map(\.name).joined(separator: ";") }

    private var canonicalQuery: String {
        query.map { (Self.encode($0.name), Self.encode($0.value)) }
            .sorted { $0 < $1 }.map { "\($0)=\($1)" }.joined(separator: "&")
    }

    private var encodedPath: String { Self.encode(path, keepsSlashes: true) }

    var pathAndQuery: String { encodedPath + (query.isEmpty ? "" : "?" + canonicalQuery) }

    fileprivate var canonicalText: String {
        let lines = sortedHeaders.map { name, value in
            // Runs of spaces count as one.
            "\(name):\(value.split(separator: " ").joined(separator: " "))\n"
        }
        return [method, encodedPath, canonicalQuery, lines.joined(), headerNames, payloadHash].joined(separator: "\n")
    }

    /// All bytes but RFC 3986's unreserved ones as `%XX`.
    static func encode(_ text: String, keepsSlashes: Bool = false) -> String {
        var encoded = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            case UInt8(ascii: "/") where keepsSlashes: encoded += "/"
            default: encoded += "%" + Hex.encode([byte]).uppercased()
            }
        }
        return encoded
    }
}
