import CZstd
import MusterModel

/// Everything one lane needs to seal and open under one scope's keys.
///
/// `format.md`, "Seal": sealed = version, type, nonce, AES-256-GCM of c and its
/// tag, where c is the zstd frame or the plain bytes, whichever is shorter. The
/// nonce is derived from c, so equal content gives equal bytes and two contents
/// never share one.
@safe
struct SealLane: ~Copyable {
    let keys: ScopeKeys
    private var chunkCipher: AuthenticatedCipher
    private var mapCipher: AuthenticatedCipher
    private var manifestCipher: AuthenticatedCipher
    private var zstandard: Zstandard
    private var hasher = SHA256Hasher()
    private var packed = ScratchBuffer(byteCount: 2 * Format.defaultExtentBytes)
    private var reopened = ScratchBuffer(byteCount: Format.defaultExtentBytes)

    init(keys: ScopeKeys, level: Int) {
        self.keys = keys
        chunkCipher = AuthenticatedCipher(key: keys.pair(for: .chunk).key)
        mapCipher = AuthenticatedCipher(key: keys.pair(for: .map).key)
        manifestCipher = AuthenticatedCipher(key: keys.pair(for: .manifest).key)
        zstandard = Zstandard(level: level)
    }

    /// Seals, then opens what it sealed and compares.
    ///
    /// - Parameter context: the associated data; nil for a chunk, whose own it is.
    mutating func seal(
        _ plain: UnsafeRawBufferPointer, as kind: SealedKind, context: [UInt8]?
    ) throws(FormatError) -> [UInt8] {
        let output = unsafe packed.bytes(ZSTD_compressBound(plain.count))
        let compressed = unsafe zstandard.compress(plain, into: output)
        var header = SealHeader(kind: kind, isCompressed: false)
        var content = unsafe plain
        if let compressed, compressed < plain.count {
            header = SealHeader(kind: kind, isCompressed: true)
            unsafe content = UnsafeRawBufferPointer(rebasing: output[..<compressed])
        }
        let context = context ?? chunkContext(header)
        let nonce = unsafe nonce(for: content, header: header, context: context)
        let sealed = unsafe [UInt8](unsafeUninitializedCapacity: content.count + SealHeader.overheadBytes) {
            buffer, initialized in
            unsafe buffer[0] = Format.version
            unsafe buffer[1] = header.type
            for index in nonce.indices { unsafe buffer[2 + index] = nonce[index] }
            let target = unsafe UnsafeMutableRawBufferPointer(
                rebasing: UnsafeMutableRawBufferPointer(buffer)[SealHeader.byteCount...])
            withCipher(for: kind.purpose) {
                unsafe $0.seal(content, nonce: nonce, context: context, into: target)
            }
            initialized = content.count + SealHeader.overheadBytes
        }
        try unsafe check(sealed, opensTo: plain, as: kind, context: context)
        return sealed
    }

    /// Opens `sealed` into all of `output`.
    ///
    /// - Parameter context: the associated data; nil for a chunk, whose own it is.
    mutating func open(
        _ sealed: UnsafeRawBufferPointer, as kind: SealedKind, context: [UInt8]?,
        into output: UnsafeMutableRawBufferPointer, object: () -> String
    ) throws(FormatError) {
        guard sealed.count > SealHeader.overheadBytes else { throw .malformed(object(), "shorter than any seal") }
        let header = try unsafe SealHeader.parse(
            version: sealed[0], type: sealed[1], expecting: kind, object: object())
        let contentBytes = sealed.count - SealHeader.overheadBytes
        // The shorter form is the stored one, so the sizes alone refuse most lies.
        guard header.isCompressed ? contentBytes < output.count : contentBytes == output.count else {
            throw .malformed(object(), "it cannot open to \(output.count) bytes")
        }
        let context = context ?? chunkContext(header)
        let nonce = unsafe Array(sealed[2..<SealHeader.byteCount])
        let content = unsafe header.isCompressed ? packed.bytes(contentBytes) : output
        let body = unsafe UnsafeRawBufferPointer(rebasing: sealed[SealHeader.byteCount...])
        let isAuthentic = withCipher(for: kind.purpose) {
            unsafe $0.open(body, nonce: nonce, context: context, into: content)
        }
        guard isAuthentic else { throw FormatError(object(), .sealBroken) }
        guard header.isCompressed else { return }
        if let fault = unsafe zstandard.decompress(UnsafeRawBufferPointer(content), into: output) {
            throw .malformed(object(), fault)
        }
    }

    /// SHA-256 of the bytes, with the lane's own context.
    mutating func hash<Kind>(_ bytes: UnsafeRawBufferPointer, as kind: Digest<Kind>.Type) -> Digest<Kind> {
        unsafe hasher.update(bytes)
        return hasher.finish()
    }

    /// Opens what was sealed and compares it with what went in.
    mutating func check(
        _ sealed: [UInt8], opensTo plain: UnsafeRawBufferPointer, as kind: SealedKind, context: [UInt8]
    ) throws(FormatError) {
        let output = unsafe reopened.bytes(plain.count)
        do {
            try unsafe sealed.span.withUnsafeBytes { bytes throws(FormatError) in
                try unsafe open(bytes, as: kind, context: context, into: output) { kind.description }
            }
        } catch {
            throw FormatError(kind.description, .selfCheckFailed)
        }
        guard unsafe plain.elementsEqualByMemory(output) else { throw FormatError(kind.description, .selfCheckFailed) }
    }

    private func chunkContext(_ header: SealHeader) -> [UInt8] {
        [Format.version, header.type] + keys.scope.bytes
    }

    private mutating func nonce(
        for content: UnsafeRawBufferPointer, header: SealHeader, context: [UInt8]
    ) -> [UInt8] {
        var message = hashBytes(context)
        message.append(header.type)
        message += littleEndianBytes(UInt64(content.count))
        message += unsafe hashBytes(content)
        let code = KeyDerivation.hmac(key: keys.pair(for: header.kind.purpose).nonceKey, message: message)
        return Array(code.prefix(AuthenticatedCipher.nonceBytes))
    }

    private mutating func hashBytes(_ bytes: [UInt8]) -> [UInt8] {
        unsafe bytes.withUnsafeBytes { unsafe hashBytes($0) }
    }

    private mutating func hashBytes(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        unsafe hasher.update(bytes)
        return unsafe [UInt8](unsafeUninitializedCapacity: SHA256Hasher.digestBytes) { buffer, initialized in
            unsafe hasher.finish(into: UnsafeMutableRawBufferPointer(buffer))
            initialized = SHA256Hasher.digestBytes
        }
    }

    private mutating func withCipher<Result>(
        for purpose: KeyPurpose, _ body: (inout AuthenticatedCipher) -> Result
    ) -> Result {
        switch purpose {
        case .chunk: body(&chunkCipher)
        case .map: body(&mapCipher)
        case .manifest: body(&manifestCipher)
        }
    }
}
