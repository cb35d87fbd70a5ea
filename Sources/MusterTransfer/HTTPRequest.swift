/// One HTTP request over TLS.
package struct HTTPRequest: Sendable {
    package var method: Method
    /// `https://` only; anything else is refused before a socket is opened.
    package var url: String
    package var headers: [String: String]
    package var body: RequestBody
    /// From the moment a connection is free for it to the last byte; nil leaves it to `stallTimeout`.
    package var timeout: Duration?
    /// Gives up when less than `leastBytesPerSecond` moved for this long; counted in whole seconds, at least 1.
    /// For a long poll it must be longer than the server holds the answer.
    package var stallTimeout: Duration
    /// What a server must take or send; 1 where only silence counts.
    package var leastBytesPerSecond = 1
    /// A longer answer is an error, never cut.
    package var maximumResponseBytes: Int
    package var maximumSendBytesPerSecond: Int?
    /// Called on the client's own thread with the bytes given to the network so far; must return at once.
    /// The count falls when a broken connection makes the body start again.
    package var onBytesSent: (@Sendable (Int) -> Void)?
    /// Where the connection goes, as HOST:PORT, instead of to the URL's host: that one is then only the name that the
    /// server's certificate must hold.
    package var connectTo: String?

    package enum Method: String, Sendable, CaseIterable {
        case get = "GET"
        case head = "HEAD"
        case put = "PUT"
        case post = "POST"
        case delete = "DELETE"
    }

    package init(
        _ method: Method = .get, _ url: String, headers: [String: String] = [:], body: RequestBody = .none,
        timeout: Duration? = .seconds(60), stallTimeout: Duration = .seconds(30),
        maximumResponseBytes: Int = 8 << 20, maximumSendBytesPerSecond: Int? = nil,
        onBytesSent: (@Sendable (Int) -> Void)? = nil
    ) {
        (self.method, self.url, self.headers, self.body) = (method, url, headers, body)
        (self.timeout, self.stallTimeout) = (timeout, stallTimeout)
        (self.maximumResponseBytes, self.maximumSendBytesPerSecond) = (maximumResponseBytes, maximumSendBytesPerSecond)
        self.onBytesSent = onBytesSent
    }

    /// What a server that takes a whole pack must keep up with: one that sips at it would hold up all that waits behind
    /// it. The coordinator itself wants four times as much of us, and a limit of our own asks less of both.
    ///
    /// - Parameter limit: `maximumSendBytesPerSecond`.
    package static func leastUploadBytesPerSecond(under limit: Int?) -> Int {
        max(1, min(16 << 10, (limit ?? .max) / 4))
    }

    /// Host and port, for queues and for error messages: a path or query may hold secrets.
    var server: String {
        guard let start = url.firstRange(of: "://")?.upperBound else { return String(url.prefix { $0 != "?" }) }
        let authority = url[start...].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        return String(authority.split(separator: "@", omittingEmptySubsequences: false).last ?? authority)
    }
}

/// What a request carries; the bytes are read in place while they are sent.
package enum RequestBody: Sendable {
    case none
    case bytes([UInt8])
    /// For what is too large to be in memory.
    case source(RequestSource)

    var byteCount: Int {
        switch self {
        case .none: 0
        case .bytes(let bytes): bytes.count
        case .source(let source): source.byteCount
        }
    }
}

/// A body that is read piece by piece, some pieces more than once where a broken connection makes it start again.
package struct RequestSource: Sendable {
    package let byteCount: Int
    let read: @Sendable (Range<Int>) -> [UInt8]?

    /// - Parameter read: called on the client's own thread, for at most 512 KiB; must be quick. Gives the range's
    ///   bytes, or nil if they cannot be had, which ends the request.
    package init(byteCount: Int, read: @escaping @Sendable (Range<Int>) -> [UInt8]?) {
        (self.byteCount, self.read) = (byteCount, read)
    }
}
