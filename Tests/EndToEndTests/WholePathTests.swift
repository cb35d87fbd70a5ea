import Foundation
import Testing

extension EndToEnd {
    @Suite("The whole path")
    struct WholePathTests {
        /// DESIGN: the command line's contract, and what the lineage forked from.
        static let snapshotFields: Set = [
            "id", "node", "database", "lineage", "sequence", "created_at", "received_at", "size_bytes", "stored_bytes",
            "checksum", "labels", "replicas", "wanted_replicas", "verified_at", "verdict", "forked_from", "expired_at",
            "expired_by",
            "grace_until", "holds",
        ]
        static let reportFields: Set = ["run", "passed", "total", "failed"]

        @Test func aSnapshotIsTakenListedVerifiedAndRestored() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            try await node.add(source)
            #expect(try await fleet.snapshots() == [], "an empty list is an empty array")
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
            let before = fleet.path("before.db")
            try FileManager.default.copyItem(atPath: source, toPath: before)
            try SampleDatabase.grow(source)

            let jobs = try await fleet.json(
                "snapshot", "create", "--fleet", "--wait", "--label", "reason=test", "--label", "shift=night")
            #expect(jobs.list.map(\.["state"].text) == ["done"])
            let listed = try await fleet.snapshots()
            try #require(listed.count == 2)
            let (newest, oldest) = (listed[0], listed[1])
            try await expectListed(newest, oldest, fleet, jobs)
            try await expectVerified(newest, fleet)
            try await expectRestores(newest: newest, is: source, oldest: oldest, is: before, node)
        }

        private func expectListed(_ newest: JSON, _ oldest: JSON, _ fleet: Fleet, _ jobs: JSON) async throws {
            #expect(newest.keys == Self.snapshotFields)
            #expect(newest["id"] == jobs.list.first?["outcome_snapshot_id"])
            #expect([newest["node"].text, newest["database"].text] == ["berlin", "shop"])
            #expect(oldest["sequence"].number == 0 && newest["sequence"].number == 1)
            #expect(newest["lineage"] == oldest["lineage"])
            #expect(newest["labels"].keys == ["reason", "shift", "fleet-snapshot"])
            #expect([newest["labels"]["reason"].text, newest["labels"]["shift"].text] == ["test", "night"])
            let fleetSnapshot = newest["labels"]["fleet-snapshot"].text
            #expect(try await fleet.snapshots("--fleet-snapshot", fleetSnapshot) == [newest])
            let shown = try await fleet.json("fleet-snapshot", "show", fleetSnapshot)["fleet_snapshot"]
            #expect(shown["taken"].number == 1 && shown["total"].number == 1 && shown["state"].text == "finished")
            #expect(oldest["labels"] == .object([:]))
            #expect(newest["replicas"].list.map(\.["state"].text) == ["present"])
            #expect(newest["verdict"] == .null && newest["verified_at"] == .null)
            #expect(try await fleet.json("snapshot", "show", newest["id"].text).list == [newest])
            #expect(try await fleet.snapshots("--label", "reason=test") == [newest])
            #expect(try await fleet.snapshots("--since", newest["received_at"].text) == [newest])
            #expect(try await fleet.snapshots("--limit", "1") == [newest])
            #expect(try await fleet.snapshots("--node", "berlin", "--database", "shop") == [newest, oldest])
        }

        private func expectVerified(_ newest: JSON, _ fleet: Fleet) async throws {
            for level in ["check", "scrub", "verify"] {
                let report = try await fleet.json("verify", newest["id"].text, "--level", level, "--wait")
                #expect(report.keys == Self.reportFields.union(["refused"]), "\(level)")
                #expect(report["passed"].number == 1 && report["total"].number == 1, "\(level)")
                #expect(report["failed"].list == [], "\(level)")
                #expect(try await fleet.json("verify", "show", report["run"].text) == report, "\(level)")
            }
            let verified = try await fleet.json("snapshot", "show", newest["id"].text).list.first ?? .null
            #expect(verified["verdict"] != .null && verified["verified_at"] != .null)
        }

