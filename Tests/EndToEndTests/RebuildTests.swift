import Foundation
import Testing

extension EndToEnd {
    @Suite("The coordinator is lost")
    struct RebuildTests {
        /// What a snapshot is, whoever tells of it.
        private static let fields = [
            "id", "node", "node_id", "database", "database_id", "lineage", "sequence", "created_at", "received_at",
            "size_bytes", "stored_bytes", "checksum", "labels",
        ]

        /// Two nodes, each with a database and some snapshots; agents run on.
        private struct Scene {
            let fleet: Fleet
            let nodes: [Node]
            let sources: [String]
            var known: [JSON]
            /// What each snapshot holds, by its id.
            var images: [String: String]
        }

        private func makeScene() async throws -> Scene {
            let fleet = try await Fleet(stores: ["one", "two"])
            var (nodes, sources, images) = ([Node](), [String](), [String: String]())
            for name in ["berlin", "paris"] {
                let node = try await Node(fleet, name)
                let source = try SampleDatabase.make(fleet.path(name + ".db"), kibibytes: 2000)
                try await node.add(source)
                try node.start()
                nodes.append(node)
                sources.append(source)
            }
            _ = try await fleet.awaitSnapshots(2)
            for round in 0..<3 {
                for (node, source) in zip(nodes, sources) {
                    try SampleDatabase.grow(source)
                    try await node.snapshot()
                    let id = try await fleet.snapshots("--node", node.name)[0]["id"].text
                    images[id] = fleet.path("\(node.name)-\(round).image")
                    try Data(try SampleDatabase.image(source)).write(to: URL(filePath: images[id] ?? ""))
                }
            }
            try await eventually("two replicas of every snapshot") {
                try await fleet.snapshots().allSatisfy { snapshot in
                    snapshot["replicas"].list.filter { $0["state"].text == "present" }.count == 2
                }
            }
            return Scene(
                fleet: fleet, nodes: nodes, sources: sources, known: try await fleet.snapshots(), images: images)
        }

        /// As by a lost machine. What it had is kept aside.
        private func loseTheCoordinator(_ fleet: Fleet, withItsContext: Bool = false) async throws {
            try await fleet.runningCoordinator().kill()
            let files = FileManager.default
            try files.moveItem(atPath: fleet.coordinatorDirectory, toPath: fleet.path("old"))
            if withItsContext { return }
            try files.moveItem(atPath: fleet.path("context.json"), toPath: fleet.path("old-context.json"))
        }

        private func rebuild(_ fleet: Fleet, from stores: [String], key: String? = nil) async throws -> Outcome {
            try await fleet.run(
                ["coordinator", "rebuild", "--dir", fleet.path("new")]
                    + ["--recovery-key", key ?? fleet.recoveryKey, "--format", "json"]
                    + stores.flatMap { ["--store", fleet.path($0)] })
        }

