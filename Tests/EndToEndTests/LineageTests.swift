import Foundation
import Glibc
import StressRig
import Testing

extension EndToEnd {
    @Suite("What becomes of a history when its file changes as a whole")
    struct LineageTests {
        private let fleet: Fleet
        private let node: Node
        private let source: String

        init() async throws {
            fleet = try await Fleet()
            node = try await Node(fleet, "berlin")
            source = try SampleDatabase.make(fleet.path("shop.db"))
            try await node.add(source, every: "100ms")
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
        }

        /// The newest snapshot once one comes back as the database is, which nobody writes to meanwhile.
        ///
        /// Its last commits may be in the WAL alone: an agent that follows it is why a close does not copy them.
        private func awaitCurrent(besides old: [String] = []) async throws -> JSON {
            var newest: JSON?
            try await eventually("a snapshot of the database as it is") {
                guard let snapshot = try await fleet.snapshots().first, !old.contains(snapshot["id"].text) else {
                    return false
                }
                let target = try await fleet.restore(snapshot["id"].text, to: "look-\(UUID().uuidString).db")
                newest = snapshot
                if FileManager.default.contentsEqual(atPath: target, andPath: source) { return true }
                return try FileManager.default.fileExists(atPath: source + "-wal")
                    && SampleDatabase.image(target) == SampleDatabase.image(source)
            }
            return try #require(newest)
        }

        private func replacements() async throws -> [JSON] {
            try await fleet.json("status")["alarms"].list.filter { $0["kind"].text == "replaced" }
        }

        private func expectOneLineage() async throws {
            #expect(Set(try await fleet.snapshots().map(\.["lineage"])).count == 1)
            #expect(try await replacements() == [])
        }

        /// And what was there before still comes back.
        private func expectANewLineage(after first: JSON, _ original: String) async throws {
            let newest = try await awaitCurrent(besides: [first["id"].text])
            #expect(newest["lineage"] != first["lineage"])
            let lineages = try await fleet.json("database", "list").list.map(\.["lineage_count"].number)
            #expect(lineages == [2])
            let alarms = try await replacements()
            #expect(alarms.map(\.["database"].text) == ["shop"])
            // A warning, beside which something critical may stand while the agent finds its way.
            let check = try await fleet.run("status", "--check")
            #expect((1...2).contains(check.status), "\(check.output)")
            try await fleet.expectRestored(first["id"].text, equals: original)
        }

        private func kept() throws -> String {
            let copy = fleet.path("original.db")
            try FileManager.default.copyItem(atPath: source, toPath: copy)
            return copy
        }

        @Test(arguments: [false, true])
        func aReplacedFileBeginsANewLineageLoudly(isOpen: Bool) async throws {
            let first = try await awaitCurrent()
            let original = try kept()
            let application = isOpen ? try ApplicationProcess(path: source) : nil
            if let application {
                try application.run("UPDATE item SET content = 'followed' WHERE id = 1")
                _ = try await fleet.awaitSnapshots(2)
            }
            let other = try SampleDatabase.make(fleet.path("other.db"), kibibytes: 128)
            application?.kill()
            for suffix in ["-wal", "-shm"] { unlink(source + suffix) }
            #expect(rename(other, source) == 0)
            try await expectANewLineage(after: first, original)
        }

        @Test func aRestoreInItsPlaceBeginsANewLineage() async throws {
            let first = try await awaitCurrent()
            let original = try kept()
            try SampleDatabase.grow(source)
            _ = try await fleet.awaitSnapshots(2)
            for suffix in ["", "-wal", "-shm"] { rename(source + suffix, fleet.path("moved.db") + suffix) }
            try await fleet.succeed(
                "restore", first["id"].text, "--agent-dir", node.directory, "--to", source)
            try await expectANewLineage(after: first, original)
        }

        @Test func anotherPageSizeBeginsANewLineage() async throws {
            let first = try await awaitCurrent()
            let original = try kept()
            try await SampleDatabase.leaveWAL(source)
            try SampleDatabase.change(source, "PRAGMA page_size=8192", "VACUUM", "PRAGMA journal_mode=WAL")
            try await expectANewLineage(after: first, original)
        }

        @Test(arguments: [false, true])
        func afterAVacuumTheLineageGoesOn(isOpen: Bool) async throws {
            let first = try await awaitCurrent()
            let application = isOpen ? try ApplicationProcess(path: source) : nil
            for statement in ["DELETE FROM item WHERE id % 2 = 0", "VACUUM"] {
                if let application {
                    try application.run(statement)
                } else {
                    try SampleDatabase.change(source, statement)
                }
            }
            if application != nil {
                try await eventually("a snapshot of the compact file") {
                    try await fleet.snapshots().first?["size_bytes"].number ?? 0 < first["size_bytes"].number
                }
            }
            _ = try await awaitCurrent(besides: [first["id"].text])
            try await expectOneLineage()
        }

        @Test func anotherJournalModeChangesNothing() async throws {
            let first = try await awaitCurrent()
            try await SampleDatabase.leaveWAL(source)
            try SampleDatabase.change(source, "UPDATE item SET content = 1 WHERE id = 1")
            let second = try await awaitCurrent(besides: [first["id"].text])
            try SampleDatabase.change(source, "PRAGMA journal_mode=WAL", "UPDATE item SET content = 2 WHERE id = 1")
            _ = try await awaitCurrent(besides: [second["id"].text])
            try await expectOneLineage()
        }

        @Test func aFileWrittenOverInPlaceIsComparedAsAWhole() async throws {
            let first = try await awaitCurrent()
            let other = try SampleDatabase.make(fleet.path("other.db"), kibibytes: 96)
            let bytes = try Data(contentsOf: URL(filePath: other))
            let file = try FileHandle(forWritingTo: URL(filePath: source))
            try file.write(contentsOf: bytes)
            try file.truncate(atOffset: UInt64(bytes.count))
            try file.close()
            _ = try await awaitCurrent(besides: [first["id"].text])
            try await expectOneLineage()
        }
    }
}
