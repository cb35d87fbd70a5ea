import MusterModel

/// A signed object that was parsed, but whose signature nobody checked yet.
package struct Unverified<Value: Sendable>: Sendable {
    /// What the bytes say. Use it to find the key, and for nothing that matters.
    package let claimed: Value
    /// The key that the object says it is signed with.
    package let signingKeyID: SigningKeyID
    let envelope: SignedBytes

    /// - Throws: `FormatError`, `badSignature`, unless `key` signed exactly these bytes.
    package func verified(by key: VerifyingKey) throws(FormatError) -> Value {
        guard key.id == signingKeyID,
            key.accepts(envelope.signature, of: envelope.message, as: envelope.domain)
        else { throw FormatError(envelope.object, .badSignature(key: key.id.description)) }
        return claimed
    }
}

/// Bytes, and a signature over them.
struct SignedBytes: Sendable {
    let object: String
    let domain: SignatureDomain
    let message: ArraySlice<UInt8>
    let signature: ArraySlice<UInt8>

    /// Splits the signature off the end of a whole object.
    init(_ bytes: [UInt8], domain: SignatureDomain, object: String, limit: Int) throws(FormatError) {
        guard bytes.count <= limit else {
            throw FormatError(object, .tooLarge(what: "bytes", count: UInt64(bytes.count), limit: UInt64(limit)))
        }
        guard bytes.count > VerifyingKey.signatureBytes else {
            throw .malformed(object, "it ends within its signature")
        }
        (self.object, self.domain) = (object, domain)
        message = bytes.dropLast(VerifyingKey.signatureBytes)
        signature = bytes.suffix(VerifyingKey.signatureBytes)
    }
}

/// The frame of receipts, key records and sealed records: magic, u32 length, body, signature.
struct RecordFrame {
    let magic: Magic
    let domain: SignatureDomain
    let object: String
    var limit = Format.maximumRecordBytes

    func bytes(of body: [UInt8], signedBy signer: SigningKey) throws(FormatError) -> [UInt8] {
        let message = magic.bytes + littleEndianBytes(UInt32(body.count)) + body
        let bytes = message + signer.sign(message, as: domain)
        guard bytes.count <= limit else {
            throw FormatError(
                object, .tooLarge(what: "bytes", count: UInt64(bytes.count), limit: UInt64(limit)))
        }
        return bytes
    }

    func open(_ bytes: [UInt8]) throws(FormatError) -> (body: [UInt8], envelope: SignedBytes) {
        let envelope = try SignedBytes(bytes, domain: domain, object: object, limit: limit)
        var reader = ByteReader(Array(envelope.message), object: object)
        try reader.takeMagic(magic)
        let body = Array(try reader.takeBlock("body"))
        try reader.expectEnd()
        return (body, envelope)
    }
}
