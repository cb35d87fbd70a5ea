import Foundation
import MusterModel
import Testing

extension EndToEnd {
    @Suite("A node restores what it is ordered to")
    struct NodeRestoreTests {
        /// Two nodes, of which the second one restores into a folder that its owner allowed.
        private struct Scene {
            let fleet: Fleet
            let berlin: Node
            let hamburg: Node
            let source: String
            let folder: String
            let id: String

            init(kibibytes: Int = 64) async throws {
                fleet = try await Fleet()
                (berlin, hamburg) = (try await Node(fleet, "berlin"), try await Node(fleet, "hamburg"))
                source = try SampleDatabase.make(fleet.path("shop.db"), kibibytes: kibibytes)
                folder = fleet.path("restored")
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
                try await berlin.add(source, name: "shop")
                try berlin.start()
                id = try #require(try await fleet.awaitSnapshots(1).first)["id"].text
                try hamburg.allowRestores(into: folder)
                try hamburg.start()
                try await hamburg.awaitGrantKey()
            }

            func restore(_ arguments: String...) async throws -> Outcome {
                try await fleet.run(["restore", id, "--format", "json"] + arguments)
            }

            /// As one who has compared it.
            func fingerprint() async throws -> String {
                try await fleet.json("agent", "show", "--dir", hamburg.directory)["fingerprint"].text
            }
        }

        @Test func anotherNodesSnapshotIsRestoredWithTheRecoveryKey() async throws {
            let scene = try await Scene()
            let (fleet, target) = (scene.fleet, scene.folder + "/berlin/shop.db")
            let onto = ["--on", "hamburg", "--to", target]
            let key = ["--recovery-key", fleet.recoveryKey]

            let keyless = try await fleet.run(["restore", scene.id] + onto)
            #expect(keyless.status == 1 && keyless.errors.contains("--recovery-key"), "\(keyless.errors)")
            let unknown = try await fleet.run(["restore", scene.id] + onto + key)
            #expect(unknown.status == 1 && unknown.errors.contains("fingerprint"), "\(unknown.errors)")
            let wrong = String(repeating: "0", count: 64)
            #expect(try await fleet.run(["restore", scene.id] + onto + key + ["--fingerprint", wrong]).status == 1)
            let fingerprint = try await scene.fingerprint()
            #expect(try await fleet.json("node", "show", "hamburg")["fingerprint"].text == fingerprint)

            let plan = try await fleet.run(["restore", scene.id, "--dry-run", "--format", "json"] + onto + key)
            let row = try #require(try plan.json.list.first)
            #expect(plan.status == 1 && row["conflict"].text.contains(fingerprint) && row["key"].text == "recovery key")
            let known = ["--fingerprint", fingerprint]
            let good = try await fleet.run(["restore", scene.id, "--dry-run", "--format", "json"] + onto + key + known)
            #expect(try good.status == 0 && good.json.list.first?["conflict"] == .null)
            #expect(!FileManager.default.fileExists(atPath: target))

            let done = try await fleet.run(["restore", scene.id, "--format", "json"] + onto + key + known)
            #expect(done.status == 0, "\(done.errors)")
            #expect(try done.json["passed"].number == 1 && done.json["total"].number == 1)
            #expect(try done.json["failed"].list.isEmpty)
            #expect(FileManager.default.contentsEqual(atPath: target, andPath: scene.source))
            // What was compared once is known from then on; what stands there stays.
            let again = try await fleet.run(["restore", scene.id, "--format", "json"] + onto + key)
            #expect(again.status == 1 && again.errors.contains("exists"), "\(again.errors)")
            #expect(try again.json["failed"].list.first?["node"].text == "berlin")
            let shown = try await fleet.run("restore", "show", try done.json["run"].text, "--format", "json")
            #expect(try shown.status == 0 && shown.json["items"].list.first?["on"].text == "hamburg")
            #expect(try FileManager.default.contentsOfDirectory(atPath: scene.folder + "/berlin") == ["shop.db"])
            try expectNoSecret(scene)
        }

