import Testing

@testable import MusterFormat
@testable import MusterModel

/// A second node, and the grants by which it and the first one restore the small snapshot.
struct GrantFixture {
    let target: NodeID
    let signer: SigningKey
    let terms: RestoreGrant.Terms
    private let fixture: Fixture

    init(_ fixture: Fixture) throws {
        self.fixture = fixture
        target = try fixture.id(0x77)
        signer = try #require(SigningKey(privateBytes: Array(UInt8(128)..<160)))
        let part = try SmallSnapshot(fixture).manifest(fixture).publicPart
        terms = RestoreGrant.Terms(
            id: try fixture.id(0x99), sourceNode: part.node, sourceKey: fixture.signer.verifyingKey, scope: part.scope,
            keyEpoch: 1, snapshot: part.snapshot, contentRoot: part.contentRoot, targetNode: target,
            targetPath: "/srv/restore/orders.db", issuedAt: Timestamp(microseconds: 1_700_000_002_000_000),
            expiresAt: Timestamp(microseconds: 1_700_003_602_000_000))
    }

    var key: GrantKey { GrantKey(of: target, signer: signer) }

    func foreign(_ change: (inout RestoreGrant.Terms) -> Void = { _ in }) throws -> RestoreGrant {
        var terms = terms
        change(&terms)
        return try RestoreGrant(
            terms, secret: fixture.secret, to: key.publicKey, by: fixture.recovery,
            random: Fixture.random("restore grant"))
    }

    func own() throws -> RestoreGrant {
        var terms = terms
        terms.targetNode = terms.sourceNode
        return try RestoreGrant(terms)
    }

    var values: [String: String] {
        [
            "node": target.description, "node_signing_private": Hex.encode(signer.privateBytes),
            "node_signing_public": Hex.encode(signer.verifyingKey.bytes),
            "grant_public": Hex.encode(key.publicKey.bytes),
            "statement": Hex.encode(GrantKey.statement(of: target, signer: signer)),
        ]
    }
}
