package import NIOCore
import NIOSSL
import NIOTLS

/// Why a connection ended before its TLS handshake did.
package enum HandshakeFailure: String, MetricLabel {
    /// The peer has none, where the listener asks for one.
    case noCertificate = "no_certificate"
    /// Of another authority, expired, or not good yet.
    case untrustedCertificate = "untrusted_certificate"
    case plainHTTP = "plain_http"
    case oldVersion = "old_version"
    /// Not TLS, or not as the standard has it.
    case malformed
    /// The peer went away, or refused our certificate. A load balancer that looks whether a port is open goes so too.
    case abandoned

    /// It was we who said no.
    package var isRefusal: Bool { self != .abandoned }

    /// NIOSSL gives BoringSSL's reasons (err_data.c) as text alone.
    private static let words: [(word: String, failure: HandshakeFailure)] = [
        ("_ALERT_", .abandoned),
        // OpenSSL refuses our certificate by an alert in plain, where we read encrypted records already (tls_record.cc).
        ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", .abandoned),
        ("PEER_DID_NOT_RETURN_A_CERTIFICATE", .noCertificate),
        ("CERTIFICATE_VERIFY_FAILED", .untrustedCertificate), ("HTTP_REQUEST", .plainHTTP),
        ("HTTPS_PROXY_REQUEST", .plainHTTP), ("UNSUPPORTED_PROTOCOL", .oldVersion),
    ]

    init(_ error: any Error) {
        guard case NIOSSLError.handshakeFailed(.sslError(let reasons)) = error, reasons != [.eofDuringHandshake] else {
            self = .abandoned
            return
        }
        let text = reasons.map(\.description).joined(separator: " ")
        self = Self.words.first { text.contains($0.word) }?.failure ?? .malformed
    }
}

/// Tells of a connection whose TLS handshake comes to no end; leaves the pipeline once it has come to one.
///
/// `@unchecked Sendable`: a channel's handlers run on its event loop alone.
package final class HandshakeWatch: ChannelInboundHandler, RemovableChannelHandler, @unchecked Sendable {
    package typealias InboundIn = NIOAny

    private let onFailure: @Sendable (HandshakeFailure, _ address: String) -> Void
    private var isUnderWay = false

    /// - Parameter onFailure: called at most once for each connection, on its event loop.
    package init(onFailure: @escaping @Sendable (HandshakeFailure, _ address: String) -> Void) {
        self.onFailure = onFailure
    }

    package func channelActive(context: ChannelHandlerContext) {
        // A handler before this one may have turned the connection away already.
        isUnderWay = context.channel.isActive
        context.fireChannelActive()
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        context.fireUserInboundEventTriggered(event)
        guard case TLSUserEvent.handshakeCompleted? = event as? TLSUserEvent else { return }
        isUnderWay = false
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(context, HandshakeFailure(error))
        context.fireErrorCaught(error)
    }

    package func channelInactive(context: ChannelHandlerContext) {
        end(context, .abandoned)
        context.fireChannelInactive()
    }

    private func end(_ context: ChannelHandlerContext, _ failure: HandshakeFailure) {
        guard isUnderWay else { return }
        isUnderWay = false
        onFailure(failure, context.channel.remoteAddress?.ipAddress ?? "?")
    }
}
