package import MusterModel

/// An error that knows how long its server wants to be left alone.
package protocol RetryAfterError: ActionableError {
    var retryAfter: Duration? { get }
}

/// An answer that is not a success.
package struct HTTPStatusError: RetryAfterError, Equatable {
    package let server: String
    package let status: Int
    package let retryAfter: Duration?
    /// The start of the answer's text, for a person.
    package let excerpt: String

    package init(server: String, status: Int, retryAfter: Duration? = nil, excerpt: String = "") {
        (self.server, self.status, self.retryAfter, self.excerpt) = (server, status, retryAfter, excerpt)
    }

    package var summary: String {
        "server \(server) answered with status \(status)\(excerpt.isEmpty ? "" : ": \(excerpt)")"
    }

    package var hint: String {
        switch status {
        case 300...399: "Use the address that it names; redirects are not followed."
        case 401, 403: "Check that this certificate's role may do this."
        case 404: "Check the name, and that the address belongs to the server you mean."
        case 507: "Free space at the server, or raise this node's quota."
        default:
            isTransient ? "It is tried again; look at the server's log if this repeats." : "Look at the server's log."
        }
    }

    package var isTransient: Bool { Self.isTransient(status: status) }

    /// Timeouts, throttling and most server faults pass; a missing feature (501, 505) and a full disk (507) do not.
    package static func isTransient(status: Int) -> Bool {
        switch status {
        case 408, 429: true
        case 501, 505, 507: false
        default: (500...599).contains(status)
        }
    }
}

extension HTTPResponse {
    /// - Parameter server: names it in the error.
    /// - Returns: itself, if the status is 200 to 299.
    package func requireSuccess(from server: String) throws(HTTPStatusError) -> HTTPResponse {
        guard !head.isSuccess else { return self }
        let text = String(decoding: body.prefix(200), as: UTF8.self)
        let isPlain = { (scalar: Unicode.Scalar) in scalar.value >= 32 && scalar.value != 127 }
        throw HTTPStatusError(
            server: server, status: status, retryAfter: head.retryAfter,
            excerpt: String(String.UnicodeScalarView(text.unicodeScalars.filter(isPlain))))
    }
}
