import Foundation
import Testing

/// Orders that are waited for and taken back, and whose keys a restore goes by.
extension EndToEnd.NodeRestoreTests {
    /// Here too, with the recovery key and no node in between.
    @Test func theSourcesKeyIsHeldToWhatIsKnownInAPlainRestore() async throws {
        let scene = try await Scene()
        let fleet = scene.fleet
        let source = try await fleet.json("agent", "show", "--dir", scene.berlin.directory)["fingerprint"].text
        let id = try await fleet.json("node", "show", "berlin")["node"]["id"].text
        let wrong = String(repeating: "0", count: 64)
        let file = fleet.path("context.json.known-nodes")
        func restore(_ name: String, _ more: [String] = []) async throws -> Outcome {
            try await fleet.run(
                ["restore", scene.id, "--recovery-key", fleet.recoveryKey, "--to", fleet.path("\(name).db")] + more)
        }
        let refused = try await restore("a", ["--source-fingerprint", wrong])
        #expect(refused.status == 1 && refused.errors.contains("not \(wrong)"), "\(refused.errors)")
        let first = try await restore("b")
        #expect(first.status == 0 && first.errors.contains(source), "\(first.errors)")
        let second = try await restore("c")
        #expect(second.status == 0 && !second.errors.contains("warning"), "\(second.errors)")
        // As the first version wrote it.
        try "{\"\(id)\": \"\(wrong)\"}".write(toFile: file, atomically: true, encoding: .utf8)
        let changed = try await restore("d")
        #expect(changed.status == 1 && changed.errors.contains("another signing key"), "\(changed.errors)")
        let given = try await restore("e", ["--source-fingerprint", source])
        #expect(given.status == 0, "\(given.errors)")
        #expect(try String(contentsOfFile: file, encoding: .utf8).contains(source))
        try "{\"\(id)\": \"\(source)\"}".write(toFile: file, atomically: true, encoding: .utf8)
        let old = try await restore("f")
        #expect(old.status == 0 && !old.errors.contains("warning"), "\(old.errors)")
        try "{\"\(id)\": \"\(source)\"}".write(toFile: file, atomically: true, encoding: .utf8)
        let named = try await fleet.run(
            "restore", "--node", "berlin", "--database", "shop", "--recovery-key", fleet.recoveryKey, "--to",
            fleet.path("g.db"))
        #expect(named.status == 0 && !named.errors.contains("warning"), "\(named.errors)")
        #expect(try String(contentsOfFile: file, encoding: .utf8).contains("berlin"), "from now on it has its name")
        for (name, isThere) in [("a", false), ("b", true), ("d", false), ("e", true)] {
            #expect(FileManager.default.fileExists(atPath: fleet.path("\(name).db")) == isThere, "\(name)")
        }
        // A node that restores its own is one and the same.
        try scene.berlin.allowRestores(into: scene.folder)
        let own = ["restore", scene.id, "--on", "berlin", "--to", scene.folder + "/own.db", "--source-fingerprint"]
        let strange = try await fleet.run(own + [wrong])
        #expect(strange.status == 1 && strange.errors.contains("not \(wrong)"), "\(strange.errors)")
        #expect(try await fleet.run(own + [wrong, "--dry-run"]).status == 1)
        #expect(try await fleet.run(own + [source]).status == 0)
        let here = ["restore", scene.id, "--agent-dir", scene.berlin.directory, "--to", fleet.path("x.db")]
        #expect(try await fleet.run(here + ["--source-fingerprint", source]).status == 64)
    }

    @Test func anOrderIsTakenBackBeforeItsNodeCame() async throws {
        let scene = try await Scene()
        let (fleet, target) = (scene.fleet, scene.folder + "/shop.db")
        let fingerprint = try await scene.fingerprint()
        try await scene.hamburg.stop()
        let begun = try await scene.restore(
            "--on", "hamburg", "--to", target, "--recovery-key", fleet.recoveryKey, "--fingerprint", fingerprint,
            "--no-wait")
        #expect(begun.status == 0, "\(begun.errors)")
        let (run, order) = (try begun.json["run"].text, try begun.json["items"].list[0]["order"].text)
        let cancelled = try await fleet.json("restore", "cancel", order)
        #expect(cancelled["run"].text == run && cancelled["state"].text == "finished")
        #expect(cancelled["items"].list[0]["state"].text == "cancelled")
        #expect(try await fleet.run("restore", "cancel", String(repeating: "0", count: 32)).status == 3)
        try scene.hamburg.start()
        // What is ordered after it is done after it: then that one would have been.
        let other = try await scene.restore(
            "--on", "hamburg", "--to", scene.folder + "/other.db", "--recovery-key", fleet.recoveryKey,
            "--fingerprint", fingerprint)
        #expect(other.status == 0, "\(other.errors)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: scene.folder) == ["other.db"])
        let shown = try await fleet.run("restore", "show", run)
        #expect(shown.status == 1 && shown.output.contains("taken back by"), "\(shown.output)")
        let audit = try await fleet.json("audit", "list").list.map(\.["action"].text)
        #expect(audit.contains("restore-cancel"))
    }

    /// All that is in a folder.
    private static func move(_ folder: String, to other: String) throws {
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
            try FileManager.default.moveItem(atPath: folder + "/" + name, toPath: other + "/" + name)
        }
    }

    /// For a day, if need be: whoever looks sees why, and can take it back.
    @Test func aNodeThatWaitsForTheStoresSaysSoAndLetsGo() async throws {
        let scene = try await Scene()
        let (fleet, fingerprint) = (scene.fleet, try await scene.fingerprint())
        func order(_ name: String, _ more: [String]) async throws -> Outcome {
            try await fleet.run(
                ["restore", scene.id, "--on", "hamburg", "--to", "\(scene.folder)/\(name).db", "--format", "json"]
                    + ["--recovery-key", fleet.recoveryKey, "--fingerprint", fingerprint] + more)
        }
        try await scene.hamburg.stop()
        let begun = try await order("waits", ["--no-wait"])
        #expect(begun.status == 0, "\(begun.errors)")
        let run = try begun.json["run"].text
        func item() async throws -> JSON {
            let shown = try await fleet.run("restore", "show", run, "--format", "json")
            return try shown.json["items"].list[0]
        }
        let (there, away) = (fleet.store.url.path(percentEncoded: false), fleet.path("store-away"))
        try FileManager.default.createDirectory(atPath: away, withIntermediateDirectories: false)
        // As where a disk was unmounted: the coordinator holds the folder itself.
        try Self.move(there, to: away)
        try scene.hamburg.start()
        try await eventually("the reason why the node waits") { try await item()["waits_for"] != .null }
        #expect(try await fleet.succeed("restore", "show", run).output.contains("waits: "))
        try await fleet.succeed("restore", "cancel", run)
        try await eventually("the node's word that it has stopped") {
            try await item()["error_summary"].text.contains("has stopped")
        }
        #expect(try await item()["state"].text == "cancelled")
        try Self.move(away, to: there)
        try await eventually("a restore, now that the store is back") {
            unlink(scene.folder + "/other.db")
            return try await order("other", []).status == 0
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: scene.folder) == ["other.db"])
    }
}
