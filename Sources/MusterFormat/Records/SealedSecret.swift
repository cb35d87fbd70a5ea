import Foundation
import MusterModel

/// One secret sealed to one recovery key.
package struct SealedSecret: Sendable, Hashable {
    package let recipient: RecoveryPublicKey
    package let sealed: [UInt8]

    static func seal(
        _ secret: [UInt8], to recipients: [RecoveryPublicKey], purpose: [UInt8], random: RandomSource
    ) throws(FormatError) -> [SealedSecret] {
        var list: [SealedSecret] = []
        for recipient in recipients {
            let sealed = try recipient.seal(secret, purpose: purpose, random: random)
            list.append(SealedSecret(recipient: recipient, sealed: sealed))
        }
        return list
    }

    /// Opens the one that is sealed to `key`.
    static func open(
        _ secrets: [SealedSecret], with key: RecoveryKey, purpose: [UInt8], object: String
    ) throws(FormatError) -> [UInt8] {
        guard let own = secrets.first(where: { $0.recipient == key.publicKey }) else {
            throw FormatError(object, .sealBroken)
        }
        return try key.open(own.sealed, purpose: purpose, object: object)
    }

    var message: StoredSealedSecret {
        var message = StoredSealedSecret()
        message.recipient = Data(recipient.bytes)
        message.sealed = Data(sealed)
        return message
    }

    static func parse(_ messages: [StoredSealedSecret], _ parser: FieldParser) throws(FormatError) -> [SealedSecret] {
        try parser.check((1...16).contains(messages.count), "\(messages.count) recipients")
        var list: [SealedSecret] = []
        for message in messages {
            guard let recipient = RecoveryPublicKey(bytes: message.recipient) else {
                throw .malformed(parser.object, "recipient is not 32 bytes")
            }
            try parser.check(message.sealed.count > RecoveryPublicKey.overheadBytes, "an empty secret")
            list.append(SealedSecret(recipient: recipient, sealed: Array(message.sealed)))
        }
        try parser.check(Set(list.map(\.recipient)).count == list.count, "a recipient is listed twice")
        return list
    }

    static func signingKey(_ bytes: Data, _ parser: FieldParser) throws(FormatError) -> VerifyingKey {
        guard let key = VerifyingKey(bytes: bytes) else {
            throw .malformed(parser.object, "signing_key is not 32 bytes")
        }
        return key
    }
}
