import Foundation
package import MusterModel

/// A secret of the coordinator (CA key, receipt key, store credentials, the fleet's state) for those who hold a recovery key.
///
/// Signed by the key that it names, like `KeyRecord`: anybody can seal to a
/// public key, so only a key known from elsewhere proves who wrote it.
package struct SealedRecord: Sendable, Hashable {
    package let name: String
    package let coordinatorEpoch: UInt64
    package let signingKey: VerifyingKey
    package let secrets: [SealedSecret]

    private static let frame = RecordFrame(
        magic: .sealedRecord, domain: .sealedRecord, object: "sealed record", limit: Format.maximumSealedRecordBytes)

    /// - Parameters:
    ///   - secret: 1 byte to 16 MiB, all recipients together.
    ///   - recipients: 1 to 16.
    /// - Returns: the bytes to store.
    package static func make(
        _ secret: [UInt8], name: String, coordinatorEpoch: UInt64, recipients: [RecoveryPublicKey],
        signer: SigningKey, random: RandomSource
    ) throws(FormatError) -> [UInt8] {
        let secrets = try SealedSecret.seal(
            secret, to: recipients, purpose: purpose(name: name, epoch: coordinatorEpoch), random: random)
        var message = StoredSealedRecordBody()
        message.formatVersion = UInt32(Format.version)
        message.name = name
        message.coordinatorEpoch = coordinatorEpoch
        message.signingKey = Data(signer.verifyingKey.bytes)
        message.secrets = secrets.map(\.message)
        let bytes = try frame.bytes(of: try StoredMessage.encode(message, object: frame.object), signedBy: signer)
        // What no reader would take must not be written.
        _ = try parse(bytes).verified(by: signer.verifyingKey)
        return bytes
    }

    package static func parse(_ bytes: [UInt8]) throws(FormatError) -> Unverified<SealedRecord> {
        let (body, envelope) = try frame.open(bytes)
        let message = try StoredMessage.decode(
            body, as: StoredSealedRecordBody.self, fieldLimit: 64, object: frame.object)
        let record = try SealedRecord(message, FieldParser(object: frame.object))
        return Unverified(claimed: record, signingKeyID: record.signingKey.id, envelope: envelope)
    }

    /// - Throws: `FormatError`, `sealBroken`, where the secret is not sealed to `key`.
    package func openSecret(with key: RecoveryKey) throws(FormatError) -> [UInt8] {
        try SealedSecret.open(
            secrets, with: key, purpose: Self.purpose(name: name, epoch: coordinatorEpoch),
            object: "sealed record '\(name)'")
    }

    private init(_ message: StoredSealedRecordBody, _ parser: FieldParser) throws(FormatError) {
        try parser.version(message.formatVersion)
        name = try parser.text(message.name, "name", byteCount: 1...255)
        coordinatorEpoch = message.coordinatorEpoch
        signingKey = try SealedSecret.signingKey(message.signingKey, parser)
        secrets = try SealedSecret.parse(message.secrets, parser)
    }

    /// Binds the seal to its place, so that it opens in no other record.
    private static func purpose(name: String, epoch: UInt64) -> [UInt8] {
        Array("muster/1/sealed-record".utf8) + [0] + littleEndianBytes(epoch) + Array(name.utf8)
    }
}
