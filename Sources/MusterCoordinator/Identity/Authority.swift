import Crypto
import Foundation
import MusterFormat
package import MusterModel
import MusterStore
import SwiftASN1
package import X509

/// A certificate that the authority signed.
package struct IssuedCertificate: Sendable {
    package let pem: String
    package let fingerprint: CertificateFingerprint
    package let notAfter: Timestamp
}

/// The fleet's private certificate authority: every certificate of both planes is signed by it, and no other is trusted.
package struct Authority: Sendable {
    private static let authorityLifetime = Duration.seconds(3650 * 86_400)
    package static let serverLifetime = Duration.seconds(365 * 86_400)
    package static let adminLifetime = Duration.seconds(365 * 86_400)
    package static let nodeLifetime = Duration.seconds(30 * 86_400)
    /// Certificates count from a little earlier, for peers whose clock is behind.
    private static let clockAllowance = Duration.seconds(3600)

    let certificate: Certificate
    private let key: P256.Signing.PrivateKey

    package var certificatePEM: String {
        get throws { try certificate.serializeAsPEM().pemString }
    }
    var notAfter: Timestamp { Timestamp(certificate.notValidAfter) }
    var keyPEM: String { key.pemRepresentation }
    /// What is sealed to the recovery key.
    var keyBytes: [UInt8] { Array(key.rawRepresentation) }

    package init(certificatePEM: String, keyPEM: String) throws {
        certificate = try Certificate(pemEncoded: certificatePEM)
        key = try P256.Signing.PrivateKey(pemRepresentation: keyPEM)
        guard certificate.publicKey == Certificate.PublicKey(key.publicKey) else {
            throw CoordinatorSetupError.fileFailed(path: "authority-key.pem", reason: "it is not the certificate's key")
        }
    }

    private init(certificate: Certificate, key: P256.Signing.PrivateKey) {
        (self.certificate, self.key) = (certificate, key)
    }

    static func make(random: RandomSource, now: Timestamp) throws -> Authority {
        let key = try drawKey(random)
        let name = try DistinguishedName {
            OrganizationName("Muster")
            CommonName("Muster authority \(Hex.encode(random.bytes(4)))")
        }
        let publicKey = Certificate.PublicKey(key.publicKey)
        let certificate = try Certificate(
            version: .v3, serialNumber: serialNumber(random), publicKey: publicKey,
            notValidBefore: (now - .seconds(86_400)).date, notValidAfter: (now + authorityLifetime).date, issuer: name,
            subject: name, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: publicKey)
            },
            issuerPrivateKey: Certificate.PrivateKey(key))
        return Authority(certificate: certificate, key: key)
    }

    static func drawKey(_ random: RandomSource) throws -> P256.Signing.PrivateKey {
        // All but one in 2^32 draws are below the order of the group.
        for _ in 0..<8 {
            if let key = try? P256.Signing.PrivateKey(rawRepresentation: random.bytes(32)) { return key }
        }
        throw CoordinatorSetupError.fileFailed(path: "key", reason: "the random source gives no usable key")
    }

    /// A certificate for the listeners.
    ///
    /// - Parameter names: DNS names and IP addresses.
    func issueServer(
        key: P256.Signing.PrivateKey, names: [String], random: RandomSource, now: Timestamp
    ) throws -> IssuedCertificate {
        try issue(
            publicKey: Certificate.PublicKey(key.publicKey), commonName: names.first ?? "coordinator",
            usages: [.serverAuth], alternatives: names.map(Self.alternative), lifetime: Self.serverLifetime,
            random: random, now: now)
    }

    /// A certificate for a node, whose key the authority never sees.
    ///
    /// Nothing of the request but its key is used: what a peer wrote into it means nothing here, so that no node can
    /// get another's name or the coordinator's mark. Its name makes it a server too, for the stores on nodes: no
    /// coordinator is reached by a name of that form.
    package func issueNode(
        request pem: String, node: NodeID, random: RandomSource, now: Timestamp
    ) throws -> IssuedCertificate {
        let request = try CertificateSigningRequest(pemEncoded: pem)
        guard request.publicKey.isValidSignature(request.signature, for: request) else {
            throw CertificateRequestError.notSignedByItsKey
        }
        return try issue(
            publicKey: request.publicKey, commonName: node.description, usages: [.clientAuth, .serverAuth],
            alternatives: [.dnsName(NodeStoreWire.hostName(of: node))], lifetime: Self.nodeLifetime, random: random,
            now: now)
    }

    /// A certificate for the admin plane; of the request nothing but its key is used.
    func issuePerson(
        request pem: String, name: String, random: RandomSource, now: Timestamp
    ) throws -> IssuedCertificate {
        let request = try CertificateSigningRequest(pemEncoded: pem)
        guard request.publicKey.isValidSignature(request.signature, for: request) else {
            throw CertificateRequestError.notSignedByItsKey
        }
        return try issueClient(
            publicKey: request.publicKey, commonName: name, lifetime: Self.adminLifetime, random: random, now: now)
    }

    /// The coordinator's own certificate towards the stores on nodes, which know it by the mark in it.
    package func issueCoordinator(
        publicKey: Certificate.PublicKey, lifetime: Duration = serverLifetime, random: RandomSource, now: Timestamp
    ) throws -> IssuedCertificate {
        try issue(
            publicKey: publicKey, commonName: "coordinator", usages: [.clientAuth],
            alternatives: [.uniformResourceIdentifier(NodeStoreWire.coordinatorMark)], lifetime: lifetime,
            random: random, now: now)
    }

    package func issueClient(
        publicKey: Certificate.PublicKey, commonName: String, lifetime: Duration, random: RandomSource, now: Timestamp
    ) throws -> IssuedCertificate {
        try issue(
            publicKey: publicKey, commonName: commonName, usages: [.clientAuth], alternatives: [], lifetime: lifetime,
            random: random, now: now)
    }

    private func issue(
        publicKey: Certificate.PublicKey, commonName: String, usages: [ExtendedKeyUsage.Usage],
        alternatives: [GeneralName], lifetime: Duration, random: RandomSource, now: Timestamp
    ) throws -> IssuedCertificate {
        let notAfter = now + lifetime
        let certificate = try Certificate(
            version: .v3, serialNumber: Self.serialNumber(random), publicKey: publicKey,
            notValidBefore: (now - Self.clockAllowance).date, notValidAfter: notAfter.date,
            issuer: self.certificate.subject,
            subject: try DistinguishedName {
                OrganizationName("Muster")
                CommonName(commonName)
            },
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage(usages)
                if !alternatives.isEmpty { SubjectAlternativeNames(alternatives) }
                AuthorityKeyIdentifier(
                    keyIdentifier: SubjectKeyIdentifier(hash: self.certificate.publicKey).keyIdentifier)
            },
            issuerPrivateKey: Certificate.PrivateKey(key))
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return IssuedCertificate(
            pem: try certificate.serializeAsPEM().pemString,
            fingerprint: SHA256Hasher.hash(serializer.serializedBytes), notAfter: notAfter)
    }

    private static func serialNumber(_ random: RandomSource) -> Certificate.SerialNumber {
        // RFC 5280 4.1.2.2: positive and at most 20 bytes.
        var bytes = random.bytes(16)
        bytes[0] = bytes[0] & 0x7f | 0x40
        return Certificate.SerialNumber(bytes: bytes)
    }

    static func alternative(_ name: String) -> GeneralName {
        if let address = IPAddress.bytes(name) {
            .ipAddress(ASN1OctetString(contentBytes: address[...]))
        } else {
            .dnsName(name)
        }
    }
}

enum CertificateRequestError: Error {
    case notSignedByItsKey
}

extension Timestamp {
    /// For X.509 only, which takes whole seconds.
    var date: Date { Date(timeIntervalSince1970: Double(microseconds / 1_000_000)) }
}
