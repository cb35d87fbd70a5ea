import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Packs that nodes put into a store by themselves")
struct UploadGrantTests {
    private let fixture: Fixture
    private let node: Catalog.Node
    private var catalog: Catalog { fixture.catalog }

    init() async throws {
        fixture = try await Fixture()
        node = try await fixture.makeNode()
    }

    private func makeGrant(_ generation: Int = 1, of other: Catalog.Node? = nil) throws -> Catalog.UploadGrant {
        let owner = other ?? node
        return Catalog.UploadGrant(
            node: owner.id, scope: owner.scope, pack: try fixture.digest(), sizeBytes: 1000,
            store: fixture.store.number, generation: "000000000000000\(generation)",
            expiresAt: fixture.clock.now() + .seconds(900))
    }

    private func claim(_ grant: Catalog.UploadGrant, chunks: [Catalog.ChunkPlace] = []) async throws -> Bool {
        let pack = Catalog.NewPack(
            id: grant.pack, scope: grant.scope, sizeBytes: grant.sizeBytes,
            replicas: [(grant.store, grant.generation)], chunks: chunks, isProven: false)
        return try await catalog.claim(grant, as: pack, now: fixture.clock.now())
    }

    private func discarded() async throws -> [String] {
        try await catalog.discardedObjects(in: fixture.store.number, limit: 100, now: fixture.clock.now()).map(\.object)
    }

    private func name(of grant: Catalog.UploadGrant) -> String { "pack \(grant.pack) \(grant.generation)" }

    private func end(after time: Duration) async throws -> Int {
        fixture.clock.advance(by: time)
        return try await catalog.giveUpGrants(now: fixture.clock.now())
    }

    @Test func aClaimEndsTheGrantAndIsTheFirstToBeScrubbed() async throws {
        let old = try await fixture.makePack(node)
        let grant = try makeGrant()
        #expect(try await catalog.grant([grant], limit: 8) == 1)
        #expect(try await catalog.openGrant(grant.pack, generation: grant.generation, of: node.id) == grant)
        let chunks = [Catalog.ChunkPlace(id: try fixture.digest(), offset: 8, length: 100)]
        #expect(try await claim(grant, chunks: chunks))
        #expect(try await catalog.openGrant(grant.pack, generation: grant.generation, of: node.id) == nil)
        #expect(try await !claim(grant), "a second claim records nothing")
        let overdue = try await catalog.overdue(
            in: fixture.store.number, hashedBefore: fixture.clock.now() + .seconds(1), limit: 10)
        #expect(overdue.packs.map(\.id) == [grant.pack, old])
        #expect(overdue.packs.map(\.isProven) == [false, true])
        let present = try await catalog.presentChunks(chunks.map(\.id), in: node.scope, now: fixture.clock.now())
        #expect(present.map(\.pack) == [grant.pack])

        // It turned out to have none of what it said.
        try await catalog.prove(try #require(overdue.packs.first).pack, chunks: [])
        #expect(try await catalog.presentChunks(chunks.map(\.id), in: node.scope, now: fixture.clock.now()).isEmpty)
    }

    @Test func aLookAtTheSizeIsNoHash() async throws {
        let grant = try makeGrant()
        #expect(try await catalog.grant([grant], limit: 8) == 1)
        #expect(try await claim(grant))
        fixture.clock.advance(by: .seconds(100))
        let replica = try #require(try await catalog.replicas(of: grant.pack, in: nil).first)
        let came = fixture.clock.now() - .seconds(100)
        func look(isHashed: Bool) async throws -> Timestamp? {
            try await catalog.mark(
                pack: replica.pack, store: replica.store, generation: replica.generation, as: .present,
                isHashed: isHashed, now: fixture.clock.now())
            try await catalog.markKeys(
                of: node.id, in: replica.store, object: node.keyObject, as: .present, now: fixture.clock.now())
            return try await catalog.oldestHash(inStore: fixture.store.number)
        }
        #expect(try await look(isHashed: false) == came)
        #expect(try await look(isHashed: true) == fixture.clock.now())
    }

    @Test func anotherNodesGrantIsNobodysElse() async throws {
        let stranger = try await fixture.makeNode("beta")
        let grant = try makeGrant()
        #expect(try await catalog.grant([grant], limit: 8) == 1)
        #expect(try await catalog.openGrant(grant.pack, generation: grant.generation, of: stranger.id) == nil)
        #expect(try await catalog.openGrant(grant.pack, generation: "00000000000000ff", of: node.id) == nil)
    }

    @Test func aNodeHasSoManyOpenAndNoMore() async throws {
        let stranger = try await fixture.makeNode("beta")
        let grants = try (1...5).map { try makeGrant($0) }
        #expect(try await catalog.grant(Array(grants[..<2]), limit: 4) == 2)
        #expect(try await catalog.grant(Array(grants[2...]), limit: 4) == 2)
        #expect(try await catalog.openGrant(grants[4].pack, generation: grants[4].generation, of: node.id) == nil)
        #expect(try await catalog.grant([try makeGrant(6)], limit: 4) == 0)
        #expect(try await catalog.grant([try makeGrant(7, of: stranger)], limit: 4) == 1)
        #expect(try await claim(grants[0]))
        #expect(try await catalog.grant([grants[4]], limit: 4) == 1)
    }

    @Test func whatNobodyClaimedIsDeletedByItsNameTwice() async throws {
        let (left, claimed) = (try makeGrant(1), try makeGrant(2))
        #expect(try await catalog.grant([left, claimed], limit: 8) == 2)
        #expect(try await claim(claimed))
        #expect(try await end(after: .seconds(900)) == 0, "a put that began in time may still be under way")
        #expect(try await discarded() == [])
        #expect(try await end(after: Catalog.grantOutlivesAddress) == 1)
        #expect(try await discarded() == [name(of: left)])
        #expect(try await !claim(left), "what is about to be deleted is claimed no more")
        let first = try await catalog.discardedObjects(
            in: fixture.store.number, limit: 10, now: fixture.clock.now())
        try await catalog.removeDiscarded(first)
        #expect(try await end(after: .seconds(3600)) == 0)
        #expect(try await discarded() == [])
        #expect(try await end(after: Catalog.lastLookAtGrant) == 0)
        #expect(try await discarded() == [name(of: left)], "a put that ended late is found too")
        try await catalog.removeDiscarded(
            try await catalog.discardedObjects(in: fixture.store.number, limit: 10, now: fixture.clock.now()))
        #expect(try await end(after: Catalog.lastLookAtGrant) == 0)
        #expect(try await discarded() == [])
    }

    /// As in a catalog that was put back from an older state.
    @Test func whatCountsAsACopyIsNeverDeletedForItsGrant() async throws {
        let grant = try makeGrant()
        #expect(try await catalog.grant([grant], limit: 8) == 1)
        try await catalog.add(
            Catalog.NewPack(
                id: grant.pack, scope: grant.scope, sizeBytes: 1000, replicas: [(grant.store, grant.generation)],
                chunks: []), now: fixture.clock.now())
        #expect(try await end(after: .seconds(901) + Catalog.grantOutlivesAddress) == 1)
        _ = try await end(after: Catalog.lastLookAtGrant)
        #expect(try await discarded() == [])
    }
}
