package import MusterModel

/// The signed description of one snapshot: what is needed to rebuild it.
package struct Manifest: Sendable, Hashable {
    /// The whole object as it is stored and sent.
    package let bytes: [UInt8]
    /// SHA-256 of `bytes`.
    package let hash: ManifestHash
    package let publicPart: ManifestPublicPart
    private let publicBytes: Range<Int>
    private let sealedBytes: Range<Int>
    private let sealedPlainByteCount: Int

    /// Seals, signs, and reads back what it made.
    ///
    /// - Parameter keys: of the scope and key epoch that `publicPart` names.
    package static func make(
        publicPart: ManifestPublicPart, sealedPart: ManifestSealedPart, keys: ScopeKeys, signer: SigningKey
    ) throws(FormatError) -> Manifest {
        let object = "manifest of snapshot \(publicPart.snapshot)"
        precondition(keys.scope == publicPart.scope && keys.epoch == publicPart.keyEpoch, "other keys than stated")
        let plain = try sealedPart.encoded(in: publicPart.geometry, object: object)
        guard plain.count <= SealedKind.manifest.maximumPlainBytes else {
            throw FormatError(
                object,
                .tooLarge(
                    what: "sealed bytes", count: UInt64(plain.count),
                    limit: UInt64(SealedKind.manifest.maximumPlainBytes)))
        }
        let open = try publicPart.encoded(
            sealedPlainByteCount: plain.count, signingKey: signer.verifyingKey.id, object: object)
        let sealed = try ChunkSealer(keys: keys).sealManifestPart(plain, context: context(open))
        var bytes = Magic.manifest.bytes + littleEndianBytes(UInt32(open.count)) + open
        bytes += littleEndianBytes(UInt32(sealed.count)) + sealed
        bytes += signer.sign(bytes, as: .manifest)
        // What no reader would take must not be written.
        let manifest = try parse(bytes).verified(by: signer.verifyingKey)
        guard manifest.publicPart == publicPart, try manifest.openSealedPart(with: keys) == sealedPart else {
            throw FormatError(object, .selfCheckFailed)
        }
        return manifest
    }

    /// Takes a manifest apart; its signature is not checked yet.
    package static func parse(_ bytes: [UInt8]) throws(FormatError) -> Unverified<Manifest> {
        let object = "manifest"
        let envelope = try SignedBytes(
            bytes, domain: .manifest, object: object, limit: Format.maximumManifestBytes)
        var reader = ByteReader(bytes, object: object)
        try reader.takeMagic(.manifest)
        let open = try reader.takeBlock("public part")
        let sealed = try reader.takeBlock("sealed part")
        _ = try reader.take(VerifyingKey.signatureBytes, "signature")
        try reader.expectEnd()
        let message = try StoredMessage.decode(
            Array(open), as: StoredManifestPublic.self, fieldLimit: 128, object: object)
        let parser = FieldParser(object: object)
        let plainByteCount = Int(message.sealedPlainLength)
        try parser.check(
            (1...SealedKind.manifest.maximumPlainBytes).contains(plainByteCount)
                && sealed.count <= plainByteCount + SealHeader.overheadBytes,
            "a sealed part of \(plainByteCount) bytes in \(sealed.count)")
        let manifest = Manifest(
            bytes: bytes, hash: SHA256Hasher.hash(bytes), publicPart: try ManifestPublicPart(message, parser),
            publicBytes: open.indices, sealedBytes: sealed.indices, sealedPlainByteCount: plainByteCount)
        return Unverified(
            claimed: manifest, signingKeyID: try parser.digest(message.signingKeyID, "signing_key_id"),
            envelope: envelope)
    }

    /// - Throws: `FormatError`, `sealBroken`, where `keys` are of another scope or key epoch.
    package func openSealedPart(with keys: ScopeKeys) throws(FormatError) -> ManifestSealedPart {
        let object = "manifest of snapshot \(publicPart.snapshot)"
        guard keys.scope == publicPart.scope, keys.epoch == publicPart.keyEpoch else {
            throw FormatError(object, .sealBroken)
        }
        let plain = try ChunkOpener(keys: keys).openManifestPart(
            Array(bytes[sealedBytes]), context: Self.context(Array(bytes[publicBytes])),
            plainByteCount: sealedPlainByteCount, object: object)
        return try ManifestSealedPart.parse(plain, of: publicPart, object: object)
    }

    /// The associated data of the sealed part: it opens beside its own public part only.
    private static func context(_ publicBytes: [UInt8]) -> [UInt8] {
        SHA256Hasher.hash(publicBytes, as: Digest<ManifestKind>.self).bytes
    }
}
