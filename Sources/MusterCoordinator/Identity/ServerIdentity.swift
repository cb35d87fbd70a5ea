import Crypto
import Foundation
import MusterModel
import SwiftASN1
import X509

/// The listeners' certificate and key.
struct ServerIdentity: Sendable {
    /// A certificate with less than this left is replaced at the next start: half of its year, so that a
    /// coordinator that is started twice a year never sees it run out.
    private static let renewalMargin = Duration.seconds(182 * 86_400)

    let certificatePEM: String
    let keyPEM: String

    /// nil where the certificate cannot be read, and so no listener starts with it.
    var notAfter: Timestamp? { (try? Certificate(pemEncoded: certificatePEM)).map { Timestamp($0.notValidAfter) } }

    /// Reads the pair in the directory, or makes a new one where it runs out, or names changed.
    static func current(
        in directory: CoordinatorDirectory, settings: CoordinatorSettings, authority: Authority,
        random: RandomSource, now: Timestamp
    ) throws -> ServerIdentity {
        // Anything that cannot be read is replaced: the pair proves nothing but names, and the authority is at hand.
        if let certificatePEM = try? PrivateFile.readText(directory.server),
            let keyPEM = try? PrivateFile.readText(directory.serverKey),
            isGood(certificatePEM, keyPEM, names: settings.serverNames, authority: authority, now: now)
        {
            return ServerIdentity(certificatePEM: certificatePEM, keyPEM: keyPEM)
        }
        let key = try Authority.drawKey(random)
        let issued = try authority.issueServer(key: key, names: settings.serverNames, random: random, now: now)
        try PrivateFile.write(key.pemRepresentation, to: directory.serverKey)
        try PrivateFile.write(issued.pem, to: directory.server)
        return ServerIdentity(certificatePEM: issued.pem, keyPEM: key.pemRepresentation)
    }

    private static func isGood(
        _ certificatePEM: String, _ keyPEM: String, names: [String], authority: Authority, now: Timestamp
    ) -> Bool {
        // Parsing failures mean the same as a wrong pair: make a new one.
        guard let certificate = try? Certificate(pemEncoded: certificatePEM),
            let key = try? P256.Signing.PrivateKey(pemRepresentation: keyPEM),
            let alternatives = try? certificate.extensions.subjectAlternativeNames
        else { return false }
        return certificate.publicKey == Certificate.PublicKey(key.publicKey)
            && certificate.issuer == authority.certificate.subject
            && authority.certificate.publicKey.isValidSignature(certificate.signature, for: certificate)
            && certificate.notValidBefore <= now.date && (now + renewalMargin).date < certificate.notValidAfter
            && alternatives.elementsEqual(names.map(Authority.alternative))
    }
}
