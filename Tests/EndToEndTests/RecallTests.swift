import Foundation
import Testing

extension EndToEnd {
    @Suite("What no store has any more")
    struct RecallTests {
        /// Damages every pack of the fleet's only store, and has that noticed.
        private func damagePacks(_ fleet: Fleet, _ snapshot: String) async throws {
            try await damage(fleet.store.packs, of: fleet, snapshot)
        }

        private func damage(_ files: [StoreFolder.File], of fleet: Fleet, _ snapshot: String) async throws {
            for file in files {
                var bytes = try Data(contentsOf: file.url)
                bytes[bytes.count / 2] ^= 1
                try bytes.write(to: file.url)
            }
            let found = try await fleet.run("verify", snapshot, "--level", "scrub", "--wait")
            #expect(found.status == 1)
        }

        @Test func comesBackFromTheNodeThatMadeIt() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            try node.start()
            let source = try SampleDatabase.make(fleet.path("app.db"))
            try await node.add(source)
            let id = try await fleet.awaitSnapshots(1)[0]["id"].text
            try await damagePacks(fleet, id)
            try await eventually("the packs are whole again") {
                try await fleet.run("verify", id, "--level", "scrub", "--wait").status == 0
            }
            try await fleet.expectRestored(id, equals: source)
            let alarms = try await fleet.json("status")["alarms"].list
            #expect(!alarms.contains { $0["kind"].text == "lost" })
        }

        /// The database does not change, so nothing but the coordinator's asking makes a snapshot.
        @Test func isSentAgainByASnapshotWhereTheNodeKeptNothing() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            try node.start()
            let source = try SampleDatabase.make(fleet.path("app.db"))
            try await node.add(source)
            let lost = try await fleet.awaitSnapshots(1)[0]["id"].text
            try await node.stop()
            let kept = node.directory + "/packs"
            for name in try FileManager.default.contentsOfDirectory(atPath: kept) {
                try FileManager.default.removeItem(atPath: kept + "/" + name)
            }
            try await damagePacks(fleet, lost)
            let alarm = try #require(
                try await fleet.json("status")["alarms"].list.first { $0["kind"].text == "lost" })
            #expect(alarm["database"].text == "app" && alarm["summary"].text.contains(lost))
            try node.start()
            let snapshots = try await fleet.awaitSnapshots(2)
            let new = try #require(snapshots.map { $0["id"].text }.first { $0 != lost })
            try await fleet.succeed("verify", new, "--level", "scrub", "--wait")
            try await fleet.expectRestored(new, equals: source)
        }

        /// The database does not change, and nobody else has a manifest: a snapshot is made that does without it. The
        /// node makes its key record anew; without that no recovery key would open anything.
        @Test func aManifestIsDoneWithoutAndAKeyRecordIsMadeAnew() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            try node.start()
            let source = try SampleDatabase.make(fleet.path("app.db"))
            try await node.add(source)
            let lost = try await fleet.awaitSnapshots(1)[0]["id"].text
            try await node.stop()
            try await damage(fleet.store.manifests + fleet.store.files(under: "nodes"), of: fleet, lost)
            let alarms = try await fleet.json("status")["alarms"].list.filter { $0["kind"].text == "lost" }
            #expect(alarms.count == 2 && alarms.allSatisfy { $0["node"].text == "berlin" })
            #expect(alarms.contains { $0["database"].text == "app" && $0["summary"].text.contains(lost) })
            #expect(alarms.contains { $0["summary"].text.contains("key record") })
            try node.start()
            let new = try #require(
                try await fleet.awaitSnapshots(2).map { $0["id"].text }.first { $0 != lost })
            try await eventually("the key record is back") {
                try await fleet.run("verify", new, "--level", "scrub", "--wait").status == 0
            }
            try await fleet.expectRestored(new, equals: source)
            let left = try await fleet.json("status")["alarms"].list.filter { $0["kind"].text == "lost" }
            #expect(left.count == 1 && left.allSatisfy { $0["summary"].text.contains(lost) }, "the past stays lost")
        }
    }
}
