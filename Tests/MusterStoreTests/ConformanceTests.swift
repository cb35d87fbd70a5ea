import MusterModel
import MusterStore
import MusterTestSupport
import Testing

@Suite("Every store passes the same claims")
struct ConformanceTests {
    @Test("the memory store", arguments: StoreConformance.claims)
    func memoryStore(claim: StoreConformance) async throws {
        try await claim.check(MemoryStore(), random: .seeded(1))
    }

    @Test("the folder store", arguments: StoreConformance.claims)
    func folderStore(claim: StoreConformance) async throws {
        let fixture = try await FolderFixture()
        try await claim.check(fixture.store, random: .seeded(1))
        #expect(try fixture.incoming().isEmpty)
    }

    @Test("the faulty store without faults", arguments: StoreConformance.claims)
    func faultyStoreWithoutFaults(claim: StoreConformance) async throws {
        try await claim.check(FaultyStore(MemoryStore()), random: .seeded(1))
    }
}
