import Foundation
import Testing

extension EndToEnd {
    @Suite("What is given up goes from the stores")
    struct CollectionTests {
        /// Packs stay for a day after they came, whatever the grace; that they go is shown with another clock.
        @Test func andWhatIsKeptRestoresEqual() async throws {
            let fleet = try await Fleet(settings: "gc_grace_seconds: 0\n")
            let node = try await Node(fleet, "berlin")
            try node.start()
            let source = try SampleDatabase.make(fleet.path("app.db"), kibibytes: 512)
            try await node.add(source)
            _ = try await fleet.awaitSnapshots(1)
            // Oldest first. A restore would pin what it reads.
            var images = [try image(of: source, fleet, 0)]
            for round in 1...5 {
                try SampleDatabase.change(source, "CREATE TABLE t\(round)(x)", "INSERT INTO t\(round) VALUES (1)")
                try await node.snapshot()
                images.append(try image(of: source, fleet, round))
            }
            let ids = try await fleet.snapshots().map { $0["id"].text }
            try #require(ids.count == 6)
            let manifests = fleet.store.manifests.count

            let idle = try await fleet.json("gc", "run")
            #expect(idle["forgotten_snapshots"].number == 0 && idle["stopped"].text == "")
            #expect(fleet.store.manifests.count == manifests, "nothing is marked")

            // Sequences 3 and 1: no later one is based on them.
            let given = [ids[2], ids[4]]
            for id in given { try await fleet.succeed("snapshot", "forget", id, "--grace", "0h") }
            let dry = try await fleet.json("gc", "run", "--dry-run")
            #expect(dry["estimate"]["snapshots"].number == 2 && dry["forgotten_snapshots"].number == 0)
            let run = try await fleet.json("gc", "run")
            #expect(run["forgotten_snapshots"].number == 2 && run["stopped"].text == "")
            #expect(try await fleet.json("gc", "show")["run"].text == run["run"].text)
            #expect(run["dropped_snapshots"].number == 2 && fleet.store.manifests.count == manifests - 2)
            #expect(fleet.store.receipts.count == manifests - 2)
            for id in given { #expect(try await fleet.run("snapshot", "show", id).status == 3) }
            let rest = try await fleet.snapshots().map { $0["id"].text }
            #expect(rest == [ids[0], ids[1], ids[3], ids[5]])
            for (id, image) in zip(rest, [images[5], images[4], images[2], images[0]]) {
                try await fleet.expectRestored(id, equals: image)
            }
            let verified = try await fleet.run(["verify"] + rest + ["--level", "scrub", "--wait"])
            #expect(verified.status == 0, "\(verified.errors)")
        }

        private func image(of source: String, _ fleet: Fleet, _ round: Int) throws -> String {
            let path = fleet.path("image-\(round).db")
            try Data(try SampleDatabase.image(source)).write(to: URL(filePath: path))
            return path
        }
    }
}