        /// The other node's secret is nowhere in what the target keeps.
        private func expectNoSecret(_ scene: Scene) throws {
            let line = try String(contentsOfFile: scene.berlin.directory + "/scope.key", encoding: .utf8)
            let secret = try #require(line.split(whereSeparator: \.isWhitespace).last).utf8
            let needles = [Data(secret), Data(try #require(Hex.decode(String(Substring(secret)))))]
            let files =
                FileManager.default.enumerator(atPath: scene.hamburg.directory)?.compactMap { $0 as? String } ?? []
            #expect(files.contains("agent.yaml"))
            for file in files {
                let bytes = FileManager.default.contents(atPath: scene.hamburg.directory + "/" + file) ?? Data()
                for needle in needles { #expect(bytes.range(of: needle) == nil, "\(file)") }
            }
        }

        @Test func aNodeRestoresItsOwnWithoutTheRecoveryKey() async throws {
            let scene = try await Scene()
            let target = scene.folder + "/own.db"
            let refused = try await scene.restore("--on", "berlin", "--to", target)
            #expect(refused.status == 1 && refused.errors.contains("restore_into"), "\(refused.errors)")
            // Read when it is wanted: no restart, no signal.
            try scene.berlin.allowRestores(into: scene.folder)
            let done = try await scene.restore("--on", "berlin", "--to", target)
            #expect(done.status == 0, "\(done.errors)")
            #expect(FileManager.default.contentsEqual(atPath: target, andPath: scene.source))
            for path in [scene.fleet.path("elsewhere.db"), scene.folder + "/../elsewhere.db", scene.folder] {
                let outside = try await scene.restore("--on", "berlin", "--to", path)
                #expect(outside.status == 1 && outside.errors.contains("restore_into"), "\(path): \(outside.errors)")
            }
            #expect(!FileManager.default.fileExists(atPath: scene.fleet.path("elsewhere.db")))
            #expect(try await scene.restore("--on", "nobody", "--to", target).status == 3)
            #expect(try await scene.restore("--on", "berlin", "--to", "relative.db").status == 64)
        }

        @Test(arguments: ["restore-under-way", "restore-named"])
        func aTargetThatDiesGoesOnInItsNextLife(point: String) async throws {
            let scene = try await Scene(kibibytes: 8192)
            try await scene.hamburg.stop()
            let target = scene.folder + "/shop.db"
            let arguments = [
                "restore", scene.id, "--on", "hamburg", "--to", target, "--recovery-key", scene.fleet.recoveryKey,
                "--fingerprint", try await scene.fingerprint(), "--format", "json",
            ]
            let waiting = try scene.fleet.launch(arguments)
            let dying = try scene.hamburg.start(environment: ["MUSTER_CRASH_AT": point])
            #expect(try await dying.end() == 137, "\(dying.standardError)")
            let left = try FileManager.default.contentsOfDirectory(atPath: scene.folder)
            #expect(left.contains { point == "restore-named" ? $0 == "shop.db" : $0.hasPrefix(".shop.db.muster-") })
            #expect(waiting.isRunning)
            try await scene.fleet.runningCoordinator().kill()
            try await scene.fleet.startCoordinator()

            try scene.hamburg.start()
            #expect(try await waiting.end() == 0, "\(waiting.standardError)")
            #expect(try JSON(waiting.standardOutput)["passed"].number == 1)
            #expect(FileManager.default.contentsEqual(atPath: target, andPath: scene.source))
            #expect(try FileManager.default.contentsOfDirectory(atPath: scene.folder) == ["shop.db"])
        }

        @Test func aFleetSnapshotIsMappedOntoOtherNodes() async throws {
            let scene = try await Scene()
            let fleet = scene.fleet
            let orders = try SampleDatabase.make(fleet.path("orders.db"))
            try await scene.hamburg.add(orders, name: "orders")
            _ = try await fleet.awaitSnapshots(2)
            try await fleet.succeed("snapshot", "create", "--fleet", "--name", "r14", "--wait")
            let arguments = [
                "restore", "--fleet-snapshot", "r14", "--map", "berlin=hamburg,hamburg=hamburg", "--to", scene.folder,
                "--recovery-key", fleet.recoveryKey, "--fingerprint", try await scene.fingerprint(), "--format", "json",
            ]
            let plan = try await fleet.run(arguments + ["--dry-run"])
            #expect(plan.status == 0, "\(plan.errors)")
            #expect(
                Set(try plan.json.list.map { "\($0["node"].text) \($0["on"].text) \($0["key"].text)" })
                    == ["berlin hamburg recovery key", "hamburg hamburg own"])
            #expect(try FileManager.default.contentsOfDirectory(atPath: scene.folder).isEmpty)
            let done = try await fleet.run(arguments)
            #expect(done.status == 0, "\(done.errors)")
            #expect(try done.json["passed"].number == 2 && done.json["total"].number == 2)
            for (path, source) in [("berlin/shop.db", scene.source), ("hamburg/orders.db", orders)] {
                #expect(try SampleDatabase.image(scene.folder + "/" + path) == SampleDatabase.image(source), "\(path)")
            }
            // One of them stands there already: the other one comes back all the same.
            try FileManager.default.removeItem(atPath: scene.folder + "/hamburg/orders.db")
            let partly = try await fleet.run(arguments)
            #expect(try partly.status == 2 && partly.json["passed"].number == 1, "\(partly.errors)")
            #expect(
                try await fleet.run(
                    "restore", "--fleet-snapshot", "r14", "--map", "munich=hamburg", "--to", scene.folder
                ).status == 3)
        }

        @Test func aDatabaseThatIsRestoredOverAnotherBeginsALineage() async throws {
            let scene = try await Scene()
            let target = try SampleDatabase.make(scene.folder + "/live.db")
            try await scene.hamburg.add(target, name: "live")
            _ = try await scene.fleet.awaitSnapshots(2)
            for suffix in ["", "-wal", "-shm"] { unlink(target + suffix) }
            let done = try await scene.restore(
                "--on", "hamburg", "--to", target, "--recovery-key", scene.fleet.recoveryKey, "--fingerprint",
                try await scene.fingerprint())
            #expect(done.status == 0, "\(done.errors)")
            try await scene.hamburg.snapshot()
            let lineages = try await scene.fleet.snapshots("--node", "hamburg").map(\.["lineage"].text)
            #expect(lineages.count == 2 && Set(lineages).count == 2)
        }
    }
}

extension Node {
    /// As its owner does it: a line in the configuration.
    func allowRestores(into folder: String) throws {
        let path = directory + "/agent.yaml"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        try (text + "restore_into: [\"\(folder)\"]\n").write(toFile: path, atomically: true, encoding: .utf8)
    }

    /// Until the coordinator knows what grants for it are sealed to: it has reported then.
    func awaitGrantKey() async throws {
        try await eventually("a report of \(name)") {
            try await self.fleet.json("node", "show", self.name)["takes_grants"] == .bool(true)
        }
    }
}
