import Foundation
import Testing

extension EndToEnd {
    @Suite("A cloned agent")
    struct CloneTests {
        @Test func bothHistoriesStayAndTheForkIsSeen() async throws {
            let fleet = try await Fleet()
            let original = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            try await original.add(source)
            try original.start()
            _ = try await fleet.awaitSnapshots(1)
            try await original.stop()
            let copies = (0..<3).map { number in
                (directory: fleet.path("copy-\(number)"), database: fleet.path("history-\(number).db"))
            }
            try FileManager.default.copyItem(atPath: original.directory, toPath: copies[0].directory)

            try SampleDatabase.change(source, "UPDATE item SET content = 'of the original' WHERE id = 1")
            let first = try await snapshot(original, source, keptAs: copies[0].database)
            // A machine that was cloned has the database under the same name and inode, and goes its own way.
            try SampleDatabase.change(source, "UPDATE item SET content = 'of the clone' WHERE id = 2")
            let clone = Node(fleet, original.name, joinedIn: copies[0].directory)
            let second = try await snapshot(clone, source, keptAs: copies[1].database)
            try SampleDatabase.change(source, "UPDATE item SET content = 'of the original again' WHERE id = 3")
            let third = try await snapshot(original, source, keptAs: copies[2].database)

            let listed = try await fleet.snapshots()
            #expect(listed.count == 4, "\(listed.map { ($0["id"], $0["lineage"], $0["sequence"], $0["received_at"]) })")
            let (mine, theirs) = (first["lineage"], second["lineage"])
            #expect(mine != theirs)
            #expect(third["lineage"] == mine && third["sequence"].number == 2, "the original goes on as before")
            #expect(second["sequence"].number == 0)
            #expect(second["forked_from"].text.contains(mine.text) && second["forked_from"].text.contains(id(first)))
            for (snapshot, copy) in zip([first, second, third], copies) {
                try await fleet.expectRestored(id(snapshot), equals: copy.database)
            }
            let alarms = try await fleet.json("status")["alarms"].list.filter { $0["kind"].text == "fork" }
            #expect(alarms.map(\.["database"].text) == ["shop"])
            #expect(alarms.allSatisfy { $0["hint"].text.hasSuffix(".") })
            #expect(try await fleet.json("database", "list").list.map(\.["lineage_count"].number) == [2])
        }

        @Test func twoThatRunAtTheSameTimeAreToldApart() async throws {
            let fleet = try await Fleet()
            let original = try await Node(fleet, "berlin")
            let configuration = original.directory + "/agent.yaml"
            let text = try String(contentsOfFile: configuration, encoding: .utf8)
            // Every second, so that their turns come soon.
            try ("report_every: 1s\n" + text).write(toFile: configuration, atomically: true, encoding: .utf8)
            let copy = fleet.path("copy")
            try FileManager.default.copyItem(atPath: original.directory, toPath: copy)
            try original.start()
            let clone = Node(fleet, original.name, joinedIn: copy)
            try clone.start()
            func twins() async throws -> [JSON] {
                try await fleet.json("status")["alarms"].list.filter { $0["kind"].text == "twins" }
            }
            try await eventually("an alarm that names both") { try await !twins().isEmpty }
            let alarm = try #require(try await twins().first)
            #expect(alarm["node"].text == "berlin" && alarm["database"].text.isEmpty)
            #expect(alarm["summary"].text.contains("127.0.0.1"), "\(alarm["summary"].text)")
            try await clone.stop()
            try await fleet.succeed("alarm", "clear", "twins", "--node", "berlin")
            try await original.stop()
            // One that is started again is no twin of itself.
            try original.start()
            let before = try await fleet.json("node", "show", "berlin")["node"]["last_contact_at"]
            try await eventually("a sign of life") {
                try await fleet.json("node", "show", "berlin")["node"]["last_contact_at"] != before
            }
            #expect(try await twins().isEmpty)
            try await original.stop()
        }

        private func id(_ snapshot: JSON) -> String { snapshot["id"].text }

        /// Runs the node's agent for one snapshot.
        private func snapshot(_ node: Node, _ source: String, keptAs copy: String) async throws -> JSON {
            try FileManager.default.copyItem(atPath: source, toPath: copy)
            try node.start()
            let job = try await node.snapshot()
            try await node.stop()
            let id = try #require(job.first)["outcome_snapshot_id"].text
            return try #require(try await node.fleet.json("snapshot", "show", id).list.first)
        }
    }
}
