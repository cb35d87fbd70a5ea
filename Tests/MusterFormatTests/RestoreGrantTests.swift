import Testing

@testable import MusterFormat
@testable import MusterModel

@Suite("A restore grant is for one node, one snapshot and one path")
struct RestoreGrantTests {
    @Test func theTargetOpensIt() throws {
        let fixture = try Fixture()
        let grants = try GrantFixture(fixture)
        let grant = try RestoreGrant.parse(try grants.foreign().bytes)
        #expect(grant.terms == grants.terms)
        #expect(grant.seal?.sealer == fixture.recovery.publicKey)
        #expect(try grant.openSecret(with: grants.key).bytes == fixture.secret.bytes)
    }

    @Test func nobodyElseOpensIt() throws {
        let grants = try GrantFixture(try Fixture())
        let grant = try grants.foreign()
        let another = SigningKey(from: Fixture.random("another node"))
        for key in [
            GrantKey(of: grants.target, signer: another), GrantKey(of: grants.terms.sourceNode, signer: grants.signer),
        ] {
            #expect(throws: FormatError.self) { try grant.openSecret(with: key) }
        }
        #expect(throws: FormatError.self) { try grants.own().openSecret(with: grants.key) }
    }

    /// The seal of one grant under the terms of another: every single term is bound.
    @Test func theSealOpensUnderItsOwnTermsOnly() throws {
        let fixture = try Fixture()
        let grants = try GrantFixture(fixture)
        let (length, sealed) = try Self.parts(try grants.foreign().bytes)
        #expect(length == 32 + 12 + 32 + 16)
        let stranger = SigningKey(from: Fixture.random("stranger")).verifyingKey
        let root: ContentRoot = SHA256Hasher.hash([1])
        let another: (GrantID, NodeID, ScopeID, SnapshotID) = (
            try fixture.id(0x42), try fixture.id(0x42), try fixture.id(0x42), try fixture.id(0x42)
        )
        let changes: [(inout RestoreGrant.Terms) -> Void] = [
            { $0.id = another.0 }, { $0.sourceNode = another.1 }, { $0.sourceKey = stranger }, { $0.scope = another.2 },
            { $0.keyEpoch = 2 }, { $0.snapshot = another.3 }, { $0.contentRoot = root }, { $0.targetNode = another.1 },
            { $0.targetPath = "/srv/restore/other.db" }, { $0.issuedAt = $0.issuedAt + .seconds(1) },
            { $0.expiresAt = $0.expiresAt + .seconds(1) },
        ]
        for change in changes {
            let other = try grants.foreign(change)
            #expect(try other.openSecret(with: grants.key).bytes == fixture.secret.bytes)
            let mixed = try RestoreGrant.parse(Array(other.bytes.dropLast(length)) + sealed)
            #expect(throws: FormatError.self, "\(mixed.terms)") { try mixed.openSecret(with: grants.key) }
        }
    }

    /// Whoever knows the target's public key can seal to it; only the holder of the recovery key under its name.
    @Test func whoSealedItIsProven() throws {
        let fixture = try Fixture()
        let grants = try GrantFixture(fixture)
        let forger = RecoveryKey(from: Fixture.random("forger"))
        let forged = try RestoreGrant(
            grants.terms, secret: fixture.secret, to: grants.key.publicKey, by: forger, random: Fixture.random("x"))
        #expect(forged.seal?.sealer == forger.publicKey, "it cannot but say who it is")
        let position = try #require(
            forged.bytes.indices.first { forged.bytes[$0...].starts(with: forger.publicKey.bytes) })
        var bytes = forged.bytes
        bytes.replaceSubrange(position..<position + 32, with: fixture.recovery.publicKey.bytes)
        let lying = try RestoreGrant.parse(bytes)
        #expect(lying.seal?.sealer == fixture.recovery.publicKey)
        #expect(throws: FormatError.self) { try lying.openSecret(with: grants.key) }
    }

    @Test func aNodesOwnOrderHoldsNoSecret() throws {
        let grants = try GrantFixture(try Fixture())
        let own = try RestoreGrant.parse(try grants.own().bytes)
        #expect(own.seal == nil && own.terms.sourceNode == own.terms.targetNode)
        #expect(throws: FormatError.self) { try RestoreGrant(grants.terms) }
    }

    @Test(arguments: ["", "/", "srv/x.db", "/srv/\0x.db", "/" + String(repeating: "x", count: 4096)])
    func aPathIsAbsoluteAndShort(path: String) throws {
        let grants = try GrantFixture(try Fixture())
        #expect(throws: FormatError.self) { try grants.foreign { $0.targetPath = path } }
    }

    @Test func itStandsForADayAtMost() throws {
        let grants = try GrantFixture(try Fixture())
        for span in [Duration.zero, .seconds(-1), .seconds(86_400) + .microseconds(1)] {
            #expect(throws: FormatError.self) { try grants.foreign { $0.expiresAt = $0.issuedAt + span } }
        }
        _ = try grants.foreign { $0.expiresAt = $0.issuedAt + .seconds(86_400) }
    }

    @Test func aGrantKeyIsTheNodesOwnWord() throws {
        let grants = try GrantFixture(try Fixture())
        let statement = GrantKey.statement(of: grants.target, signer: grants.signer)
        let key = grants.signer.verifyingKey
        #expect(GrantPublicKey(statement: statement, of: grants.target, signer: key) == grants.key.publicKey)
        #expect(GrantPublicKey(statement: statement, of: grants.terms.sourceNode, signer: key) == nil)
        #expect(GrantPublicKey(statement: statement, of: grants.target, signer: grants.terms.sourceKey) == nil)
        #expect(GrantPublicKey(statement: Array(statement.dropLast()), of: grants.target, signer: key) == nil)
        for position in statement.indices {
            var changed = statement
            changed[position] ^= 1
            #expect(GrantPublicKey(statement: changed, of: grants.target, signer: key) == nil)
        }
    }

    /// The length of the sealed secret, and its bytes with the length before them.
    private static func parts(_ bytes: [UInt8]) throws -> (length: Int, sealed: [UInt8]) {
        var reader = ByteReader(bytes, object: "it")
        try reader.takeMagic(.restoreGrant)
        _ = try reader.takeBlock("terms")
        let sealed = Array(try reader.takeBlock("sealed"))
        return (sealed.count, sealed)
    }
}
