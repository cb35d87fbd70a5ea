import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterStore

/// A broken connection must neither lose an object that was made nor claim one that somebody else made.
@Suite("A store on another node, when answers are lost", .timeLimit(.minutes(10)))
struct NodeStoreAnswerTests {
    /// A store behind a relay, with a connection that is kept from an earlier request.
    private func withRelay(_ body: (NodeStoreRig, NodeStore, NodeStore, CuttingRelay) async throws -> Void) async throws
    {
        let rig = try NodeStoreRig()
        try await rig.serve { port in
            let relay = try CuttingRelay(to: port)
            defer { relay.end() }
            let store = try rig.store(port: relay.port, maximumAttempts: 4)
            _ = try await store.freeBytes()
            try await body(rig, store, try rig.store(port: port), relay)
            #expect(relay.connectionCount > 1, "no answer was lost")
        }
    }

    @Test(arguments: [1, 10_000, 3_000_000])
    func aPutWhoseAnswerWasLostSucceeds(byteCount: Int) async throws {
        try await withRelay { _, store, direct, relay in
            let (name, bytes) = (try ObjectName.somePack(), RandomSource.seeded(3).bytes(byteCount))
            relay.loseNextAnswer()
            try await store.put(name, bytes)
            #expect(try await direct.read(name, maximumBytes: byteCount) == bytes)
        }
    }

    @Test(arguments: [1, 10_000, 3_000_000])
    func aNameThatAnotherTookIsNotClaimed(byteCount: Int) async throws {
        try await withRelay { _, store, direct, relay in
            let (name, bytes) = (try ObjectName.somePack(), RandomSource.seeded(4).bytes(byteCount))
            let others = bytes.dropLast() + [bytes[byteCount - 1] ^ 1]
            try await direct.put(name, Array(others))
            relay.loseNextAnswer()
            await #expect(throws: StoreError.alreadyExists(store: "elsewhere", object: name)) {
                try await store.put(name, bytes)
            }
        }
    }

    @Test func aPageWhoseAnswerWasLostIsListedOnce() async throws {
        try await withRelay { _, store, direct, relay in
            let names = try (0..<1500).map { _ in try ObjectName.somePack() }
            for name in names { try await direct.put(name, [1]) }
            let cursor = try await store.list(.packs)
            var listed: [ObjectName] = []
            for _ in 0..<2 {
                relay.loseNextAnswer()
                listed += try await cursor.nextPage().map(\.name)
            }
            #expect(try await cursor.nextPage().isEmpty)
            #expect(listed.count == names.count && Set(listed) == Set(names))
        }
    }

    @Test func aServerThatIsGoneIsAway() async throws {
        let rig = try NodeStoreRig()
        var port = 0
        try await rig.serve { port = $0 }
        let store = try rig.store(port: port, maximumAttempts: 2)
        let error = await #expect(throws: StoreError.self) { try await store.put(.somePack(), [1]) }
        #expect(error?.meansAbsence == true && error?.isTransient == true)
    }
}
