import Crypto
package import MusterModel
import MusterTransfer

extension S3Store: ProbedStore {
    package func takesSignedPut(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) -> Bool? {
        try await statusOfSignedPut(name, bytes, hash: Array(SHA256.hash(data: bytes))) == 200
    }

    package func refusesWrongChecksum(_ name: ObjectName, _ bytes: [UInt8]) async throws(StoreError) -> Bool? {
        try await statusOfSignedPut(name, bytes, hash: Array(SHA256.hash(data: bytes + [0]))) == 400
    }

    /// As somebody would who was handed the address alone.
    private func statusOfSignedPut(
        _ name: ObjectName, _ bytes: [UInt8], hash: [UInt8]
    ) async throws(StoreError) -> Int {
        var request = S3Request(method: .put, key: connection.key(of: name), body: .bytes(bytes))
        request.headers = S3Request.checksum(hash).merging(["if-none-match": "*"]) { _, new in new }
        let path = connection.presign(request, lifetime: Self.signedPutLifetime)
        return try await connection.send(presigned: path, request).status
    }

    private static let signedPutLifetime = Duration.seconds(60)

    package func time() async throws(StoreError) -> Timestamp? {
        try await connection.ask(S3Request(method: .head, key: connection.key(of: .format))).head.date
    }

    package func locksObjects() async throws(StoreError) -> Bool? {
        let answer: HTTPResponse
        do {
            answer = try await connection.ask(S3Request(method: .get, query: [("object-lock", "")]))
        } catch .tooLarge {
            // A server that does not know the question answers another one: it lists the bucket.
            return false
        }
        return answer.status == 200 && XMLText(answer.body).first("ObjectLockEnabled")?.string == "Enabled"
    }
}
