import Foundation
import StressRig
import Testing

extension EndToEnd {
    @Suite("Damage in one of two stores")
    struct ReplicaDamageTests {
        private static let settings = """
            verification: {verify_every: never, drill_every: never}
            placement: {replicas: 2}

            """

        private struct Victim {
            let node: Node
            let id: String
            let source: String
            /// In the store that is asked first, and in the other.
            let pack, other: StoreFolder.File
        }

        private func stores(_ fleet: Fleet) -> (near: StoreFolder, far: StoreFolder) {
            (fleet.store, StoreFolder(url: fleet.folder.url.appending(path: "far")))
        }

        /// A node that keeps nothing near, with one database of one snapshot, which is one pack in each store.
        private func victim(_ name: String, _ fleet: Fleet) async throws -> Victim {
            let (near, far) = stores(fleet)
            let known = near.packs.objects
            let node = try await Node(fleet, name)
            let settings = node.directory + "/agent.yaml"
            let text = try String(contentsOfFile: settings, encoding: .utf8) + "cache_bytes: 0\nreport_every: 1s\n"
            try text.write(toFile: settings, atomically: true, encoding: .utf8)
            let source = try SampleDatabase.make(fleet.path(name + ".db"))
            try await node.add(source, name: name)
            try node.start()
            var id = ""
            try await eventually("the snapshot of \(name) in both stores") {
                let found = try await fleet.snapshots("--node", name)
                id = found.first?["id"].text ?? ""
                return found.first?["replicas"].list.filter { $0["state"].text == "present" }.count == 2
            }
            // No snapshot is made in its place.
            try await fleet.succeed("database", "pause", "--dir", node.directory, name)
            let pack = try #require(near.packs.first { !known.contains($0.object) })
            let other = try #require(far.packs.first { $0.id == pack.id })
            return Victim(node: node, id: id, source: source, pack: pack, other: other)
        }

        private func flip(_ file: StoreFolder.File) throws {
            var bytes = try Data(contentsOf: file.url)
            bytes[bytes.count / 2] ^= 1
            try bytes.write(to: file.url)
        }

        private func isHealed(_ victim: Victim) throws -> Bool {
            let sound = try Data(contentsOf: victim.other.url)
            return try stores(victim.node.fleet).near.packs.contains {
                try $0.id == victim.pack.id && Data(contentsOf: $0.url) == sound
            }
        }

        @Test func aRestoreComesFromTheOtherAndTheReplicaIsMadeAnew() async throws {
            let fleet = try await Fleet(stores: ["near", "far"], settings: Self.settings)
            let victim = try await victim("alpha", fleet)
            try flip(victim.pack)
            try await fleet.expectRestored(victim.id, equals: victim.source)
            try await eventually("a replica that is whole again") { try isHealed(victim) }
            #expect(try await fleet.json("verify", "list").list.isEmpty, "nobody asked for a scrub")
            try await eventually("a status that says so") {
                try await fleet.json("snapshot", "show", victim.id)["replicas"].list
                    .allSatisfy { $0["state"].text == "present" }
            }

            // Without a coordinator: one store has the pack damaged, the other the manifest.
            try await fleet.runningCoordinator().kill()
            let (near, far) = stores(fleet)
            for pack in near.packs where pack.id == victim.pack.id && pack.object != victim.pack.object {
                try flip(pack)
            }
            try flip(try #require(far.manifests.first))
            let places = ["--store", fleet.path("near"), "--store", fleet.path("far")]
            let target = fleet.path("from-both.db")
            let both = try await fleet.run(
                ["restore", victim.id, "--recovery-key", fleet.recoveryKey, "--to", target] + places)
            #expect(both.status == 0, "\(both.errors)")
            #expect(FileManager.default.contentsEqual(atPath: target, andPath: victim.source))
            for place in ["near", "far"] {
                let alone = try await fleet.run(
                    ["restore", victim.id, "--recovery-key", fleet.recoveryKey, "--to", fleet.path("alone.db")]
                        + ["--store", fleet.path(place)])
                #expect(alone.status == 1, "neither is enough by itself")
            }
        }

        /// The small form of `deploy/try-fleet`.
        @Test func aFleetDrillPassesWhatAnyStoreHasAndHealsWhatItMet() async throws {
            let fleet = try await Fleet(stores: ["near", "far"], settings: Self.settings)
            var victims: [Victim] = []
            for name in ["alpha", "beta", "gamma"] { victims.append(try await victim(name, fleet)) }
            let away = try await victim("delta", fleet)
            for victim in victims { try flip(victim.pack) }
            try await away.node.kill()
            let drill = try await fleet.run(
                "verify", "--fleet", "--level", "drill", "--patience", "15s", "--wait", "--format", "json")
            #expect(drill.status == 2, "\(drill.errors)")
            let report = try drill.json
            #expect(report["passed"].number == 3 && report["total"].number == 4)
            #expect(report["failed"].list.map(\.["snapshot"].text) == [away.id], "only the node that is away")
            for victim in victims { try await eventually("\(victim.node.name) heals") { try isHealed(victim) } }

            try away.node.start()
            let again = try await fleet.run("verify", "--fleet", "--level", "drill", "--wait", "--format", "json")
            #expect(again.status == 0, "\(again.output)\(again.errors)")
            #expect(try await fleet.json("status")["alarms"].list.filter { $0["kind"].text == "damaged" }.isEmpty)
        }
    }
}
