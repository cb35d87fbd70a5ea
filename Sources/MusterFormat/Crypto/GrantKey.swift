import CCrypto
package import MusterModel

/// What secrets are sealed to that a node may have for one restore (X25519).
///
/// It follows from the node's signing key, so that there is nothing more to keep: whoever has the one has the other.
package struct GrantKey: Sendable {
    private let privateBytes: [UInt8]
    package let publicKey: GrantPublicKey

    package init(of node: NodeID, signer: SigningKey) {
        privateBytes = KeyDerivation.hkdf(
            secret: signer.privateBytes, salt: node.bytes, purpose: SignatureDomain.grantKey.rawValue)
        let key = CryptoKey(privateBytes: privateBytes, type: EVP_PKEY_X25519)
        guard let publicKey = GrantPublicKey(bytes: key.publicBytes()) else {
            preconditionFailure("a public key is 32 bytes")
        }
        self.publicKey = publicKey
    }

    /// Opens what the holder of `sealer`'s private half sealed to this key.
    ///
    /// - Throws: `FormatError`, `sealBroken`, where the bytes, a key or the purpose are others.
    func open(
        _ sealed: [UInt8], from sealer: RecoveryPublicKey, purpose: [UInt8], object: String
    ) throws(FormatError) -> [UInt8] {
        guard sealed.count == GrantPublicKey.sealedBytes else {
            throw .malformed(object, "a sealed secret of \(sealed.count) bytes")
        }
        let ephemeral = Array(sealed.prefix(32))
        let key = CryptoKey(privateBytes: privateBytes, type: EVP_PKEY_X25519)
        guard let fresh = CryptoKey(publicBytes: ephemeral, type: EVP_PKEY_X25519),
            let known = CryptoKey(publicBytes: sealer.bytes, type: EVP_PKEY_X25519),
            let first = key.sharedSecret(with: fresh), let second = key.sharedSecret(with: known)
        else { throw FormatError(object, .sealBroken) }
        var cipher = publicKey.cipher(shared: first + second, ephemeral: ephemeral, sealer: sealer)
        var plain = [UInt8](repeating: 0, count: ScopeSecret.byteCount)
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

    /// The public half and the node's word for it, as it is published.
    package static func statement(of node: NodeID, signer: SigningKey) -> [UInt8] {
        let key = GrantKey(of: node, signer: signer).publicKey
        return key.bytes + signer.sign(node.bytes + key.bytes, as: .grantKey)
    }
}

package struct GrantPublicKey: Sendable, Hashable {
    package static let statementBytes = 32 + VerifyingKey.signatureBytes
    static let sealedBytes = 32 + AuthenticatedCipher.nonceBytes + ScopeSecret.byteCount + AuthenticatedCipher.tagBytes
    package let bytes: [UInt8]

    /// - Returns: nil unless `bytes` are exactly 32.
    init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 32 else { return nil }
        self.bytes = Array(bytes)
    }

    /// - Returns: nil unless `signer` gave its word for this key of `node`.
    package init?(statement: [UInt8], of node: NodeID, signer: VerifyingKey) {
        guard statement.count == Self.statementBytes else { return nil }
        let key = Array(statement.prefix(32))
        guard signer.accepts(statement.dropFirst(32), of: node.bytes + key, as: .grantKey) else { return nil }
        bytes = key
    }

    /// Seals so that only this key opens it, and it finds out that the holder of `sealer` made it: a secret shared
    /// between the two goes into the cipher's key beside the fresh one (RFC 9180, mode auth, does the same).
    func seal(
        _ secret: ScopeSecret, by sealer: RecoveryKey, purpose: [UInt8], random: RandomSource
    ) throws(FormatError) -> [UInt8] {
        let ephemeral = CryptoKey(privateBytes: random.bytes(32), type: EVP_PKEY_X25519)
        let own = CryptoKey(privateBytes: sealer.privateBytes, type: EVP_PKEY_X25519)
        let ephemeralPublic = ephemeral.publicBytes()
        guard let peer = CryptoKey(publicBytes: bytes, type: EVP_PKEY_X25519),
            let first = ephemeral.sharedSecret(with: peer), let second = own.sharedSecret(with: peer)
        else { throw .malformed("grant key \(Hex.encode(bytes))", "not a usable X25519 public key") }
        var cipher = cipher(shared: first + second, ephemeral: ephemeralPublic, sealer: sealer.publicKey)
        let nonce = random.bytes(AuthenticatedCipher.nonceBytes)
        var ciphertext = [UInt8](repeating: 0, count: ScopeSecret.byteCount + AuthenticatedCipher.tagBytes)
        unsafe secret.bytes.withUnsafeBytes { input in
            unsafe ciphertext.withUnsafeMutableBytes { output in
                unsafe cipher.seal(input, nonce: nonce, context: purpose, into: output)
            }
        }
        return ephemeralPublic + nonce + ciphertext
    }

    fileprivate func cipher(
        shared: [UInt8], ephemeral: [UInt8], sealer: RecoveryPublicKey
    ) -> AuthenticatedCipher {
        AuthenticatedCipher(
            key: KeyDerivation.hkdf(
                secret: shared, salt: ephemeral + bytes + sealer.bytes, purpose: "muster/1/restore-grant"))
    }
}
