import Foundation
import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("The dedup question")
struct DedupTests {
    private func place(_ fixture: Fixture) throws -> Catalog.ChunkPlace {
        Catalog.ChunkPlace(id: try fixture.digest(), offset: 8, length: 100)
    }

    @Test func isAnsweredForTheCallersScopeAlone() async throws {
        let fixture = try await Fixture()
        let (alpha, beta) = (try await fixture.makeNode("alpha"), try await fixture.makeNode("beta"))
        let chunk = try place(fixture)
        let pack = try await fixture.makePack(alpha, chunks: [chunk])
        let unknown: ChunkID = try fixture.digest()
        let now = fixture.clock.now()
        let own = try await fixture.catalog.presentChunks([unknown, chunk.id], in: alpha.scope, now: now)
        #expect(own == [Catalog.PresentChunk(index: 1, pack: pack, offset: 8, length: 100)])
        #expect(try await fixture.catalog.presentChunks([chunk.id], in: beta.scope, now: now).isEmpty)
    }

    @Test func countsUncommittedPacksForADayAndCommittedOnesForEver() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        let (kept, lost) = (try place(fixture), try place(fixture))
        let pack = try await fixture.makePack(node, chunks: [kept])
        _ = try await fixture.makePack(node, chunks: [lost])
        #expect(try await fixture.catalog.commit(try fixture.commit(node, packs: [pack])) == .committed)
        func present(after span: Duration) async throws -> [Int] {
            try await fixture.catalog.presentChunks(
                [kept.id, lost.id], in: node.scope, now: fixture.clock.now() + span
            ).map(\.index)
        }
        #expect(try await present(after: .seconds(86_399)) == [0, 1])
        #expect(try await present(after: .seconds(86_401)) == [0])
    }

    @Test func leasesWhatItAnswersForADay() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        let chunk = try place(fixture)
        _ = try await fixture.makePack(node, chunks: [chunk])
        func lease(askedAfter span: Duration) async throws -> Duration {
            let now = fixture.clock.now() + span
            _ = try await fixture.catalog.presentChunks([chunk.id], in: node.scope, now: now)
            let until = try await fixture.catalog.pool.read { database in
                try Int64.fetchOne(database, sql: "SELECT leased_until FROM pack")
            }
            return Timestamp(microseconds: try #require(until)) - fixture.clock.now()
        }
        #expect(try await lease(askedAfter: .seconds(3600)) == .seconds(24 * 3600), "a young lease costs no write")
        #expect(try await lease(askedAfter: .seconds(13 * 3600)) == .seconds(37 * 3600))
    }

    @Test func aPackThatComesAgainReplacesItsDamagedReplica() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        let pack = try await fixture.makePack(node)
        let replica = try #require(try await fixture.catalog.replicas(of: pack, in: nil).first)
        try await fixture.catalog.mark(
            pack: replica.pack, store: replica.store, generation: replica.generation, as: .missing, isHashed: true,
            now: fixture.clock.now())
        try await fixture.catalog.add(
            Catalog.NewPack(
                id: pack, scope: node.scope, sizeBytes: 1000, replicas: [(fixture.store.number, "00000000000000dd")],
                chunks: []),
            now: fixture.clock.now())
        let healed = try await fixture.catalog.replicas(of: pack, in: nil)
        #expect(healed.map(\.generation) == ["00000000000000dd"])
        #expect(healed.map(\.state) == [.present])
        // An inspection of the old copy that ends now must not blame the new one.
        try await fixture.catalog.mark(
            pack: replica.pack, store: replica.store, generation: replica.generation, as: .damaged, isHashed: true,
            now: fixture.clock.now())
        #expect(try await fixture.catalog.hasPack(pack, in: node.scope))
    }
}
