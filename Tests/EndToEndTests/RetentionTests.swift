import Foundation
import Testing

extension EndToEnd {
    @Suite("Retention")
    struct RetentionTests {
        /// A policy from the first look at it to the last regret.
        @Test func givesUpWhatThePolicyDoesNotKeepAndBringsItBack() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            try await node.add(source)
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
            for _ in 1...3 {
                try SampleDatabase.grow(source)
                try await node.snapshot()
            }
            let all = try await fleet.snapshots().map { $0["id"].text }
            try #require(all.count == 4)
            try await fleet.succeed("snapshot", "hold", all[3], "--reason", "the first one")

            // What holds everything is seen before it is set, and a policy of nothing is refused.
            let empty = try await fleet.run("retention", "set", "--fleet", "--keep-last", "0")
            #expect(empty.status == 64 && empty.errors.contains("names nothing to keep"))
            let rules = ["--keep-daily", "1", "--min-age", "0h"]
            let candidate = try await fleet.run(["retention", "preview", "--format", "json"] + rules)
            #expect(try candidate.json.list.map { $0["decision"].text } == ["keep", "expire", "expire", "keep"])
            let young = try await fleet.json("retention", "preview", "--keep-daily", "1").list
            #expect(young.allSatisfy { $0["decision"].text == "keep" }, "all are younger than the minimum age")
            try await fleet.succeed("retention", "set", "--node", "berlin", "--keep-daily", "1", "--min-age", "0h")

            let preview = try await fleet.json("retention", "preview", "--node", "berlin").list
            #expect(preview.map { $0["id"].text } == all)
            #expect(preview[0]["reasons"].list.contains { $0.text == "the head of its lineage" })
            #expect(preview[3]["reasons"].list.map(\.text) == ["held"])
            let dry = try await fleet.json("retention", "apply", "--dry-run").list
            #expect(dry.map { $0["marked"].number } == [2] && dry.allSatisfy { $0["run"] == .null })
            #expect(try await fleet.snapshots().count == 4)

            let applied = try await fleet.json("retention", "apply", "--database", "shop").list
            #expect(applied.map { $0["marked"].number } == [2])
            #expect(try await fleet.snapshots().map { $0["id"].text } == [all[0], all[3]])
            let after = try await fleet.json("retention", "preview").list
            #expect(after.map { $0["id"].text } == all, "what is marked is told of too")
            #expect(after.map { $0["decision"].text } == ["keep", "marked", "marked", "keep"])
            #expect(after.map { $0["grace_until"] == .null } == [true, false, false, true])
            #expect(after[1]["reasons"].list.contains { $0.text.contains("muster retention undo \(all[1])") })
            try await expectRestorableWhileMarked(all, fleet)

            try await fleet.succeed("retention", "undo", try #require(applied.first)["run"].text)
            #expect(try await fleet.snapshots().map { $0["id"].text } == all)
            #expect(try await fleet.json("retention", "apply").list.map { $0["marked"].number } == [0], "it is spared")
            #expect(try await fleet.run("snapshot", "forget", all[0]).status == 1, "it is the head")
            let forgotten = try await fleet.json("snapshot", "forget", all[1]).list
            #expect(forgotten.map { $0["done"] } == [.bool(true)])
            #expect(try await fleet.snapshots().count == 3)
        }

        /// After a restart too.
        private func expectRestorableWhileMarked(_ all: [String], _ fleet: Fleet) async throws {
            try await fleet.runningCoordinator().kill()
            try await fleet.startCoordinator()
            #expect(try await fleet.snapshots("--expired").map { $0["id"].text } == [all[1], all[2]])
            let shown = try await fleet.json("snapshot", "show", all[1]).list
            #expect(shown.allSatisfy { $0["expired_at"] != .null && $0["grace_until"] != .null })
            _ = try await fleet.restore(all[1], to: "marked.db")
            let database = try #require(try await fleet.json("database", "list").list.first)
            #expect(database["snapshot_count"].number == 2 && database["expired_count"].number == 2)
            #expect(database["newest_snapshot_id"].text == all[0])
        }
    }
}
