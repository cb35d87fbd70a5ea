import Foundation
import Testing

@testable import MusterFormat
@testable import MusterModel

@Suite("Receipts and key records are whole, signed and sealed")
struct RecordTests {
    private func receipt(_ fixture: Fixture) throws -> (receipt: Receipt, bytes: [UInt8]) {
        let receipt = Receipt(
            manifest: try SmallSnapshot(fixture).manifest(fixture),
            receivedAt: Timestamp(microseconds: 1_700_000_001_000_000), stores: ["main", "second"],
            coordinatorEpoch: 3)
        return (receipt, try receipt.signed(by: fixture.coordinator))
    }

    private func keyRecord(_ fixture: Fixture, node: UInt8 = 2) throws -> [UInt8] {
        let second = RecoveryKey(from: Fixture.random("second recovery key"))
        return try KeyRecord.make(
            node: try fixture.id(node), nodeName: "db-1", secret: fixture.secret, scope: fixture.scope, keyEpoch: 1,
            recipients: [fixture.recovery.publicKey, second.publicKey], signer: fixture.signer,
            random: Fixture.random("key record"))
    }

    private func sealedRecord(_ fixture: Fixture, name: String = "ca-key") throws -> [UInt8] {
        try SealedRecord.make(
            Array("the CA's private key".utf8), name: name, coordinatorEpoch: 1,
            recipients: [fixture.recovery.publicKey], signer: fixture.coordinator,
            random: Fixture.random("sealed record"))
    }

    @Test func aReceiptIsReadAsItWasSigned() throws {
        let fixture = try Fixture()
        let (receipt, bytes) = try receipt(fixture)
        #expect(try Receipt.parse(bytes).verified(by: fixture.coordinator.verifyingKey) == receipt)
        #expect(throws: FormatError.self) { try Receipt.parse(bytes).verified(by: fixture.signer.verifyingKey) }
    }

    @Test func aReceiptIsOfTheKeyThatItNames() throws {
        let fixture = try Fixture()
        let bytes = try receipt(fixture).bytes
        let frame = RecordFrame(magic: .receipt, domain: .receipt, object: "receipt")
        var message = try StoredMessage.decode(
            try frame.open(bytes).body, as: StoredReceiptBody.self, fieldLimit: 100, object: "receipt")
        message.coordinatorKeyID = Data(fixture.signer.verifyingKey.id.bytes)
        let body = try StoredMessage.encode(message, object: "receipt")
        let forged = try frame.bytes(of: body, signedBy: fixture.coordinator)
        #expect(throws: FormatError.self) { try Receipt.parse(forged).verified(by: fixture.coordinator.verifyingKey) }
        #expect(throws: FormatError.self) { try Receipt.parse(forged).verified(by: fixture.signer.verifyingKey) }
    }

    @Test func aReceiptNamesItsStores() throws {
        let fixture = try Fixture()
        var (receipt, _) = try receipt(fixture)
        let wrong: [[String]] = [
            [], ["a", "a"], [""], [String(repeating: "s", count: 256)], (0..<65).map { "s\($0)" },
        ]
        for stores in wrong {
            receipt.stores = stores
            #expect(throws: FormatError.self) { try receipt.signed(by: fixture.coordinator) }
        }
    }

    @Test func theRecoveryKeyOpensAKeyRecord() throws {
        let fixture = try Fixture()
        let record = try KeyRecord.parse(keyRecord(fixture)).verified(by: fixture.signer.verifyingKey)
        #expect(record.signingKey == fixture.signer.verifyingKey)
        #expect(try record.openSecret(with: fixture.recovery).bytes == fixture.secret.bytes)
        let second = RecoveryKey(from: Fixture.random("second recovery key"))
        #expect(try record.openSecret(with: second).bytes == fixture.secret.bytes)
        let stranger = RecoveryKey(from: Fixture.random("stranger"))
        #expect(throws: FormatError.self) { try record.openSecret(with: stranger) }
    }

