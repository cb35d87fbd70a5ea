import Foundation
import Testing

extension EndToEnd {
    @Suite("Killed at the moments that tell most")
    struct CrashPointTests {
        @Test(
            "an agent that dies there makes exactly one snapshot",
            arguments: ["packs-put", "manifest-kept", "commit-answered"])
        func anAgentThatDiesThereMakesExactlyOneSnapshot(point: String) async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"), kibibytes: 512)
            try await SampleDatabase.rest(source)
            try await node.add(source, every: "500ms")
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
            try await node.stop()
            let first = fleet.path("first.db")
            try FileManager.default.copyItem(atPath: source, toPath: first)
            try SampleDatabase.grow(source)
            try await SampleDatabase.rest(source)

            let dying = try node.start(environment: ["MUSTER_CRASH_AT": point])
            #expect(try await dying.end() == 137, "\(dying.standardError)")
            let committed = point == "commit-answered" ? 2 : 1
            #expect(try await fleet.snapshots().count == committed)
            let receipts = try contents(fleet.store.receipts)
            #expect(receipts.count == committed)

            try node.start()
            let snapshots = try await fleet.awaitSnapshots(2)
            #expect(snapshots.map(\.["sequence"].number) == [1, 0])
            #expect(Set(snapshots.map(\.["lineage"])).count == 1)
            let now = try contents(fleet.store.receipts)
            for (name, bytes) in receipts { #expect(now[name] == bytes, "receipt \(name) has changed") }
            try await fleet.expectRestored(snapshots[0]["id"].text, equals: source)
            try await fleet.expectRestored(snapshots[1]["id"].text, equals: first)
            try await expectNextInLine(node, source)
        }

        /// The lineage goes on without a gap: nothing else was committed, seen or unseen.
        ///
        /// An agent that looks between the opening of the database and the commit takes one more of the old content.
        private func expectNextInLine(_ node: Node, _ source: String) async throws {
            let before = Set(try await node.fleet.snapshots().map(\.["checksum"]))
            #expect(before.count == 2)
            try SampleDatabase.grow(source)
            var all: [JSON] = []
            try await eventually("a snapshot of what is new") {
                all = try await node.fleet.snapshots()
                return try !before.contains(#require(all.first)["checksum"])
            }
            #expect(all.map(\.["sequence"].number) == (0..<all.count).reversed().map { $0 })
            #expect(all.count <= 4, "the same content was committed again and again")
        }

        private func contents(_ files: [StoreFolder.File]) throws -> [String: Data] {
            try Dictionary(uniqueKeysWithValues: files.map { ($0.object, try Data(contentsOf: $0.url)) })
        }
    }
}
