import CCrypto

/// One raw Ed25519 or X25519 key inside libcrypto, for one call.
@safe
struct CryptoKey: ~Copyable {
    private let key: OpaquePointer

    /// - Parameter privateBytes: any 32 bytes.
    init(privateBytes: [UInt8], type: Int32) {
        precondition(privateBytes.count == 32, "a private key is 32 bytes")
        unsafe key = required(EVP_PKEY_new_raw_private_key(type, nil, privateBytes, 32), "EVP_PKEY_new_raw_private_key")
    }

    /// - Returns: nil where libcrypto does not take them for a key.
    init?(publicBytes: [UInt8], type: Int32) {
        guard let key = unsafe EVP_PKEY_new_raw_public_key(type, nil, publicBytes, publicBytes.count) else {
            ERR_clear_error()
            return nil
        }
        unsafe self.key = key
    }

    deinit { unsafe EVP_PKEY_free(key) }

    borrowing func publicBytes() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 32)
        var count = bytes.count
        unsafe require(EVP_PKEY_get_raw_public_key(key, &bytes, &count), "EVP_PKEY_get_raw_public_key")
        precondition(count == 32, "a public key is 32 bytes")
        return bytes
    }

    borrowing func sign(_ message: [UInt8]) -> [UInt8] {
        let context = unsafe required(EVP_MD_CTX_new(), "EVP_MD_CTX_new")
        defer { unsafe EVP_MD_CTX_free(context) }
        var signature = [UInt8](repeating: 0, count: VerifyingKey.signatureBytes)
        var count = signature.count
        unsafe require(EVP_DigestSignInit(context, nil, nil, nil, key), "EVP_DigestSignInit")
        unsafe require(EVP_DigestSign(context, &signature, &count, message, message.count), "EVP_DigestSign")
        precondition(count == VerifyingKey.signatureBytes, "an Ed25519 signature is 64 bytes")
        return signature
    }

    borrowing func verify(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        let context = unsafe required(EVP_MD_CTX_new(), "EVP_MD_CTX_new")
        defer { unsafe EVP_MD_CTX_free(context) }
        unsafe require(EVP_DigestVerifyInit(context, nil, nil, nil, key), "EVP_DigestVerifyInit")
        let code = unsafe EVP_DigestVerify(context, signature, signature.count, message, message.count)
        if code != 1 { ERR_clear_error() }
        return code == 1
    }

    /// X25519 (RFC 7748).
    ///
    /// - Returns: nil where the peer's key is of small order, so that the secret would be all zero.
    borrowing func sharedSecret(with peer: borrowing CryptoKey) -> [UInt8]? {
        let context = unsafe required(EVP_PKEY_CTX_new(key, nil), "EVP_PKEY_CTX_new")
        defer { unsafe EVP_PKEY_CTX_free(context) }
        var secret = [UInt8](repeating: 0, count: 32)
        var count = secret.count
        unsafe require(EVP_PKEY_derive_init(context), "EVP_PKEY_derive_init")
        guard unsafe EVP_PKEY_derive_set_peer(context, peer.key) == 1,
            unsafe EVP_PKEY_derive(context, &secret, &count) == 1, count == 32
        else {
            ERR_clear_error()
            return nil
        }
        return secret
    }
}
