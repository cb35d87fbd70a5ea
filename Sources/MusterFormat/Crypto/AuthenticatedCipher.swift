import CCrypto

/// AES-256-GCM under one key, with a context for each direction that is used again and again.
@safe
struct AuthenticatedCipher: ~Copyable {
    static let keyBytes = 32
    static let nonceBytes = 12
    static let tagBytes = 16

    /// Fetched once and shared; see `SHA256Hasher.algorithm`.
    nonisolated(unsafe) private static let algorithm: OpaquePointer = unsafe required(
        EVP_CIPHER_fetch(nil, "AES-256-GCM", nil), "EVP_CIPHER_fetch")

    private let sealing: OpaquePointer
    private let opening: OpaquePointer

    init(key: [UInt8]) {
        precondition(key.count == Self.keyBytes, "an AES-256 key is 32 bytes")
        unsafe sealing = required(EVP_CIPHER_CTX_new(), "EVP_CIPHER_CTX_new")
        unsafe opening = required(EVP_CIPHER_CTX_new(), "EVP_CIPHER_CTX_new")
        unsafe require(EVP_EncryptInit_ex2(sealing, Self.algorithm, key, nil, nil), "EVP_EncryptInit_ex2")
        unsafe require(EVP_DecryptInit_ex2(opening, Self.algorithm, key, nil, nil), "EVP_DecryptInit_ex2")
    }

    deinit {
        unsafe EVP_CIPHER_CTX_free(sealing)
        unsafe EVP_CIPHER_CTX_free(opening)
    }

    /// Writes the ciphertext and then the tag; `output` is 16 bytes longer than `plain`.
    mutating func seal(
        _ plain: UnsafeRawBufferPointer, nonce: [UInt8], context: [UInt8], into output: UnsafeMutableRawBufferPointer
    ) {
        precondition(nonce.count == Self.nonceBytes && output.count == plain.count + Self.tagBytes, "wrong sizes")
        var written: Int32 = 0
        unsafe require(EVP_EncryptInit_ex2(sealing, nil, nil, nonce, nil), "EVP_EncryptInit_ex2")
        unsafe require(
            EVP_EncryptUpdate(sealing, nil, &written, context, Int32(context.count)), "EVP_EncryptUpdate")
        let target = unsafe output.assumingMemoryBound(to: UInt8.self)
        let source = unsafe plain.assumingMemoryBound(to: UInt8.self)
        unsafe require(
            EVP_EncryptUpdate(sealing, target.baseAddress, &written, source.baseAddress, Int32(plain.count)),
            "EVP_EncryptUpdate")
        precondition(Int(written) == plain.count, "GCM writes a byte for a byte")
        let tag = unsafe target.baseAddress?.advanced(by: plain.count)
        unsafe require(EVP_EncryptFinal_ex(sealing, tag, &written), "EVP_EncryptFinal_ex")
        unsafe require(
            EVP_CIPHER_CTX_ctrl(sealing, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagBytes), tag), "EVP_CTRL_AEAD_GET_TAG")
    }

    /// Opens a ciphertext with its tag behind it; `output` is 16 bytes shorter.
    ///
    /// - Returns: false where the tag does not fit; `output` then holds nothing of use.
    mutating func open(
        _ sealed: UnsafeRawBufferPointer, nonce: [UInt8], context: [UInt8], into output: UnsafeMutableRawBufferPointer
    ) -> Bool {
        precondition(nonce.count == Self.nonceBytes && sealed.count == output.count + Self.tagBytes, "wrong sizes")
        var written: Int32 = 0
        unsafe require(EVP_DecryptInit_ex2(opening, nil, nil, nonce, nil), "EVP_DecryptInit_ex2")
        unsafe require(
            EVP_DecryptUpdate(opening, nil, &written, context, Int32(context.count)), "EVP_DecryptUpdate")
        let source = unsafe sealed.assumingMemoryBound(to: UInt8.self)
        let target = unsafe output.assumingMemoryBound(to: UInt8.self)
        unsafe require(
            EVP_DecryptUpdate(opening, target.baseAddress, &written, source.baseAddress, Int32(output.count)),
            "EVP_DecryptUpdate")
        precondition(Int(written) == output.count, "GCM writes a byte for a byte")
        // libcrypto only reads the tag; its parameter lacks the const (EVP_EncryptInit(3)).
        let tag = unsafe UnsafeMutableRawPointer(mutating: sealed.baseAddress?.advanced(by: output.count))
        unsafe require(
            EVP_CIPHER_CTX_ctrl(opening, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagBytes), tag), "EVP_CTRL_AEAD_SET_TAG")
        var unused: UInt8 = 0
        let isAuthentic = unsafe EVP_DecryptFinal_ex(opening, &unused, &written) == 1
        // A refused tag is an answer, not a fault: the thread's error queue must not keep it.
        if !isAuthentic { ERR_clear_error() }
        return isAuthentic
    }
}
