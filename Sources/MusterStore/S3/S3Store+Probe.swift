import Crypto
package import MusterModel
import MusterTransfer

extension S3Store: ProbedStore {
    package func takesSignedPut(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) -> Bool? {
        let place = signed(name, bytes.count, hash: Array(SHA256.hash(data: bytes)))
        return try await connection.send(bytes, to: place).status == 200
    }

    package func refusesWrongChecksum(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) -> Bool? {
        let place = signed(name, bytes.count, hash: Array(SHA256.hash(data: bytes + [0])))
        return try await connection.send(bytes, to: place).status == 400
    }

    package func loopholesOfSignedPut(
        _ name: ObjectName, _ other: ObjectName, _ bytes: [UInt8]
    ) async throws(StoreError) -> [String] {
        let hash = Array(SHA256.hash(data: bytes))
        let place = signed(name, bytes.count, hash: hash)
        let late = signedPut(
            name, byteCount: bytes.count, hash: hash, lifetime: Self.signedPutLifetime, age: .seconds(3600))
        let others = bytes.map { ~$0 }
        let tries: [(what: String, url: String, headers: [String: String], body: [UInt8])] =
            [
                ("other bytes", place.url, place.headers, others),
                (
                    "other bytes with a hash of their own", place.url,
                    place.headers.merging(S3Request.checksum(Array(SHA256.hash(data: others)))) { _, new in new },
                    others
                ),
                ("fewer bytes", place.url, place.headers, Array(bytes.dropLast(7))),
                ("more bytes", place.url, place.headers, bytes + [0]),
                (
                    "another name", place.url.replacing(connection.key(of: name), with: connection.key(of: other)),
                    place.headers, bytes
                ),
                ("a put that may replace", place.url, place.headers.filter { $0.key != "if-none-match" }, bytes),
                ("a put without a hash", place.url, place.headers.filter { $0.key == "if-none-match" }, bytes),
                ("a put that came too late", late.url, late.headers, bytes),
            ]
            + Self.unsignedHeaders.map { header, value in
                let headers = place.headers.merging([header: value]) { _, new in new }
                return ("a put with \(header), which nobody signed", place.url, headers, bytes)
            }
        var taken: [String] = []
        for one in tries {
            let attempt = SignedPut(url: one.url, headers: one.headers, expiresAt: place.expiresAt)
            if try await (200...299).contains(connection.send(one.body, to: attempt).status) { taken.append(one.what) }
        }
        return taken
    }

    /// What a server must not heed where it is not signed: it could make the object public, another one's copy, slow or
    /// impossible to read, or hold more than its bytes.
    private static let unsignedHeaders = [
        ("x-amz-acl", "public-read"), ("x-amz-grant-read", "uri=\"http://acs.amazonaws.com/groups/global/AllUsers\""),
        ("x-amz-meta-muster", "probe"), ("x-amz-storage-class", "STANDARD_IA"), ("x-amz-tagging", "muster=probe"),
        ("x-amz-website-redirect-location", "/elsewhere"), ("x-amz-server-side-encryption", "AES256"),
    ]

    /// As a coordinator signs for an agent.
    private func signed(_ name: ObjectName, _ byteCount: Int, hash: [UInt8]) -> SignedPut {
        signedPut(name, byteCount: byteCount, hash: hash, lifetime: Self.signedPutLifetime)
    }

    private static let signedPutLifetime = Duration.seconds(60)

    package func time() async throws(StoreError) -> Timestamp? {
        try await connection.ask(S3Request(method: .head, key: connection.key(of: .format))).head.date
    }
}