        private func expectRestores(
            newest: JSON, is source: String, oldest: JSON, is before: String, _ node: Node
        ) async throws {
            let fleet = node.fleet
            let own = ["--agent-dir", node.directory]
            let recovery = ["--recovery-key", fleet.coordinatorDirectory + "/recovery-key.txt"]
            let named = ["--node", "berlin", "--database", "shop"]
            let ways: [(name: String, arguments: [String], wanted: String)] = [
                ("prefix", [String(newest["id"].text.prefix(6))] + own, source),
                ("older", [oldest["id"].text] + recovery, before), ("newest", named + recovery, source),
                ("at", named + ["--at", oldest["received_at"].text] + own, before),
            ]
            for way in ways {
                let target = fleet.path("\(way.name).db")
                let plan = try await fleet.run(["restore", "--to", target, "--dry-run"] + way.arguments)
                #expect(plan.status == 0 && plan.output.contains("would restore"), "\(way.name): \(plan.errors)")
                #expect(!FileManager.default.fileExists(atPath: target), "\(way.name)")

                let outcome = try await fleet.run(["restore", "--to", target, "--format", "json"] + way.arguments)
                try #require(outcome.status == 0, "\(way.name): \(outcome.errors)")
                #expect(try Self.reportFields.isSubset(of: outcome.json.keys), "\(way.name)")
                let expected = way.wanted == before ? oldest : newest
                #expect(try outcome.json["checksum"] == expected["checksum"], "\(way.name)")
                #expect(FileManager.default.contentsEqual(atPath: target, andPath: way.wanted), "\(way.name)")
            }
        }

        @Test func aCommandThatFailsSaysWhyAndWhatToDo() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            try await node.add(try SampleDatabase.make(fleet.path("shop.db")))
            try node.start()
            let id = try await fleet.awaitSnapshots(1)[0]["id"].text
            let key = ["--agent-dir", node.directory]
            let there = fleet.path("there.db")
            try Data("something else".utf8).write(to: URL(filePath: there))
            let missing = String(repeating: "0", count: 32)

            let refused: [(arguments: [String], status: Int32)] = [
                (["restore", id, "--to", there] + key, 1), (["restore", id, "--to", there, "--dry-run"] + key, 1),
                (["restore", id, "--to", fleet.path("no-folder/new.db"), "--dry-run"] + key, 1),
                (["snapshot", "list", "--store", fleet.path("no-store")], 1),
                (["restore", missing, "--store", fleet.store.url.path(), "--to", fleet.path("new.db")] + key, 3),
                (["coordinator", "init", "--dir", fleet.path("other")], 1),
                (["agent", "join", "--dir", fleet.path("other"), "no-token"], 1),
                (["status", "--context", fleet.path("no-context.json")], 1),
                (["database", "add", "--dir", node.directory, fleet.path("shop.db")], 1),
                (["node", "invite", "berlin"], 1), (["snapshot", "show", missing], 3),
                (["restore", missing, "--to", fleet.path("new.db")] + key, 3),
                (["restore", "--node", "berlin", "--database", "no", "--to", fleet.path("new.db")] + key, 3),
                (["snapshot", "list", "--node", "nobody"], 3), (["node", "show", "nobody"], 3),
                (["verify", missing, "--wait"], 3), (["verify", "show", missing], 3),
                (["snapshot", "create", "--node", "nobody", "--wait"], 3),
                (
                    ["restore", "--node", "berlin", "--database", "shop", "--at", "2001-01-01T00:00:00Z", "--to"]
                        + [fleet.path("new.db")] + key, 3
                ),
            ]
            for (arguments, status) in refused {
                let outcome = try await fleet.run(arguments)
                #expect(outcome.status == status, "\(arguments): \(outcome.errors)")
                #expect(outcome.output == "", "\(arguments)")
                let lines = outcome.errors.split(separator: "\n").map(String.init)
                #expect(lines.first?.hasPrefix("error: ") == true, "\(arguments): \(outcome.errors)")
                #expect(lines.contains { $0.hasPrefix("hint: ") && $0.hasSuffix(".") }, "\(arguments)")
            }
            #expect(try String(contentsOfFile: there, encoding: .utf8) == "something else")
            #expect(!FileManager.default.fileExists(atPath: fleet.path("new.db")))
        }

        @Test func aWrongUsageIs64() async throws {
            let fleet = try await Fleet()
            let wrong: [[String]] = [
                ["no-such-noun"], ["restore"], ["restore", "abcdef", "--to", "x"],
                ["snapshot", "list", "--limit", "0"],
                ["verify"], ["verify", "abcdef", "--level", "deep"], ["snapshot", "create", "--label", "no-value"],
                ["database", "add", "--dir", "x", "y", "--every", "often"], ["verify", "abcdef", "--store", "x"],
                ["database", "add", "--dir", "x", "y", "--jitter", "often"],
                ["snapshot", "create", "--fleet", "--node", "berlin"],
                ["restore", "abcdef", "--agent-dir", "x", "--to", "y", "--at", "2026-01-01T00:00:00Z"],
            ]
            for arguments in wrong {
                let outcome = try await fleet.run(arguments)
                #expect(outcome.status == 64, "\(arguments): \(outcome.errors)")
                #expect(outcome.output == "" && !outcome.errors.isEmpty, "\(arguments)")
            }
            #expect(try await fleet.run("--help").status == 0)
        }
    }
}
