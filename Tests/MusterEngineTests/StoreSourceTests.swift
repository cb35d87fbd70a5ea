import MusterEngine
import MusterFormat
import MusterModel
import MusterStore
import MusterTestSupport
import Testing

@Suite("A store read by itself")
struct StoreSourceTests {
    /// The order of a listing is nobody's choice, so each copy is the bad one once.
    @Test(arguments: [0, 1])
    func ofSeveralCopiesTheGoodOneIsRead(bad: Int) async throws {
        let store = MemoryStore(name: "memory")
        let bytes = [UInt8](repeating: 7, count: 5000)
        let id: PackID = SHA256Hasher.hash(bytes)
        for (index, generation) in ["0000000000000001", "0000000000000002"].enumerated() {
            var copy = bytes
            if index == bad { copy[2500] ^= 1 }
            try await store.put(.pack(id, try #require(Generation(generation))), copy)
        }
        let source = try await StoreSource(store)
        #expect(try await source.read(id, 2000..<3000) == Array(bytes[2000..<3000]))
    }

    /// Which store is asked first must not decide whether an object counts as damaged.
    @Test(arguments: [false, true])
    func whatAStoreThatIsAwayMayHaveIsNotMissing(isAwayFirst: Bool) async throws {
        let (empty, full) = (MemoryStore(name: "empty"), MemoryStore(name: "full"))
        let bytes = [UInt8](repeating: 7, count: 5000)
        let id: PackID = SHA256Hasher.hash(bytes)
        let name = ObjectName.pack(id, try #require(Generation("0000000000000001")))
        try await full.put(name, bytes)
        let away = FaultyStore(full, faults: [.failReads(of: name, .unavailable(store: "full", reason: "away"))])
        let sources = [try await StoreSource(empty), try await StoreSource(away)]
        let source = StoresSource(isAwayFirst ? sources.reversed() : sources)
        await #expect(throws: StoreError.self) { _ = try await source.read(id, 0..<100, after: []) }
    }
}