    @Test func aSecretOpensInItsOwnRecordOnly() throws {
        let fixture = try Fixture()
        let own = try KeyRecord.parse(keyRecord(fixture)).claimed
        let other = try KeyRecord.parse(keyRecord(fixture, node: 3)).claimed
        let purpose = Array("muster/1/scope-secret".utf8) + [0] + own.node.bytes + own.scope.bytes + [1, 0, 0, 0]
        let (ownSecret, otherSecret) = (try #require(own.secrets.first), try #require(other.secrets.first))
        #expect(
            try fixture.recovery.open(ownSecret.sealed, purpose: purpose, object: "it") == fixture.secret.bytes)
        #expect(throws: FormatError("it", .sealBroken)) {
            try fixture.recovery.open(otherSecret.sealed, purpose: purpose, object: "it")
        }
    }

    @Test func theRecoveryKeyOpensASealedRecord() throws {
        let fixture = try Fixture()
        let record = try SealedRecord.parse(sealedRecord(fixture)).verified(by: fixture.coordinator.verifyingKey)
        #expect(record.name == "ca-key")
        #expect(try record.openSecret(with: fixture.recovery) == Array("the CA's private key".utf8))
    }

    @Test func everyFlippedBitOfARecordIsRefused() throws {
        let fixture = try Fixture()
        let coordinator = fixture.coordinator.verifyingKey
        try receipt(fixture).bytes.forEachBitFlip { flipped, bit in
            #expect(throws: FormatError.self, "bit \(bit)") { try Receipt.parse(flipped).verified(by: coordinator) }
        }
        try keyRecord(fixture).forEachBitFlip { flipped, bit in
            #expect(throws: FormatError.self, "bit \(bit)") {
                try KeyRecord.parse(flipped).verified(by: fixture.signer.verifyingKey)
            }
        }
        try sealedRecord(fixture).forEachBitFlip { flipped, bit in
            #expect(throws: FormatError.self, "bit \(bit)") {
                try SealedRecord.parse(flipped).verified(by: coordinator)
            }
        }
    }

    @Test func everyTruncationOfARecordIsRefused() throws {
        let fixture = try Fixture()
        let records = [try receipt(fixture).bytes, try keyRecord(fixture), try sealedRecord(fixture)]
        for bytes in records {
            let cuts = (0..<bytes.count).map { Array(bytes.prefix($0)) } + [bytes + [0]]
            for cut in cuts {
                #expect(throws: FormatError.self) { try Receipt.parse(cut) }
                #expect(throws: FormatError.self) { try KeyRecord.parse(cut) }
                #expect(throws: FormatError.self) { try SealedRecord.parse(cut) }
            }
        }
    }

    @Test func noObjectIsReadAsAnother() throws {
        let fixture = try Fixture()
        let manifest = try SmallSnapshot(fixture).manifest(fixture).bytes
        let (receipt, keys, sealed) = (try receipt(fixture).bytes, try keyRecord(fixture), try sealedRecord(fixture))
        for bytes in [manifest, keys, sealed] { #expect(throws: FormatError.self) { try Receipt.parse(bytes) } }
        for bytes in [manifest, receipt, sealed] { #expect(throws: FormatError.self) { try KeyRecord.parse(bytes) } }
        for bytes in [manifest, receipt, keys] { #expect(throws: FormatError.self) { try SealedRecord.parse(bytes) } }
        for bytes in [receipt, keys, sealed] { #expect(throws: FormatError.self) { try Manifest.parse(bytes) } }
    }

    @Test func aSealToARecoveryKeyOpensWholeOrNot() throws {
        let fixture = try Fixture()
        let sealed = try fixture.recovery.publicKey.seal(
            [1, 2, 3], purpose: [7], random: Fixture.random("ephemeral"))
        #expect(try fixture.recovery.open(sealed, purpose: [7], object: "it") == [1, 2, 3])
        #expect(throws: FormatError.self) { try fixture.recovery.open(sealed, purpose: [8], object: "it") }
        sealed.forEachBitFlip { flipped, bit in
            // X25519 ignores the top bit of a public key (RFC 7748, section 5), but the salt does not.
            #expect(throws: FormatError.self, "bit \(bit)") {
                try fixture.recovery.open(flipped, purpose: [7], object: "it")
            }
        }
        for count in 0..<sealed.count {
            #expect(throws: FormatError.self) {
                try fixture.recovery.open(Array(sealed.prefix(count)), purpose: [7], object: "it")
            }
        }
    }

    @Test func nobodySealsToAUselessKey() throws {
        let useless = try #require(RecoveryPublicKey(bytes: [UInt8](repeating: 0, count: 32)))
        #expect(throws: FormatError.self) { try useless.seal([1], purpose: [], random: Fixture.random("x")) }
    }

    @Test func aRecoveryKeyFileIsReadStrictly() throws {
        let key = try Fixture().recovery
        let text = key.fileText(comments: ["Keep this offline.", "Made for fleet 'shop'."])
        #expect(try RecoveryKey(fileText: text).privateBytes == key.privateBytes)
        let line = "MUSTER-RECOVERY-KEY-1 " + Hex.encode(key.privateBytes)
        #expect(try RecoveryKey(fileText: line).publicKey == key.publicKey)
        let wrong = [
            "", "# only a comment\n", line + "\n" + line, " " + line, line + " ", line.uppercased(),
            String(line.dropLast()), line + "0", line.replacing("KEY-1", with: "KEY-2"), "x\n" + line,
            Hex.encode(key.privateBytes), line + String(repeating: "\n# more", count: 1000),
        ]
        for text in wrong { #expect(throws: FormatError.self, "\(text)") { try RecoveryKey(fileText: text) } }
    }

    @Test func errorsSayWhatToDo() {
        let reasons: [FormatError.Reason] = [
            .wrongHash(expected: "a", actual: "b"), .sealBroken, .badSignature(key: "k"), .unknownVersion(9),
            .wrongKind(expected: "x", found: "y"), .malformed("m"), .tooLarge(what: "bytes", count: 2, limit: 1),
            .selfCheckFailed,
        ]
        for reason in reasons {
            let error = FormatError("chunk 12", reason)
            #expect(error.summary.hasPrefix("chunk 12 "))
            #expect(error.hint.hasSuffix("."))
            #expect(!error.isTransient)
        }
    }
}
