import CCrypto
package import MusterModel

package enum SigningKeyKind {}
/// SHA-256 of an Ed25519 public key: its short public name.
package typealias SigningKeyID = Digest<SigningKeyKind>

/// What a signature is about, so that a receipt's can never pass as a manifest's.
package enum SignatureDomain: String, Sendable, CaseIterable {
    case manifest = "muster/1/manifest"
    case receipt = "muster/1/receipt"
    case keys = "muster/1/keys"
    case sealedRecord = "muster/1/sealed"
    /// A node's request to renew its certificate, proven by the key that signs its manifests.
    case renewal = "muster/1/renewal"
    /// A node's word for the key that grants are sealed to.
    case grantKey = "muster/1/grant-key"

    /// What is signed: the domain's name, a zero byte, the message.
    func message(_ bytes: some Sequence<UInt8>) -> [UInt8] { Array(rawValue.utf8) + [0] + bytes }
}

/// An Ed25519 private key (RFC 8032).
package struct SigningKey: Sendable {
    /// The 32 bytes to keep: RFC 8032 calls them the private key, others the seed.
    package let privateBytes: [UInt8]
    package let verifyingKey: VerifyingKey

    /// - Returns: nil unless `privateBytes` are exactly 32.
    package init?(privateBytes: [UInt8]) {
        guard privateBytes.count == 32 else { return nil }
        self.privateBytes = privateBytes
        let key = CryptoKey(privateBytes: privateBytes, type: EVP_PKEY_ED25519)
        guard let verifyingKey = VerifyingKey(bytes: key.publicBytes()) else { return nil }
        self.verifyingKey = verifyingKey
    }

    package init(from random: RandomSource) {
        guard let key = Self(privateBytes: random.bytes(32)) else { preconditionFailure("any 32 bytes are a key") }
        self = key
    }

    /// - Returns: the 64 bytes of the signature.
    package func sign(_ bytes: some Sequence<UInt8>, as domain: SignatureDomain) -> [UInt8] {
        CryptoKey(privateBytes: privateBytes, type: EVP_PKEY_ED25519).sign(domain.message(bytes))
    }
}

/// An Ed25519 public key.
package struct VerifyingKey: Sendable, Hashable {
    package static let signatureBytes = 64
    package let bytes: [UInt8]

    /// - Returns: nil unless `bytes` are exactly 32.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 32 else { return nil }
        self.bytes = Array(bytes)
    }

    package var id: SigningKeyID { SHA256Hasher.hash(bytes) }

    package func accepts(
        _ signature: some Collection<UInt8>, of bytes: some Sequence<UInt8>, as domain: SignatureDomain
    ) -> Bool {
        guard signature.count == Self.signatureBytes,
            let key = CryptoKey(publicBytes: self.bytes, type: EVP_PKEY_ED25519)
        else { return false }
        return key.verify(Array(signature), of: domain.message(bytes))
    }
}
