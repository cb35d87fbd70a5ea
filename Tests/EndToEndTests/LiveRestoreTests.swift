import Foundation
import MusterSQLite
import StressRig
import Testing

extension EndToEnd {
    @Suite("A database comes back while it is open")
    struct LiveRestoreTests {
        private static let soundness = "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"

        @Test(arguments: ["wal", "delete"])
        func applicationsThatHaveItOpenSeeWhatWasRestored(mode: String) async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"), journalMode: mode)
            try await node.add(source, name: "shop")
            try node.start()
            let id = try #require(try await fleet.awaitSnapshots(1).first)["id"].text
            let application = try ApplicationProcess(path: source)
            let before = try application.run("SELECT count(*), sum(id) FROM item")
            try application.run("DELETE FROM item WHERE id > 1")
            let later = try application.run("SELECT count(*), sum(id) FROM item")
            #expect(before != later)

            let arguments = ["restore", id, "--agent-dir", node.directory, "--in-place"]
            #expect(try await fleet.run(arguments + ["--confirm"]).errors.contains("is open in process"))
            let unpaused = try await fleet.run(arguments + ["--live", "--confirm"])
            #expect(unpaused.status == 1 && unpaused.errors.contains("is not paused"), "\(unpaused.errors)")
            try await fleet.succeed("database", "pause", "--dir", node.directory, "shop")
            let asked = try await fleet.run(arguments + ["--live"])
            #expect(asked.status == 64 && asked.errors.contains("--confirm"))
            #expect(try application.run("SELECT count(*), sum(id) FROM item") == later, "nothing was done")

            let done = try await fleet.run(arguments + ["--live", "--confirm", "--format", "json"])
            #expect(done.status == 0, "\(done.errors)")
            #expect(try application.run("SELECT count(*), sum(id) FROM item") == before)
            #expect(try application.run(Self.soundness) == ["0"])
            let kept = try ApplicationProcess(path: try done.json["kept_as"].text)
            #expect(try kept.run("SELECT count(*), sum(id) FROM item") == later)
            try application.run("INSERT INTO item(content) VALUES (x'00')")
            let names = try FileManager.default.contentsOfDirectory(atPath: fleet.path("."))
            #expect(!names.contains { $0.contains(".restored-") })

            // What follows is a history of its own.
            try await fleet.succeed("database", "resume", "--dir", node.directory, "shop")
            try await node.snapshot()
            let snapshots = try await fleet.snapshots()
            let newest = try #require(snapshots.first)
            #expect(newest["sequence"].number == 0 && Set(snapshots.map(\.["lineage"].text)).count == 2)
            let restored = try await fleet.restore(newest["id"].text, to: "newest.db")
            #expect(try SampleDatabase.image(restored) == SampleDatabase.image(source))
            try await node.stop()
        }
    }
}
