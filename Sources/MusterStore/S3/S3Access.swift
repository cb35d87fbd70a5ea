import MusterTransfer

/// What a server that speaks S3 is reached with.
package struct S3Access: Codable, Hashable, Sendable {
    package let credentials: S3Credentials
    /// Who must certify it, in PEM; nil for whom this machine trusts. Not looked at over plain loopback.
    package let authority: String?

    package init(credentials: S3Credentials, authority: String? = nil) {
        (self.credentials, self.authority) = (credentials, authority)
    }

    var tls: TLSFiles { Self.tls(authority) }

    /// - Parameter authority: in PEM; nil for whom this machine trusts.
    static func tls(_ authority: String?) -> TLSFiles { TLSFiles(authority: authority ?? TLSFiles.machine) }
}
