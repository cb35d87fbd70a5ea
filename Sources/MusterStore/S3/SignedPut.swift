package import MusterModel
import MusterTransfer

/// An address under which somebody without credentials may put one object, once, until its time is over.
package struct SignedPut: Hashable, Sendable {
    package let url: String
    /// To be sent as they are, for the signature covers them; the body's length is covered too, and is not among them.
    package let headers: [String: String]
    package let expiresAt: Timestamp

    package init(url: String, headers: [String: String], expiresAt: Timestamp) {
        (self.url, self.headers, self.expiresAt) = (url, headers, expiresAt)
    }
}

/// A store that can hand out addresses for uploads. Whether they hold somebody to what they say, the probe finds out.
package protocol SignedPutStore: Store {
    /// Who certifies the server, in PEM; nil for whom each machine trusts.
    var authority: String? { get }

    /// Signs for one name that no object has, for these bytes alone.
    ///
    /// - Parameter hash: the SHA-256 of all bytes.
    /// - Parameter lifetime: whole seconds.
    func signedPut(_ name: ObjectName, byteCount: Int, hash: [UInt8], lifetime: Duration) -> SignedPut
}

extension S3Store: SignedPutStore {
    package var authority: String? { connection.authority }

    package func signedPut(
        _ name: ObjectName, byteCount: Int, hash: [UInt8], lifetime: Duration
    ) -> SignedPut {
        signedPut(name, byteCount: byteCount, hash: hash, lifetime: lifetime, age: .zero)
    }

    /// The length is signed as a header and the hash twice: as the checksum that the server compares with the body, and
    /// as the payload's hash, which not every server does (proto/decisions/0012-s3.md).
    func signedPut(
        _ name: ObjectName, byteCount: Int, hash: [UInt8], lifetime: Duration, age: Duration
    ) -> SignedPut {
        let headers = S3Request.checksum(hash).merging(["if-none-match": "*"]) { _, new in new }
        var request = S3Request(method: .put, key: connection.key(of: name), payloadHash: Hex.encode(hash))
        request.headers = headers.merging(["content-length": "\(byteCount)"]) { _, new in new }
        let (path, expiresAt) = connection.presign(request, lifetime: lifetime, age: age)
        return SignedPut(
            url: "\(connection.address.server)\(path)", headers: headers, expiresAt: expiresAt)
    }
}
