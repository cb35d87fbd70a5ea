import Foundation
package import MusterModel

/// What a node publishes so that a holder of the recovery key can restore it on any machine.
///
/// It is signed by the key that it names. That proves the node wrote it, not
/// which node that is: compare `signingKey` with a key you have from elsewhere.
package struct KeyRecord: Sendable, Hashable {
    package let node: NodeID
    package let nodeName: String
    package let signingKey: VerifyingKey
    package let scope: ScopeID
    package let keyEpoch: UInt32
    /// One for each recovery key.
    package let secrets: [SealedSecret]

    private static let frame = RecordFrame(magic: .keys, domain: .keys, object: "key record")

    /// Seals a scope secret to the recovery keys.
    ///
    /// - Parameter recipients: 1 to 16.
    /// - Returns: the bytes to store.
    package static func make(
        node: NodeID, nodeName: String, secret: ScopeSecret, scope: ScopeID, keyEpoch: UInt32,
        recipients: [RecoveryPublicKey], signer: SigningKey, random: RandomSource
    ) throws(FormatError) -> [UInt8] {
        let secrets = try SealedSecret.seal(
            secret.bytes, to: recipients, purpose: purpose(node: node, scope: scope, keyEpoch: keyEpoch),
            random: random)
        var message = StoredKeyRecordBody()
        message.formatVersion = UInt32(Format.version)
        message.node = Data(node.bytes)
        message.nodeName = nodeName
        message.signingKey = Data(signer.verifyingKey.bytes)
        message.scope = Data(scope.bytes)
        message.keyEpoch = keyEpoch
        message.secrets = secrets.map(\.message)
        let bytes = try frame.bytes(of: try StoredMessage.encode(message, object: frame.object), signedBy: signer)
        // What no reader would take must not be written.
        _ = try parse(bytes).verified(by: signer.verifyingKey)
        return bytes
    }

    package static func parse(_ bytes: [UInt8]) throws(FormatError) -> Unverified<KeyRecord> {
        let (body, envelope) = try frame.open(bytes)
        let message = try StoredMessage.decode(
            body, as: StoredKeyRecordBody.self, fieldLimit: 64, object: frame.object)
        let record = try KeyRecord(message, FieldParser(object: frame.object))
        return Unverified(claimed: record, signingKeyID: record.signingKey.id, envelope: envelope)
    }

    /// - Throws: `FormatError`, `sealBroken`, where the secret is not sealed to `key`.
    package func openSecret(with key: RecoveryKey) throws(FormatError) -> ScopeSecret {
        let object = "key record of node \(node)"
        let bytes = try SealedSecret.open(
            secrets, with: key, purpose: Self.purpose(node: node, scope: scope, keyEpoch: keyEpoch), object: object)
        guard let secret = ScopeSecret(bytes: bytes) else { throw .malformed(object, "its secret is not 32 bytes") }
        return secret
    }

    private init(_ message: StoredKeyRecordBody, _ parser: FieldParser) throws(FormatError) {
        try parser.version(message.formatVersion)
        node = try parser.identifier(message.node, "node")
        nodeName = try parser.text(message.nodeName, "node_name", byteCount: 1...255)
        signingKey = try SealedSecret.signingKey(message.signingKey, parser)
        scope = try parser.identifier(message.scope, "scope")
        keyEpoch = message.keyEpoch
        secrets = try SealedSecret.parse(message.secrets, parser)
    }

    /// Binds the seal to its place, so that it opens in no other record.
    private static func purpose(node: NodeID, scope: ScopeID, keyEpoch: UInt32) -> [UInt8] {
        Array("muster/1/scope-secret".utf8) + [0] + node.bytes + scope.bytes + littleEndianBytes(keyEpoch)
    }
}
