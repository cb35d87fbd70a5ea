import Foundation
package import MusterModel
package import MusterTransfer
import SwiftProtobuf

/// Typed calls to one plane of a coordinator; one method for each route of `api.proto`.
///
/// Bodies are protobuf. A call that may be made twice without harm is tried again by
/// the retry policy; those that may not say so with `repeatable: false`.
package struct CoordinatorClient: Sendable {
    private let http: HTTPClient
    private let base: String
    private let retry: Retry
    /// Bytes a second for pack uploads; nil for no limit.
    private let uploadLimit: Int?

    /// - Parameter url: the plane's root, for example `https://backup.example:7420`.
    package init(http: HTTPClient, url: String, retry: Retry, uploadLimit: Int? = nil) {
        self.http = http
        base = url.hasSuffix("/") ? String(url.dropLast()) : url
        self.retry = retry
        self.uploadLimit = uploadLimit
    }

    /// When calls are tried again, with the chance and the clock for it.
    package struct Retry: Sendable {
        let policy: RetryPolicy
        let random: RandomSource
        let clock: ContinuousClock

        package init(policy: RetryPolicy, random: RandomSource, clock: ContinuousClock) {
            (self.policy, self.random, self.clock) = (policy, random, clock)
        }
    }

    package func shutdown() { http.shutdown() }

    // MARK: - Sending

    func get<Answer: Message>(_ path: String, _ query: [(String, String)] = []) async throws(CoordinatorError) -> Answer
    {
        try await decoded(path, retried(HTTPRequest(.get, base + path + queryText(query), headers: Self.headers)))
    }

    func post<Answer: Message>(
        _ path: String, _ body: some Message, timeout: Duration = .seconds(60), repeatable: Bool = true
    ) async throws(CoordinatorError) -> Answer {
        let bytes: [UInt8]
        do {
            bytes = try body.serializedBytes()
        } catch {
            throw .unreadable(path: path, reason: "\(error)")
        }
        let request = HTTPRequest(
            .post, base + path, headers: Self.headers, body: .bytes(bytes), timeout: timeout, stallTimeout: timeout)
        return try await decoded(path, repeatable ? retried(request) : once(request))
    }

    /// The bytes of a stored object, or of a range of it, and the store they are from, as far as the answer tells.
    func bytes(
        _ path: String, range: Range<UInt64>? = nil, limit: Int
    ) async throws(CoordinatorError) -> StoredBytes {
        // The bytes are what they are; it is a refusal that is wanted as a message.
        var headers = ["accept": Self.protobuf, ProtocolVersion.headerName: Self.version]
        if let range { headers["range"] = "bytes=\(range.lowerBound)-\(range.upperBound - 1)" }
        // A refusal says why in a body of its own, which may be longer than the bytes that were asked for.
        let request = HTTPRequest(
            .get, base + path, headers: headers, timeout: .seconds(300),
            maximumResponseBytes: max(limit, Self.refusalLimit))
        let response = try await retried(request)
        let body = response.body
        guard body.count <= limit else {
            throw .unreadable(path: path, reason: "it has \(body.count) bytes where at most \(limit) were asked for")
        }
        return StoredBytes(
            bytes: body, store: response.headers[ReplicaWords.storeHeader] ?? "",
            passedOver: ReplicaWords.stores(response.headers[ReplicaWords.passedOverHeader]))
    }

    func put<Answer: Message>(
        _ path: String, _ bytes: [UInt8], onBytesSent: (@Sendable (Int) -> Void)?
    ) async throws(CoordinatorError) -> Answer {
        var request = HTTPRequest(
            .put, base + path, headers: Self.headers.merging(["content-type": "application/octet-stream"]) { $1 },
            body: .bytes(bytes), timeout: nil, stallTimeout: .seconds(60), maximumSendBytesPerSecond: uploadLimit,
            onBytesSent: onBytesSent)
        request.leastBytesPerSecond = HTTPRequest.leastUploadBytesPerSecond(under: uploadLimit)
        return try await decoded(path, retried(request))
    }

    // MARK: - Answers

    private static let refusalLimit = 64 << 10
    private static let protobuf = "application/x-protobuf"
    private static let version = ProtocolVersion.current.description
    private static let headers = [
        "accept": protobuf, "content-type": protobuf, ProtocolVersion.headerName: version,
    ]

    private func retried(_ request: HTTPRequest) async throws(CoordinatorError) -> HTTPResponse {
        do {
            return try await retry.policy.run(random: retry.random, clock: retry.clock) { try await once(request) }
        } catch {
            throw error as? CoordinatorError ?? .unreadable(path: request.url, reason: "\(error)")
        }
    }

    private func once(_ request: HTTPRequest) async throws(CoordinatorError) -> HTTPResponse {
        let response: HTTPResponse
        do {
            response = try await http.send(request)
        } catch {
            throw .transfer(error)
        }
        guard response.head.isSuccess else {
            // An answer that is no ErrorBody (a proxy's page) still has its status.
            let body = (try? Muster_V1_ErrorBody(serializedBytes: response.body)) ?? Muster_V1_ErrorBody()
            throw .refused(status: response.status, body: body, retryAfter: response.head.retryAfter)
        }
        return response
    }

    private func decoded<Answer: Message>(
        _ path: String, _ response: HTTPResponse
    ) async throws(CoordinatorError) -> Answer {
        do {
            return try Answer(serializedBytes: response.body)
        } catch {
            throw .unreadable(path: path, reason: "\(error)")
        }
    }

    func queryText(_ query: [(String, String)]) -> String {
        let parts = query.filter { !$0.1.isEmpty }.map { "\(escaped($0.0))=\(escaped($0.1))" }
        return parts.isEmpty ? "" : "?" + parts.joined(separator: "&")
    }
}

/// Everything but the unreserved characters of RFC 3986 is percent-encoded.
func escaped(_ text: String) -> String {
    var escaped = ""
    for byte in text.utf8 {
        let character = Character(UnicodeScalar(byte))
        if character.isASCII, character.isLetter || character.isNumber || "-._~".contains(character) {
            escaped.append(character)
        } else {
            escaped += "%" + Hex.encode([byte]).uppercased()
        }
    }
    return escaped
}
