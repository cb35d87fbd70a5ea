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
        let store: FolderStore = fixture.store
        try await claim.check(store, random: .seeded(1))
        #expect(try fixture.incoming().isEmpty)
    }

    @Test("the faulty store without faults", arguments: StoreConformance.claims)
    func faultyStoreWithoutFaults(claim: StoreConformance) async throws {
        try await claim.check(FaultyStore(MemoryStore()), random: .seeded(1))
    }

    @Test("the hanging store while nothing hangs", arguments: StoreConformance.claims)
    func hangingStore(claim: StoreConformance) async throws {
        try await claim.check(HangingStore(MemoryStore(), HangingStore.Hang()), random: .seeded(1))
    }

    @Test("a store that may be away and is there", arguments: StoreConformance.claims, [false, true])
    func reconnectingStore(claim: StoreConformance, isFolder: Bool) async throws {
        let fixture = try await FolderFixture()
        let memory = MemoryStore(name: "disk")
        try await memory.put(.format, try await fixture.store.read(.format, maximumBytes: 1000))
        let store: any Store = isFolder ? fixture.store : memory
        let identity = fixture.store.id
        let reconnecting = ReconnectingStore(
            name: "disk", clock: ManualClock(), identity: identity, keepIdentity: { _ in }
        ) { (store, identity) }
        try await claim.check(reconnecting, random: .seeded(1))
        #expect(reconnecting.absence == nil)
    }
}
