import Foundation
import Testing

extension EndToEnd {
    /// `kill -9` in the middle of a push of 64 MiB, which is four packs and a little; three travel at a time.
    @Suite("Killed in the middle of a push")
    struct KillTests {
        /// Slow enough for a pack to arrive well before the last one does.
        private static let slowly = ["MUSTER_UPLOAD_LIMIT_BYTES": "25165824"]
        /// Beside the random content: pages' own bytes, sealing, directories and the map.
        private static let overheadBytes = 3 << 20

        @Test func anAgentThatIsKilledSendsOnlyWhatHadNotArrived() async throws {
            let fleet = try await Fleet()
            let (node, source) = try await pushing(fleet)
            try await node.kill()
            // The coordinator sees the broken connections and drops what it had of those packs.
            try await eventually("the end of the cut-off uploads") { fleet.store.incoming.isEmpty }
            let arrived = fleet.store.packs
            #expect(!arrived.isEmpty && arrived.byteCount < 60 << 20, "the kill did not come in the middle")
            #expect(try await fleet.snapshots() == [])

            try node.start()
            let snapshots = try await fleet.awaitSnapshots(1)
            #expect(fleet.store.packs.objects.isSuperset(of: arrived.objects))
            try expectStoredOnce(fleet, source)
            try await expectOneSnapshot(snapshots, fleet, source)
        }

        @Test func aCoordinatorThatIsKilledIsFoundAgainByItsAgents() async throws {
            let fleet = try await Fleet()
            let (_, source) = try await pushing(fleet)
            try await fleet.runningCoordinator().kill()
            let arrived = fleet.store.packs
            #expect(!arrived.isEmpty && arrived.byteCount < 60 << 20, "the kill did not come in the middle")

            try await fleet.startCoordinator()
            #expect(fleet.store.packs.objects == arrived.objects, "nothing half received has a name")
            // The agent goes on by itself: its retries find the coordinator, or its schedule does.
            let snapshots = try await fleet.awaitSnapshots(1, within: .seconds(120))
            #expect(fleet.store.packs.objects.isSuperset(of: arrived.objects))
            try expectStoredOnce(fleet, source, unrecorded: arrived)
            try await expectOneSnapshot(snapshots, fleet, source)
        }

        /// A node whose agent is in the middle of its first push.
        private func pushing(_ fleet: Fleet) async throws -> (Node, source: String) {
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("large.db"), kibibytes: 64 << 10)
            try await node.add(source)
            try node.start(environment: Self.slowly)
            try await eventually("the first pack") { !fleet.store.packs.isEmpty }
            return (node, source)
        }

        /// - Parameter unrecorded: packs that may have got their name in the store just before the catalog could know
        ///   of them; such a one comes again, as another copy of the same object.
        private func expectStoredOnce(
            _ fleet: Fleet, _ source: String, unrecorded: [StoreFolder.File] = []
        ) throws {
            let size = try FileManager.default.attributesOfItem(atPath: source)[.size] as? Int ?? 0
            #expect(size > 64 << 20)
            let copies = Dictionary(grouping: fleet.store.packs, by: \.id)
            #expect(copies.values.compactMap(\.first).byteCount <= size + Self.overheadBytes, "content came twice")
            let repeated = copies.filter { $0.value.count > 1 }
            #expect(Set(repeated.keys).isSubset(of: unrecorded.map(\.id)))
            #expect(repeated.values.allSatisfy { $0.count == 2 })
            #expect(fleet.store.incoming == [])
        }

        private func expectOneSnapshot(_ snapshots: [JSON], _ fleet: Fleet, _ source: String) async throws {
            #expect(snapshots.map(\.["sequence"].number) == [0])
            let id = snapshots[0]["id"].text
            #expect(fleet.store.manifests.count == 1 && fleet.store.receipts.count == 1)
            try await fleet.succeed("verify", id, "--level", "scrub", "--wait")
            try await fleet.expectRestored(id, equals: source)
        }
    }
}