        @Test(arguments: [["two"], ["one", "two"]])
        func theStoresAndTheRecoveryKeyMakeItAnew(stores: [String]) async throws {
            let scene = try await makeScene()
            let fleet = scene.fleet
            try await hold(scene.known[0]["id"].text, fleet)
            let token = try await fleet.json("node", "invite", "rome")["token"].text
            try await loseTheCoordinator(fleet)

            let refused = try await rebuild(fleet, from: stores, key: try makeAnotherKey(fleet))
            #expect(refused.status == 1)
            #expect(refused.errors.contains("opens none of the coordinator's records"), "\(refused.errors)")
            let outcome = try await rebuild(fleet, from: stores)
            #expect(outcome.status == 0, "\(outcome.errors)")
            #expect(try outcome.json["epoch"].number == 2)
            #expect(try outcome.json["snapshots"].number == scene.known.count)
            fleet.coordinatorDirectory = fleet.path("new")
            try await fleet.startCoordinator()

            let listed = try await fleet.snapshots()
            for field in Self.fields { #expect(listed.map(\.[field]) == scene.known.map(\.[field]), "\(field)") }
            for (id, image) in scene.images {
                let target = try await fleet.restore(id, to: "\(id).db")
                #expect(FileManager.default.contentsEqual(atPath: target, andPath: image), "\(id)")
            }
            #expect(listed.first?["holds"].list.map(\.["name"].text) == ["audit"])
            let policies = try await fleet.json("retention", "show")["policies"].list
            #expect(policies.count == 1, "\(policies)")
            let joined = try await fleet.run("agent", "join", "--dir", fleet.path("rome"), token)
            #expect(joined.status == 1, "a token of before is void: \(joined.output)")
            try await goOn(scene)
            try await expectThatTheOldOneOnlyReads(fleet)
        }

        private func hold(_ id: String, _ fleet: Fleet) async throws {
            try await fleet.succeed("snapshot", "hold", id, "--name", "audit", "--reason", "for the year")
            try await fleet.succeed("retention", "set", "--fleet", "--keep-last", "100")
        }

        /// That of another fleet.
        private func makeAnotherKey(_ fleet: Fleet) throws -> String {
            let text = try String(contentsOfFile: fleet.recoveryKey, encoding: .utf8)
            let digits = try #require(text.firstMatch(of: #/[0-9a-f]{64}/#)).output
            let path = fleet.path("another-key.txt")
            try text.replacing(digits, with: String(digits.reversed())).write(
                toFile: path, atomically: true, encoding: .utf8)
            return path
        }

        /// It is started again at another address, with all that it had.
        private func expectThatTheOldOneOnlyReads(_ fleet: Fleet) async throws {
            let port = try Fleet.freePorts()
            let settings = fleet.path("old/coordinator.yaml")
            let text = try String(contentsOfFile: settings, encoding: .utf8)
                .replacing("\(fleet.port + 1)", with: "\(port + 1)").replacing("\(fleet.port)", with: "\(port)")
            try text.write(toFile: settings, atomically: true, encoding: .utf8)
            let context = fleet.path("old-context.json")
            let admin = try String(contentsOfFile: context, encoding: .utf8)
                .replacing("\(fleet.port + 1)", with: "\(port + 1)")
            try admin.write(toFile: context, atomically: true, encoding: .utf8)
            _ = try fleet.start(["coordinator", "run", "--dir", fleet.path("old")])
            let asked = ["--context", context]
            try await eventually("an old coordinator that answers") {
                try await fleet.run(["status"] + asked).status == 0
            }
            let status = try await fleet.run(["status", "--format", "json"] + asked)
            #expect(try status.json["alarms"].list.map(\.["kind"].text).contains("superseded"), "\(status.output)")
            let invited = try await fleet.run(["node", "invite", "rome"] + asked)
            #expect(invited.status == 1)
            #expect(invited.errors.contains("it only reads"), "\(invited.errors)")
        }

        @Test func whatIsDamagedIsReported() async throws {
            let fleet = try await Fleet(stores: ["one"])
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            try await node.add(source)
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
            try SampleDatabase.grow(source)
            try await node.snapshot()
            let known = try await fleet.snapshots()
            try await loseTheCoordinator(fleet, withItsContext: true)
            let receipt = try #require(fleet.store.receipts.first { $0.object.contains(known[0]["id"].text) })
            var bytes = try Data(contentsOf: receipt.url)
            bytes[bytes.count / 2] ^= 1
            try bytes.write(to: receipt.url)

            let outcome = try await rebuild(fleet, from: ["one"])
            #expect(outcome.status == 2, "\(outcome.errors)")
            let findings = try outcome.json["findings"].list
            #expect(findings.map(\.["object"].text) == [receipt.object])
            fleet.coordinatorDirectory = fleet.path("new")
            // By the context of before; the new one is in the directory.
            try await fleet.startCoordinator()
            try await fleet.succeed("status", "--context", fleet.path("new/context.json"))
            #expect(try await fleet.snapshots().map(\.["id"]) == [known[1]["id"]])
            // The agent's parent is not the head any more: its history goes on beside, and nothing is lost.
            try SampleDatabase.grow(source)
            try await node.snapshot()
            let newest = try await fleet.snapshots()[0]
            try await fleet.expectRestored(newest["id"].text, equals: source)
        }

        /// Agents that never stopped find the new coordinator, and their next snapshots are small.
        private func goOn(_ scene: Scene) async throws {
            for (node, source) in zip(scene.nodes, scene.sources) {
                let before = try #require(scene.known.first { $0["node"].text == node.name })
                try SampleDatabase.grow(source)
                try await node.snapshot()
                let after = try await scene.fleet.snapshots("--node", node.name)[0]
                #expect(after["lineage"] == before["lineage"])
                #expect(after["sequence"].number == before["sequence"].number + 1)
                #expect(after["stored_bytes"].number < after["size_bytes"].number / 10)
                // The file alone may lack what is still in the WAL.
                let image = scene.fleet.path("\(node.name)-after.image")
                try Data(try SampleDatabase.image(source)).write(to: URL(filePath: image))
                try await scene.fleet.expectRestored(after["id"].text, equals: image)
            }
        }
    }
}
