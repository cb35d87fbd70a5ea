import MusterModel
package import MusterTransfer

/// Puts objects under addresses that a coordinator signed; it has no credentials.
///
/// The server's certificate is always checked. Plain HTTP goes to this very machine only, and nothing goes there where
/// the one who makes the addresses is elsewhere: it must not make us write to services of our own.
package final class SignedPutSender: Sendable {
    /// What a server made of a put.
    package enum Outcome: Hashable, Sendable {
        /// It has the object; or it has one of that name, which may be ours where an answer was lost.
        case put, taken
        /// The address counts no longer, or not for this.
        case refused(reason: String)
    }

    private static let attempts = 2
    private static let maximumAnswerBytes = 64 << 10
    /// The only ones that an address may ask for: whoever makes addresses up must not make us say anything else.
    private static let allowedHeaders: Set<String> = ["if-none-match", "x-amz-checksum-sha256"]

    private let http: HTTPClient

    /// - Parameter authority: in PEM; nil for whom this machine trusts.
    /// - Parameter takesLoopback: whether the coordinator may name servers of this very machine.
    package init(authority: String?, takesLoopback: Bool, connectTimeout: Duration) throws(TransferError) {
        var settings = HTTPClient.Settings()
        settings.takesPublicServers = true
        settings.refusesLoopback = !takesLoopback
        settings.connectTimeout = connectTimeout
        http = try HTTPClient(tls: S3Access.tls(authority), settings: settings)
    }

    package func shutdown() { http.shutdown() }

    /// Sends all bytes, once more where the connection broke.
    ///
    /// - Throws: `TransferError` where there was no answer.
    package func put(
        _ bytes: [UInt8], to place: SignedPut, maximumSendBytesPerSecond: Int? = nil, stallTimeout: Duration,
        onBytesSent: (@Sendable (Int) -> Void)? = nil
    ) async throws(TransferError) -> Outcome {
        guard Set(place.headers.keys).isSubset(of: Self.allowedHeaders) else {
            return .refused(reason: "the address asks for headers that no upload needs")
        }
        var request = HTTPRequest(
            .put, place.url, headers: place.headers, body: .bytes(bytes), timeout: nil, stallTimeout: stallTimeout,
            maximumResponseBytes: Self.maximumAnswerBytes, maximumSendBytesPerSecond: maximumSendBytesPerSecond,
            onBytesSent: onBytesSent)
        request.leastBytesPerSecond = HTTPRequest.leastUploadBytesPerSecond(under: maximumSendBytesPerSecond)
        for attempt in 1... {
            do {
                let answer = try await http.send(request)
                switch answer.status {
                case 200: return .put
                case 412: return .taken
                case 500, 502, 503, 504: if attempt < Self.attempts { continue }
                default: break
                }
                return .refused(reason: answer.refusal)
            } catch {
                guard attempt < Self.attempts, case .unreachable(_, .connectionLost, _) = error else { throw error }
            }
        }
        return .refused(reason: "it was not tried")
    }
}
