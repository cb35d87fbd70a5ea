import Foundation
import MusterSQLite
import Testing

extension EndToEnd {
    @Suite("A fleet and a database come back")
    struct FleetRestoreTests {
        @Test func aFleetSnapshotIsRestoredAsOne() async throws {
            let fleet = try await Fleet()
            let (berlin, munich) = (try await Node(fleet, "berlin"), try await Node(fleet, "munich"))
            var copies: [String: String] = [:]
            for (node, names) in [(berlin, ["shop", "idle"]), (munich, ["shop"])] {
                for name in names {
                    let source = try SampleDatabase.make(fleet.path("\(node.name)-\(name).db"))
                    try await node.add(source, name: name)
                    copies["\(node.name)/\(name)"] = source
                }
                try node.start()
            }
            _ = try await fleet.awaitSnapshots(3)
            try await fleet.succeed("database", "pause", "--dir", berlin.directory, "idle")
            try await eventually("a pause that was reported") {
                try await fleet.json("database", "list").list.contains { $0["capture"].text == "paused" }
            }
            let taken = try await fleet.run(
                "snapshot", "create", "--fleet", "--name", "r14", "--label", "release=1.4", "--wait")
            #expect(taken.status == 2 && taken.errors.contains("2 of 3"), "\(taken.errors)")
            let shown = try await fleet.run("fleet-snapshot", "show", "r14", "--format", "json")
            #expect(shown.status == 2)
            #expect(try shown.json["items"].list.map(\.["error_summary"]).contains(.text("it is paused on its node")))
            #expect(try await fleet.snapshots("--fleet-snapshot", "r14").count == 2)

            let arguments = ["restore", "--fleet-snapshot", "r14", "--recovery-key", fleet.recoveryKey]
            let folder = fleet.path("back")
            let plan = try await fleet.run(arguments + ["--to", folder, "--dry-run", "--format", "json"])
            #expect(plan.status == 2 && !FileManager.default.fileExists(atPath: folder))
            let planned = try plan.json.list.filter { $0["conflict"] == .null }
            #expect(
                Set(planned.map(\.["source_path"].text)) == [copies["berlin/shop"] ?? "", copies["munich/shop"] ?? ""])
            let done = try await fleet.run(arguments + ["--to", folder, "--format", "json"])
            #expect(done.status == 2, "\(done.errors)")
            #expect(try done.json["passed"].number == 2 && done.json["total"].number == 3)
            #expect(try done.json["failed"].list.first?["reason"].text.contains("paused") == true)
            for name in ["berlin/shop", "munich/shop"] {
                let restored = try SampleDatabase.image("\(folder)/\(name).db")
                #expect(try restored == SampleDatabase.image(try #require(copies[name])), "\(name)")
            }
            // What stands there stays.
            #expect(try await fleet.run(arguments + ["--to", folder]).status == 1)
            #expect(
                try await fleet.run(
                    "restore", "--fleet-snapshot", "r15", "--recovery-key", fleet.recoveryKey,
                    "--to", folder
                ).status == 3)
            #expect(try await fleet.run("fleet-snapshot", "forget", "r14").status == 64)
            #expect(try await fleet.json("fleet-snapshot", "forget", "r14", "--confirm")["released"].number == 2)
        }

        @Test func aRestoreInItsPlaceKeepsWhatStoodThere() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            try await node.add(source)
            try node.start()
            let id = try #require(try await fleet.awaitSnapshots(1).first)["id"].text
            try await node.stop()
            let before = try SampleDatabase.image(source)
            chmod(source, 0o640)
            try SampleDatabase.grow(source)
            let later = try SampleDatabase.image(source)

            let arguments = ["restore", id, "--agent-dir", node.directory, "--in-place"]
            let asked = try await fleet.run(arguments)
            #expect(asked.status == 64 && asked.output.contains(source) && asked.errors.contains("--confirm"))
            do {
                let user = try SQLiteConnection(path: source, access: .readWrite)
                try user.execute("SELECT 1 FROM item")
                let refused = try await fleet.run(arguments + ["--confirm"])
                #expect(refused.status == 1 && refused.errors.contains("is open in process"), "\(refused.errors)")
                try user.execute("SELECT 1 FROM item")
            }
            #expect(try SampleDatabase.image(source) == later, "nothing was done")
            let done = try await fleet.run(arguments + ["--confirm", "--format", "json"])
            #expect(done.status == 0, "\(done.errors)")
            let kept = try done.json["kept_as"].text
            #expect(kept == source + ".before-restore")
            #expect(try SampleDatabase.image(source) == before)
            #expect(try SampleDatabase.image(kept) == later)
            let mode = try FileManager.default.attributesOfItem(atPath: source)[.posixPermissions] as? Int
            #expect(mode == 0o640)
            let names = try FileManager.default.contentsOfDirectory(atPath: fleet.path("."))
            #expect(!names.contains { $0.contains(".restored-") })
            // What follows is a history of its own.
            try node.start()
            try await node.snapshot()
            #expect(Set(try await fleet.snapshots().map(\.["lineage"].text)).count == 2)
            try await node.stop()
        }
    }
}
