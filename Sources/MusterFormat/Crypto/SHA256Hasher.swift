import CCrypto
package import MusterModel

/// A streaming SHA-256 that keeps its context between messages.
@safe
package struct SHA256Hasher: ~Copyable {
    static let digestBytes = 32

    /// EVP_sha256() would be looked up anew at each start (OpenSSL 3, EVP_DigestInit(3)), so it is fetched once.
    /// A fetched algorithm is immutable and reference-counted, hence shared between threads.
    nonisolated(unsafe) private static let algorithm: OpaquePointer = unsafe required(
        EVP_MD_fetch(nil, "SHA256", nil), "EVP_MD_fetch")

    private let context: OpaquePointer

    package init() {
        unsafe context = required(EVP_MD_CTX_new(), "EVP_MD_CTX_new")
        unsafe require(EVP_DigestInit_ex2(context, Self.algorithm, nil), "EVP_DigestInit_ex2")
    }

    deinit { unsafe EVP_MD_CTX_free(context) }

    package mutating func update(_ bytes: RawSpan) {
        unsafe bytes.withUnsafeBytes { unsafe update($0) }
    }

    package mutating func update(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe update($0) }
    }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        unsafe require(EVP_DigestUpdate(context, bytes.baseAddress, bytes.count), "EVP_DigestUpdate")
    }

    mutating func update(byte: UInt8) {
        unsafe withUnsafeBytes(of: byte) { unsafe update($0) }
    }

    /// Ends the message and starts the next one.
    package mutating func finish<Kind>(as kind: Digest<Kind>.Type = Digest<Kind>.self) -> Digest<Kind> {
        unsafe withUnsafeTemporaryAllocation(byteCount: Self.digestBytes, alignment: 8) { output in
            unsafe finish(into: output)
            return unsafe digest(output)
        }
    }

    /// Ends the message into 32 bytes and starts the next one.
    mutating func finish(into output: UnsafeMutableRawBufferPointer) {
        precondition(output.count == Self.digestBytes, "a digest is 32 bytes")
        unsafe require(
            EVP_DigestFinal_ex(context, output.assumingMemoryBound(to: UInt8.self).baseAddress, nil),
            "EVP_DigestFinal_ex")
        unsafe require(EVP_DigestInit_ex2(context, nil, nil), "EVP_DigestInit_ex2")
    }

    /// Hashes one message that is in memory.
    package static func hash<Kind>(_ bytes: [UInt8], as kind: Digest<Kind>.Type = Digest<Kind>.self) -> Digest<Kind> {
        var hasher = SHA256Hasher()
        hasher.update(bytes)
        return hasher.finish()
    }

    private mutating func digest<Kind>(_ bytes: UnsafeMutableRawBufferPointer) -> Digest<Kind> {
        guard let digest = unsafe Digest<Kind>(bytes: bytes) else { preconditionFailure("a digest is 32 bytes") }
        return digest
    }
}

/// Stops the program where libcrypto or libzstd fails without any input to blame: it has no memory left.
func require(_ code: Int32, _ call: StaticString) {
    precondition(code == 1, "\(call) failed")
}

func required(_ pointer: OpaquePointer?, _ call: StaticString) -> OpaquePointer {
    guard let pointer = unsafe pointer else { preconditionFailure("\(call) failed") }
    return unsafe pointer
}
