/// Whom a client trusts and who it says it is, each as the path of a PEM file or as PEM text.
package struct TLSFiles: Hashable, Sendable {
    /// The only certificate authority trusted; the system's own are never asked.
    package let authority: String
    package let identity: Identity?

    /// Where Debian's package ca-certificates has whom this machine trusts.
    package static let machine = "/etc/ssl/certs/ca-certificates.crt"

    /// A client certificate and its private key.
    package struct Identity: Hashable, Sendable {
        package let certificate: String
        package let key: String

        package init(certificate: String, key: String) { (self.certificate, self.key) = (certificate, key) }
    }

    package init(authority: String, identity: Identity? = nil) {
        (self.authority, self.identity) = (authority, identity)
    }
}
