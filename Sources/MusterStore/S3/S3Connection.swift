import Crypto
import MusterModel
import MusterTransfer
import Synchronization

/// One request, before it is signed: each attempt is signed anew, with its own time.
struct S3Request: Sendable {
    static let hashOfNothing = Hex.encode(SHA256.hash(data: [UInt8]()))

    var method: HTTPRequest.Method
    /// nil for the bucket itself.
    var key: String?
    var query: [(name: String, value: String)] = []
    var headers: [String: String] = [:]
    var payloadHash = Self.hashOfNothing
    var body = RequestBody.none
    var maximumResponseBytes = 0
}

/// Sends signed requests to one bucket, again where that may help, and says what its answers mean.
final class S3Connection: Sendable {
    /// For the text of a refusal, which may be longer than what was asked for.
    static let maximumTextBytes = 64 << 10

    let store: String
    let address: S3Address
    /// Who must certify the server, in PEM; nil for whom this machine trusts.
    let authority: String?
    private let signer: RequestSigner
    private let http: HTTPClient
    private let retry: StoreRetry
    private let clock: any WallClock

    /// - Parameter clock: whose time the signatures hold.
    init(
        store: String, address: S3Address, access: S3Access, retry: StoreRetry, clock: any WallClock,
        settings: HTTPClient.Settings
    ) throws(StoreError) {
        (self.store, self.address, self.retry, self.clock) = (store, address, retry, clock)
        authority = access.authority
        signer = RequestSigner(credentials: access.credentials, region: address.region)
        var settings = settings
        settings.takesPublicServers = true
        do {
            http = try HTTPClient(tls: access.tls, settings: settings)
        } catch {
            throw .unavailable(store: store, reason: error.summary)
        }
    }

    func key(of name: ObjectName) -> String { address.key(of: name) }

    /// - Returns: an answer that trying again would not change.
    func ask(
        _ request: S3Request, about object: ObjectName? = nil, _ attempts: Attempts = Attempts()
    ) async throws(StoreError) -> HTTPResponse {
        try await retry.run(store: store, object: object) {
            attempts.begin()
            let answer = try await http.send(signed(request))
            guard !answer.isPassing else {
                throw HTTPStatusError(
                    server: address.server.authority, status: 503, retryAfter: answer.head.retryAfter,
                    excerpt: answer.refusal)
            }
            return answer
        }
    }

    /// Sends a request once, to an address that was signed before, as somebody without credentials would.
    func send(_ body: [UInt8], to place: SignedPut) async throws(StoreError) -> HTTPResponse {
        do {
            return try await http.send(
                HTTPRequest(
                    .put, place.url, headers: place.headers, body: .bytes(body), timeout: nil,
                    stallTimeout: retry.stallTimeout, maximumResponseBytes: Self.maximumTextBytes))
        } catch {
            throw StoreError(error, store: store)
        }
    }

    /// - Parameter age: how long ago the address counts as signed.
    /// - Returns: path and query of an address under which anybody may do this until its time is over; and when it is.
    func presign(
        _ request: S3Request, lifetime: Duration, age: Duration = .zero
    ) -> (path: String, expiresAt: Timestamp) {
        let at = clock.now() - age
        return (signer.presign(subject(request), lifetime: lifetime, at: at), at + lifetime)
    }

    /// By the clock that its retries go by.
    func pause(_ span: Duration) async throws { try await retry.clock.sleep(for: span) }

    private func signed(_ request: S3Request) -> HTTPRequest {
        let (path, headers) = signer.sign(subject(request), at: clock.now())
        return plain(request, path: path, headers: headers)
    }

    private func plain(_ request: S3Request, path: String, headers: [String: String]) -> HTTPRequest {
        HTTPRequest(
            request.method, "\(address.server)\(path)", headers: headers, body: request.body, timeout: nil,
            stallTimeout: retry.stallTimeout,
            // An answer to HEAD has the length of a body, but none.
            maximumResponseBytes: request.method == .head
                ? .max : max(request.maximumResponseBytes, Self.maximumTextBytes))
    }

    private func subject(_ request: S3Request) -> RequestSigner.Subject {
        RequestSigner.Subject(
            method: request.method.rawValue, host: address.server.authority, path: address.path(of: request.key),
            query: request.query, headers: request.headers, payloadHash: request.payloadHash)
    }

    /// - Throws: what the answer means, if its status is none of these.
    func require(_ statuses: Int..., of answer: HTTPResponse, about object: ObjectName? = nil) throws(StoreError) {
        guard !statuses.contains(answer.status) else { return }
        let code = answer.errorCode
        switch (answer.status, object) {
        case (404, _) where code == "NoSuchBucket":
            throw .unavailable(store: store, reason: "\(address.server) has no bucket '\(address.bucket)'")
        case (404, let object?): throw .notFound(store: store, object: object)
        case (412, let object?): throw .alreadyExists(store: store, object: object)
        case (507, _): throw .full(store: store)
        case (_, _) where ["QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"].contains(code):
            throw .full(store: store)
        case (_, _) where code == "RequestTimeTooSkewed":
            throw .unavailable(
                store: store, reason: "its clock and this machine's are more than a quarter of an hour apart")
        case (401, _), (403, _), (301, _), (307, _):
            throw .unavailable(
                store: store,
                reason: "\(address.server) answered \(answer.refusal): check credentials, region and bucket policy")
        default:
            throw .refused(
                store: store, object: object?.description ?? "", reason: answer.refusal,
                hint: "Look at the log of \(address.server), and run 'muster store probe' to see what it can do.")
        }
    }

    /// The same of an answer to a write. A server that lets us read all the same is there.
    func requireWritten(_ answer: HTTPResponse, about object: ObjectName) throws(StoreError) {
        if answer.status == 403, answer.errorCode == "AccessDenied" {
            throw .refused(
                store: store, object: object.description, reason: answer.refusal,
                hint: "Allow these credentials to put objects into bucket '\(address.bucket)' of \(address.server).")
        }
        try require(200, of: answer, about: object)
    }

    func unreadable(_ answer: HTTPResponse, about object: ObjectName? = nil) -> StoreError {
        .refused(
            store: store, object: object?.description ?? "", reason: "its answer \(answer.status) cannot be read",
            hint: "Check that \(address.server) speaks S3, and nothing stands between.")
    }
}

extension HTTPResponse {
    /// The word that S3 has for the error, such as `NoSuchKey`; nil where it gave none.
    fileprivate var errorCode: String? { XMLText(body).first("Error")?.first("Code")?.string }

    /// What the server said, for people.
    var refusal: String {
        let error = XMLText(body).first("Error")
        let words = [errorCode, error?.first("Message")?.string].compactMap { $0 }.joined(separator: ": ")
        let plain = words.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 }.prefix(300)
        return "status \(status)" + (words.isEmpty ? "" : " (\(String(String.UnicodeScalarView(plain))))")
    }

    /// The same request may succeed a moment later. Of two writers of one name Amazon may tell both to try again.
    fileprivate var isPassing: Bool {
        switch status {
        case 408, 429, 500, 502, 503, 504: true
        case 400, 409: ["RequestTimeout", "ConditionalRequestConflict", "OperationAborted"].contains(errorCode)
        // Errors may come late, in an answer that began well (CompleteMultipartUpload).
        case 200: ["InternalError", "SlowDown", "ServiceUnavailable"].contains(errorCode)
        default: false
        }
    }
}
