import Foundation
import MusterSQLite
import Testing

extension EndToEnd {
    @Suite("Pausing and removing a database")
    struct PauseTests {
        @Test func aPausedDatabaseBelongsToItsApplicationAlone() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            try await node.add(source, every: "100ms")
            try await node.add(try SampleDatabase.make(fleet.path("other.db")), every: "100ms")
            let agent = try node.start()
            _ = try await fleet.awaitSnapshots(2)

            try await fleet.succeed("database", "pause", "--dir", node.directory, "shop")
            #expect(try await states(of: node) == ["other": "active", "shop": "paused"])
            let before = try await fleet.snapshots("--database", "shop").count
            // What the agent would be in the way of, and a change that it would back up.
            try SampleDatabase.change(
                source, "PRAGMA journal_mode=DELETE", "PRAGMA locking_mode=EXCLUSIVE", "BEGIN EXCLUSIVE",
                "INSERT INTO item(content) VALUES (randomblob(9))", "COMMIT")
            let others = try await fleet.snapshots("--database", "other").count
            try SampleDatabase.grow(fleet.path("other.db"))
            try await eventually("a snapshot of the one that goes on") {
                try await fleet.snapshots("--database", "other").count > others
            }
            #expect(try await fleet.snapshots("--database", "shop").count == before)
            let refused = try await fleet.run("snapshot", "create", "--database", "shop", "--wait", "--format", "json")
            #expect(refused.status == 1)
            #expect(try refused.json.list.first?["error_summary"].text.contains("is paused") == true)

            try await fleet.succeed("database", "resume", "--dir", node.directory, "shop")
            try await eventually("a snapshot after the pause") {
                try await fleet.snapshots("--database", "shop").count > before
            }
            let newest = try await fleet.snapshots("--database", "shop")[0]
            try await fleet.expectRestored(newest["id"].text, equals: source)
            #expect(agent.isRunning, "\(agent.standardError)")
        }

        @Test func aPauseHoldsOverARestartAndNeedsNoAgent() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            try await node.add(source, every: "100ms")
            try await fleet.succeed("database", "pause", "--dir", node.directory, source)
            try await fleet.succeed("database", "pause", "--dir", node.directory, source)
            try node.start()
            try await fleet.awaitContact(with: node, databases: 1)
            #expect(try await fleet.run("snapshot", "create", "--database", "shop", "--wait").status == 1)
            #expect(try await fleet.snapshots() == [])
            try await node.stop()
            try await fleet.succeed("database", "resume", "--dir", node.directory, "shop")
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
        }

        @Test func aRemovedDatabaseKeepsItsHistory() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            try await node.add(source, every: "100ms")
            try node.start()
            let id = try await fleet.awaitSnapshots(1)[0]["id"].text
            try await fleet.succeed("database", "remove", "--dir", node.directory, "shop")
            #expect(try await states(of: node) == [:])
            try await fleet.expectRestored(id, equals: source)
            for verb in ["pause", "resume", "remove"] {
                let outcome = try await fleet.run("database", verb, "--dir", node.directory, "shop")
                #expect(outcome.status == 3 && outcome.errors.contains("hint: "), "\(verb): \(outcome.errors)")
            }
        }

        private func states(of node: Node) async throws -> [String: String] {
            let rows = try await node.fleet.json("database", "list", "--dir", node.directory).list
            return Dictionary(rows.map { ($0["name"].text, $0["state"].text) }) { $1 }
        }
    }
}
