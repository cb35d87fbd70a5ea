import CCrypto
package import MusterModel

/// The key that the operator takes offline; it opens what was sealed to its public half (X25519).
package struct RecoveryKey: Sendable {
    package let privateBytes: [UInt8]
    package let publicKey: RecoveryPublicKey

    /// - Returns: nil unless `privateBytes` are exactly 32.
    package init?(privateBytes: [UInt8]) {
        guard privateBytes.count == 32 else { return nil }
        self.privateBytes = privateBytes
        let key = CryptoKey(privateBytes: privateBytes, type: EVP_PKEY_X25519)
        guard let publicKey = RecoveryPublicKey(bytes: key.publicBytes()) else { return nil }
        self.publicKey = publicKey
    }

    package init(from random: RandomSource) {
        guard let key = Self(privateBytes: random.bytes(32)) else { preconditionFailure("any 32 bytes are a key") }
        self = key
    }

    /// Opens what was sealed to this key for the same purpose.
    ///
    /// - Throws: `FormatError`, `sealBroken` where the bytes, the key or the purpose are others.
    package func open(_ sealed: [UInt8], purpose: [UInt8], object: String) throws(FormatError) -> [UInt8] {
        let overhead = RecoveryPublicKey.overheadBytes
        guard sealed.count >= overhead, sealed.count <= Format.maximumSealedRecordBytes else {
            throw .malformed(object, "a sealed secret of \(sealed.count) bytes")
        }
        let ephemeral = Array(sealed.prefix(32))
        let key = CryptoKey(privateBytes: privateBytes, type: EVP_PKEY_X25519)
        guard let peer = CryptoKey(publicBytes: ephemeral, type: EVP_PKEY_X25519),
            let shared = key.sharedSecret(with: peer)
        else { throw FormatError(object, .sealBroken) }
        var cipher = publicKey.cipher(shared: shared, ephemeral: ephemeral)
        var plain = [UInt8](repeating: 0, count: sealed.count - overhead)
        let nonce = Array(sealed[32..<44])
        let isAuthentic = unsafe sealed.withUnsafeBytes { input in
            unsafe plain.withUnsafeMutableBytes { output in
                unsafe cipher.open(
                    UnsafeRawBufferPointer(rebasing: input[44...]), nonce: nonce, context: purpose, into: output)
            }
        }
        guard isAuthentic else { throw FormatError(object, .sealBroken) }
        return plain
    }
}

/// The half that is pinned in join tokens: it can seal to the recovery key, and open nothing.
package struct RecoveryPublicKey: Sendable, Hashable {
    static let overheadBytes = 32 + AuthenticatedCipher.nonceBytes + AuthenticatedCipher.tagBytes
    package let bytes: [UInt8]

    /// - Returns: nil unless `bytes` are exactly 32.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 32 else { return nil }
        self.bytes = Array(bytes)
    }

    /// Seals `secret` so that only the private half opens it, and only for the same purpose.
    ///
    /// - Throws: `FormatError` where this public key is none that can be sealed to.
    package func seal(
        _ secret: [UInt8], purpose: [UInt8], random: RandomSource
    ) throws(FormatError) -> [UInt8] {
        let ephemeral = CryptoKey(privateBytes: random.bytes(32), type: EVP_PKEY_X25519)
        let ephemeralPublic = ephemeral.publicBytes()
        guard let peer = CryptoKey(publicBytes: bytes, type: EVP_PKEY_X25519),
            let shared = ephemeral.sharedSecret(with: peer)
        else { throw .malformed("recovery key \(Hex.encode(bytes))", "not a usable X25519 public key") }
        var cipher = cipher(shared: shared, ephemeral: ephemeralPublic)
        let nonce = random.bytes(AuthenticatedCipher.nonceBytes)
        var ciphertext = [UInt8](repeating: 0, count: secret.count + AuthenticatedCipher.tagBytes)
        unsafe secret.withUnsafeBytes { input in
            unsafe ciphertext.withUnsafeMutableBytes { output in
                unsafe cipher.seal(input, nonce: nonce, context: purpose, into: output)
            }
        }
        return ephemeralPublic + nonce + ciphertext
    }

    fileprivate func cipher(shared: [UInt8], ephemeral: [UInt8]) -> AuthenticatedCipher {
        AuthenticatedCipher(
            key: KeyDerivation.hkdf(secret: shared, salt: ephemeral + bytes, purpose: "muster/1/recovery"))
    }
}
