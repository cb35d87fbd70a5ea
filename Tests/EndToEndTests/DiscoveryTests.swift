import Foundation
import Testing

extension EndToEnd {
    @Suite("Databases that a pattern finds")
    struct DiscoveryTests {
        @Test func whatTurnsUpIsProtectedAndWhatGoesIsSaid() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            try makeDatabase(fleet, "app/a/shop.db")
            try Data("a text".utf8).write(to: URL(filePath: fleet.path("app/a/notes.db")))
            try await addPattern(node, "app/**/*.db")
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
            // A folder with a database, and a file that becomes one.
            try makeDatabase(fleet, "app/b/c/shop.db")
            try Data().write(to: URL(filePath: fleet.path("app/late.db")))
            try makeDatabase(fleet, "app/late.db")
            try await eventually("snapshots of all three", within: .seconds(50)) {
                Set(try await fleet.snapshots().map(\.["database"].text)) == ["a/shop.db", "b/c/shop.db", "late.db"]
            }
            let ids = try await rows(node).mapValues { $0["id"].text }

            try FileManager.default.moveItem(atPath: fleet.path("app/b"), toPath: fleet.path("elsewhere"))
            try await awaitState("vanished", of: "b/c/shop.db", node)
            try await eventually("the coordinator's word") {
                let database = try await fleet.json("database", "list").list.first { $0["name"].text == "b/c/shop.db" }
                return database?["error_summary"].text.contains("missing since") == true
            }
            #expect(try await fleet.run("snapshot", "create", "--database", "b/c/shop.db", "--wait").status == 1)
            #expect(try await fleet.snapshots("--database", "b/c/shop.db").count > 0, "the history stays")

            // Over a restart, too, it is the same database when it comes back.
            try await node.stop()
            try node.start()
            try FileManager.default.moveItem(atPath: fleet.path("elsewhere"), toPath: fleet.path("app/b"))
            try await awaitState("active", of: "b/c/shop.db", node)
            #expect(try await rows(node).mapValues { $0["id"].text } == ids)
            try await fleet.succeed("snapshot", "create", "--database", "b/c/shop.db", "--wait")
            let lineages = Set(try await fleet.snapshots("--database", "b/c/shop.db").map(\.["lineage"]))
            #expect(lineages.count == 1)
        }

        @Test func oneOfAPatternCanBePausedAndRemoved() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            for name in ["a", "b", "c"] { try makeDatabase(fleet, "app/\(name)/shop.db") }
            try await addPattern(node, "app/*/shop.db", "--exclude", "c")
            try node.start()
            _ = try await fleet.awaitSnapshots(2)
            #expect(try await states(node) == ["a/shop.db": "active", "b/shop.db": "active"])

            try await fleet.succeed("database", "pause", "--dir", node.directory, "a/shop.db")
            #expect(try await states(node) == ["a/shop.db": "paused", "b/shop.db": "active"])
            #expect(try await fleet.run("snapshot", "create", "--database", "a/shop.db", "--wait").status == 1)
            try await fleet.succeed("database", "resume", "--dir", node.directory, "a/shop.db")
            try await fleet.succeed("snapshot", "create", "--database", "a/shop.db", "--wait")

            let pattern = fleet.path("app/*/shop.db")
            try await fleet.succeed("database", "pause", "--dir", node.directory, pattern)
            #expect(try await states(node) == ["a/shop.db": "paused", "b/shop.db": "paused"])
            let refused = try await fleet.run("database", "resume", "--dir", node.directory, "a/shop.db")
            #expect(refused.status == 1 && refused.errors.contains(pattern), "\(refused.errors)")
            try await fleet.succeed("database", "resume", "--dir", node.directory, pattern)

            try await fleet.succeed("database", "remove", "--dir", node.directory, fleet.path("app/a/shop.db"))
            #expect(try await states(node) == ["b/shop.db": "active"])
            try await fleet.succeed("database", "remove", "--dir", node.directory, pattern)
            #expect(try await states(node) == [:])
            #expect(try await fleet.snapshots().count >= 3)
        }

        @Test func theAgentDoesNotBackItselfUp() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            try makeDatabase(fleet, "app/shop.db")
            try await addPattern(node, "**/*.db", "--exclude", "coordinator")
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
            #expect(try await states(node) == ["app/shop.db": "active"])
        }

        @Test(
            "what cannot be is refused",
            arguments: [["--pattern", "app/*.db"], [], ["/a.db", "--pattern", "/b"], ["/a.db", "--exclude", "x"]])
        func whatCannotBeIsRefused(arguments: [String]) async throws {
            let fleet = try await Fleet()
            let outcome = try await fleet.run(["database", "add", "--dir", fleet.path("agent")] + arguments)
            #expect(outcome.status == 64, "\(outcome.errors)")
        }

        private func makeDatabase(_ fleet: Fleet, _ name: String) throws {
            let path = fleet.path(name)
            try FileManager.default.createDirectory(
                at: URL(filePath: path).deletingLastPathComponent(), withIntermediateDirectories: true)
            try SampleDatabase.make(path)
        }

        private func addPattern(_ node: Node, _ pattern: String, _ more: String...) async throws {
            let arguments = ["database", "add", "--dir", node.directory, "--pattern", node.fleet.path(pattern)]
            let outcome = try await node.fleet.run(arguments + ["--every", "200ms"] + more)
            try #require(outcome.status == 0, "\(outcome.errors)")
        }

        private func rows(_ node: Node) async throws -> [String: JSON] {
            let rows = try await node.fleet.json("database", "list", "--dir", node.directory).list
            return Dictionary(rows.map { ($0["name"].text, $0) }) { $1 }
        }

        private func states(_ node: Node) async throws -> [String: String] {
            try await rows(node).mapValues { $0["state"].text }
        }

        private func awaitState(_ state: String, of name: String, _ node: Node) async throws {
            try await eventually("'\(name)' as \(state)") { try await self.states(node)[name] == state }
        }
    }
}
