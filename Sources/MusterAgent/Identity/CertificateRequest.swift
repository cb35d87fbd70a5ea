import Crypto
import Foundation
import MusterModel
import SwiftASN1
import X509

/// A fresh TLS key and the request (PKCS #10) for its certificate.
package struct CertificateRequest {
    /// PEM.
    package let privateKey: String
    /// PEM.
    package let request: String

    init(for node: NodeID) throws { try self.init(name: node.description) }

    /// - Parameter name: for whoever reads the request; the coordinator says whose certificate it becomes.
    package init(name: String) throws {
        // P-256: both OpenSSL under libcurl and BoringSSL under the server take it for TLS 1.3.
        let key = P256.Signing.PrivateKey()
        let subject = try DistinguishedName { CommonName(name) }
        let request = try CertificateSigningRequest(
            version: .v1, subject: subject, privateKey: Certificate.PrivateKey(key),
            attributes: CertificateSigningRequest.Attributes(), signatureAlgorithm: .ecdsaWithSHA256)
        privateKey = key.pemRepresentation + "\n"
        self.request = try request.serializeAsPEM().pemString
    }
}

/// When a certificate begins and ends.
struct CertificateLife {
    let notBefore: Timestamp
    let notAfter: Timestamp

    init(pem: String) throws {
        let certificate = try Certificate(pemEncoded: pem)
        func moment(_ date: Double) -> Timestamp { Timestamp(microseconds: Int64(date * 1_000_000)) }
        notBefore = moment(certificate.notValidBefore.timeIntervalSince1970)
        notAfter = moment(certificate.notValidAfter.timeIntervalSince1970)
    }

    /// A certificate is renewed once half its life is over.
    func isDueForRenewal(at now: Timestamp) -> Bool {
        now.microseconds >= notBefore.microseconds / 2 + notAfter.microseconds / 2
    }
}
