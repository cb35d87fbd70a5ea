import MusterModel

/// Why a request got no whole answer.
package enum TransferError: ActionableError, Equatable {
    /// The network or the server: may work later.
    case unreachable(server: String, Obstacle, detail: String)
    /// One side did not accept the other: a person must look.
    case tls(server: String, TLSFault, detail: String)
    /// The answer was larger than the caller allowed.
    case tooLarge(server: String, limitBytes: Int)
    /// The request was refused before it was sent, or the peer does not speak as it should.
    case protocolFailed(server: String, code: Int, detail: String)
    /// More requests wait in line than the client allows.
    case overloaded(server: String, waiting: Int)
    /// This process got no thread, no memory or no open file from the system.
    case exhausted(detail: String)
    case cancelled(server: String)
    case shutDown(server: String)

    package enum Obstacle: String, Sendable, CaseIterable {
        case nameNotResolved = "its name does not resolve"
        case refused = "no connection could be made"
        case timedOut = "it did not answer in time"
        case connectionLost = "the connection broke"
    }

    package enum TLSFault: String, Sendable, CaseIterable {
        case serverNotTrusted = "its certificate is not one that our certificate authority gave to this name"
        case serverCertificateExpired = "its certificate has expired or is not valid yet"
        case clientCertificateRefused = "it refused our certificate"
        case clientCertificateExpired = "it says that our certificate has expired"
        case filesUnusable = "our certificate, key or authority file cannot be used"
        case handshakeFailed = "no TLS 1.3 connection could be agreed"
    }

    package var summary: String {
        switch self {
        case .unreachable(let server, let obstacle, let detail):
            "server \(server) cannot be reached: \(obstacle.rawValue)\(parenthesized(detail))"
        case .tls(let server, let fault, let detail):
            "no secure connection to server \(server): \(fault.rawValue)\(parenthesized(detail))"
        case .tooLarge(let server, let limitBytes):
            "server \(server) sent an answer larger than the \(limitBytes) bytes allowed"
        case .protocolFailed(let server, let code, let detail):
            "request to server \(server) failed with libcurl error \(code)\(parenthesized(detail))"
        case .overloaded(let server, let waiting):
            "\(waiting) requests already wait for server \(server)"
        case .exhausted(let detail): "the HTTPS client cannot work\(parenthesized(detail))"
        case .cancelled(let server): "request to server \(server) was cancelled"
        case .shutDown(let server): "request to server \(server) was dropped because this process is stopping"
        }
    }

    package var hint: String {
        switch self {
        case .unreachable(_, .nameNotResolved, _): "Check the server's name and this machine's name resolution."
        case .unreachable(_, .refused, _): "Check that the server runs, and that its address and port are right."
        // A server that refuses our certificate may cut the connection before its reason has arrived.
        case .unreachable(_, .connectionLost, _):
            "It is tried again; if this repeats, check the network, and that this certificate was not revoked."
        case .unreachable: "It is tried again; check the network and the server's load if this repeats."
        case .tls(_, let fault, _): fault.hint
        case .tooLarge: "Check that the address belongs to the server you mean and that both run the same version."
        case .protocolFailed: "Check the server's address, which must begin with https://, and its log."
        case .overloaded: "Wait until some of them are done, or run fewer at once."
        case .exhausted: "Raise this process's limits of open files and of threads, or stop what uses them up."
        case .cancelled: "Start it again if it is still wanted."
        case .shutDown: "Nothing is to be done: it is taken up again at the next start."
        }
    }

    package var isTransient: Bool {
        switch self {
        case .unreachable, .overloaded, .exhausted: true
        case .tls, .tooLarge, .protocolFailed, .cancelled, .shutDown: false
        }
    }

    private func parenthesized(_ detail: String) -> String { detail.isEmpty ? "" : " (\(detail))" }
}

extension TransferError.TLSFault {
    fileprivate var hint: String {
        switch self {
        case .serverNotTrusted:
            "Check that this is the server that you joined, and that its name is in its certificate."
        case .serverCertificateExpired: "Renew the server's certificate and check the clocks of both machines."
        case .clientCertificateRefused: "Join again with a new token; this certificate may have been revoked."
        case .clientCertificateExpired: "Renew the certificate, and check the clocks of both machines."
        case .filesUnusable: "Check that the files exist, belong together and can be read by this user."
        case .handshakeFailed: "Check that the server offers TLS 1.3 and that nothing stands between."
        }
    }
}
