import CCrypto
package import MusterModel

/// HMAC-SHA256 (RFC 2104) and HKDF-SHA256 (RFC 5869).
package enum KeyDerivation {
    package static func hmac(key: [UInt8], message: [UInt8]) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: SHA256Hasher.digestBytes)
        let result = unsafe HMAC(EVP_sha256(), key, Int32(key.count), message, message.count, &output, nil)
        precondition(unsafe result != nil, "HMAC failed")
        return output
    }

    /// - Parameter byteCount: 1 to 8160.
    package static func hkdf(secret: [UInt8], salt: [UInt8], purpose: String, byteCount: Int = 32) -> [UInt8] {
        hkdf(secret: secret, salt: salt, purpose: Array(purpose.utf8), byteCount: byteCount)
    }

    package static func hkdf(secret: [UInt8], salt: [UInt8], purpose: [UInt8], byteCount: Int) -> [UInt8] {
        precondition((1...255 * 32).contains(byteCount), "HKDF-SHA256 gives 1 to 8160 bytes")
        let extracted = hmac(key: salt, message: secret)
        var output: [UInt8] = []
        var block: [UInt8] = []
        for number in 1...(byteCount + 31) / 32 {
            block = hmac(key: extracted, message: block + purpose + [UInt8(number)])
            output += block
        }
        return Array(output.prefix(byteCount))
    }
}

/// Compares without telling by its duration where the first difference is. Lengths are no secret.
package func areEqualInConstantTime(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    guard a.count == b.count else { return false }
    return unsafe CRYPTO_memcmp(a, b, a.count) == 0
}

extension RandomSource {
    /// libcrypto's generator, seeded by the kernel. For secrets, nonces and ids alike.
    package static let system = RandomSource { count in
        unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            unsafe require(RAND_bytes(buffer.baseAddress, Int32(count)), "RAND_bytes")
            initialized = count
        }
    }
}
