import Synchronization

/// Speaks HTTP/1.1 over TLS 1.3 through libcurl and keeps its connections for the next request.
///
/// One thread owns every libcurl handle (TransferLoop); callers suspend. Both
/// sides are always verified, against our own authority alone. No redirect is
/// followed, no proxy, credential or cookie is taken from the surroundings, and
/// no answer is decompressed. An answer with any status is an answer: turn it
/// into an error with `requireSuccess()`, and retry with `RetryPolicy`.
package final class HTTPClient: Sendable {
    let loop: TransferLoop
    private let settings: Settings
    private let nextID = Atomic<UInt64>(0)

    package struct Settings: Sendable {
        /// To one server; more requests wait in line.
        package var maximumConnections = 8
        /// To one server; one more is an error.
        package var maximumWaiting = 10_000
        package var connectTimeout: Duration = .seconds(10)
        /// How much of a download may wait for its reader before the server is slowed down.
        package var downloadBufferBytes = 1 << 20
        package var maximumHeaderBytes = 16 << 10
        package var userAgent = "muster"
        /// Also takes servers that are not ours: with TLS 1.2, and on this very machine without TLS.
        package var takesPublicServers = false
        /// Sends nothing to this very machine, with TLS or without: for addresses that somebody else chose. The
        /// connection counts and not the name, which may lead anywhere.
        package var refusesLoopback = false

        package init() {}
    }

    package init(tls: TLSFiles, settings: Settings = Settings()) throws(TransferError) {
        precondition(settings.maximumConnections > 0, "a client needs a connection")
        self.settings = settings
        loop = try TransferLoop(tls: tls, settings: settings)
        try loop.start()
    }

    deinit { loop.stop() }

    /// Ends every request under way with `TransferError.shutDown`, and each later one too. May be called again.
    package func shutdown() { loop.stop() }

    /// Sends a request and returns the whole answer. Cancelling the task ends it at once.
    ///
    /// If a kept connection breaks before the answer begins, libcurl sends the
    /// request once more on a new one: a server may see any request twice.
    package func send(_ request: HTTPRequest) async throws(TransferError) -> HTTPResponse {
        try request.check(settings)
        let id = newID()
        let result: Result<HTTPResponse, TransferError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                loop.submit(Transfer(id: id, request: request, delivery: .whole(continuation)))
                // The handler below may have run before the line above, and found no such id.
                if Task.isCancelled { loop.cancel(id) }
            }
        } onCancel: {
            loop.cancel(id)
        }
        return try result.get()
    }

    /// Sends a request and returns as soon as the answer's head is there; its body follows as it is read.
    package func download(_ request: HTTPRequest) async throws(TransferError) -> HTTPDownload {
        try request.check(settings)
        let id = newID()
        let stream = BodyStream(
            capacityBytes: settings.downloadBufferBytes, resume: { [loop] in loop.resume(id) },
            cancel: { [loop] in loop.cancel(id) })
        let lease = HTTPDownload.Lease(client: self, stream: stream)
        loop.submit(Transfer(id: id, request: request, delivery: .stream(stream)))
        return HTTPDownload(head: try await stream.waitForHead(), lease: lease)
    }

    private func newID() -> UInt64 { nextID.wrappingAdd(1, ordering: .relaxed).newValue }
}

extension HTTPRequest {
    /// libcurl would send a line break in a header as it is, and so let data become headers.
    fileprivate func check(_ settings: HTTPClient.Settings) throws(TransferError) {
        func fail(_ detail: String) -> TransferError { .protocolFailed(server: server, code: 0, detail: detail) }
        if let connectTo, connectTo.utf8.contains(where: { $0 <= 32 || $0 == 127 }) {
            throw fail("the address to connect to holds a space")
        }
        let takesPlain = settings.takesPublicServers && !settings.refusesLoopback && isLoopback
        guard url.hasPrefix("https://") || (url.hasPrefix("http://") && takesPlain) else {
            throw fail("the address does not begin with https://")
        }
        for (name, value) in headers {
            let isToken = !name.isEmpty && name.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: ":") }
            guard isToken, value.utf8.allSatisfy({ $0 >= 32 && $0 != 127 }) else {
                throw fail("a header holds a character that headers must not hold")
            }
        }
    }

    private var isLoopback: Bool {
        // What follows the last colon is a port, but in brackets it is a part of the address.
        if server.hasSuffix("]") { return Self.isLoopback(host: server) }
        return Self.isLoopback(host: String(server.prefix(upTo: server.lastIndex(of: ":") ?? server.endIndex)))
    }

    /// Whether the URL's host is this machine, as below.
    package static func isLoopback(url: String) -> Bool { HTTPRequest(.get, url).isLoopback }

    /// Whether a host is this machine whatever a name server says: libcurl itself takes `localhost` and what ends in
    /// `.localhost` for it (RFC 6761, section 6.3).
    package static func isLoopback(host: String) -> Bool {
        host == "127.0.0.1" || host == "[::1]" || host == "localhost" || host.hasSuffix(".localhost")
    }
}
