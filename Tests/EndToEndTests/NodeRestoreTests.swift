import Foundation
import MusterModel
import Testing

extension EndToEnd {
    @Suite("A node restores what it is ordered to")
    struct NodeRestoreTests {
        /// Two nodes, of which the second one restores into a folder that its owner allowed.
        struct Scene {
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

            /// As a coordinator that lies would.
            func changeCatalog(_ change: String) async throws {
                try await fleet.runningCoordinator().kill()
                try SampleDatabase.change(fleet.coordinatorDirectory + "/catalog.db", change)
                try await fleet.startCoordinator()
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
            #expect(done.errors.contains("nobody has compared the signing key of node 'berlin'"), "\(done.errors)")
            #expect(try done.errors.contains("run \(done.json["run"].text) has begun"), "\(done.errors)")
            #expect(try done.json["passed"].number == 1 && done.json["total"].number == 1)
            #expect(try done.json["failed"].list.isEmpty)
            #expect(FileManager.default.contentsEqual(atPath: target, andPath: scene.source))
            // What was compared once is known from then on; what stands there stays.
            let again = try await fleet.run(["restore", scene.id, "--format", "json"] + onto + key)
            #expect(again.status == 1 && again.errors.contains("exists"), "\(again.errors)")
            #expect(!again.errors.contains("warning"), "\(again.errors)")
            // What is given counts, whatever is remembered.
            let still = try await fleet.run(
                ["restore", scene.id, "--on", "hamburg", "--to", scene.folder + "/x.db", "--fingerprint", wrong] + key)
            #expect(still.status == 1 && still.errors.contains("not \(wrong)"), "\(still.errors)")
            #expect(!FileManager.default.fileExists(atPath: scene.folder + "/x.db"))
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
            for path in [scene.fleet.path("elsewhere.db"), scene.folder] {
                let outside = try await scene.restore("--on", "berlin", "--to", path)
                #expect(outside.status == 1 && outside.errors.contains("restore_into"), "\(path): \(outside.errors)")
            }
            #expect(!FileManager.default.fileExists(atPath: scene.fleet.path("elsewhere.db")))
            #expect(try await scene.restore("--on", "nobody", "--to", target).status == 3)
            for path in ["relative.db", "/srv/../x.db", target + "/", "/srv//x.db", "/srv/./x.db", "/"] {
                #expect(try await scene.restore("--on", "berlin", "--to", path).status == 64, "\(path)")
            }
            let key = String(repeating: "a", count: 64)
            for flags in [
                ["--on", "berlin", "--no-integrity-check"], ["--on", "berlin", "--fingerprint", "munich=\(key)"],
                ["--on", "berlin", "--fingerprint", key, "--fingerprint", key], ["--on", "berlin", "--within", "1s"],
                ["--recovery-key", scene.fleet.recoveryKey, "--fingerprint", key],
                ["--recovery-key", scene.fleet.recoveryKey, "--no-wait"],
                ["--recovery-key", scene.fleet.recoveryKey, "--within", "2h"],
            ] {
                let outcome = try await scene.fleet.run(["restore", scene.id, "--to", target] + flags)
                #expect(outcome.status == 64, "\(flags): \(outcome.errors)")
            }
            // The node signed another name than the catalog says.
            try await scene.changeCatalog("UPDATE database SET name = 'other'")
            let other = try await scene.fleet.run(
                "restore", "--node", "berlin", "--database", "other", "--on", "berlin", "--to", scene.folder + "/o.db")
            #expect(other.status == 1 && other.errors.contains("its database is 'shop'"), "\(other.errors)")
        }

        /// A coordinator that lies answers for one node with another one, which is known too.
        @Test func anotherKnownNodeIsNotTakenForTheOneThatWasMeant() async throws {
            let scene = try await Scene()
            let fleet = scene.fleet
            let munich = try await Node(fleet, "munich")
            try munich.start()
            try await munich.awaitGrantKey()
            var fingerprints: [String: String] = [:]
            for node in [scene.hamburg, munich] {
                let fingerprint = try await fleet.json("agent", "show", "--dir", node.directory)["fingerprint"].text
                fingerprints[node.name] = fingerprint
                let known = try await scene.restore(
                    "--on", node.name, "--to", scene.folder + "/known.db", "--recovery-key", fleet.recoveryKey,
                    "--fingerprint", fingerprint, "--no-wait")
                #expect(known.status == 0, "\(known.errors)")
            }
            try await scene.changeCatalog(
                """
                UPDATE node SET name = 'between' WHERE name = 'hamburg';
                UPDATE node SET name = 'hamburg' WHERE name = 'munich';
                UPDATE node SET name = 'munich' WHERE name = 'between'
                """)
            let onto = ["restore", scene.id, "--on", "hamburg", "--to", scene.folder + "/new.db"]
            let key = ["--recovery-key", fleet.recoveryKey]
            let remembered = try await fleet.run(onto + key)
            #expect(remembered.status == 1 && remembered.errors.contains("nobody has compared"), "\(remembered.errors)")
            let right = try #require(fingerprints["hamburg"])
            let given = try await fleet.run(onto + key + ["--fingerprint", right])
            #expect(given.status == 1 && given.errors.contains("not \(right)"), "\(given.errors)")
            #expect(try await fleet.run(onto + key + ["--fingerprint", "hamburg=\(right)"]).status == 1)
            #expect(!FileManager.default.fileExists(atPath: scene.folder + "/new.db"))
        }

        /// The record of a node's keys is signed by the key that it names, and proves nothing.
        @Test func anotherSigningKeyOfTheSourceIsNoticed() async throws {
            let scene = try await Scene()
            let fleet = scene.fleet
            let key = ["--recovery-key", fleet.recoveryKey, "--fingerprint", try await scene.fingerprint()]
            let source = try await fleet.json("agent", "show", "--dir", scene.berlin.directory)["fingerprint"].text
            let wrong = String(repeating: "0", count: 64)
            func restore(_ name: String, _ more: [String]) async throws -> Outcome {
                try await fleet.run(
                    ["restore", scene.id, "--on", "hamburg", "--to", "\(scene.folder)/\(name).db"] + key + more)
            }
            let refused = try await restore("a", ["--source-fingerprint", wrong])
            #expect(refused.status == 1 && refused.errors.contains("not \(wrong)"), "\(refused.errors)")
            let seen = try await restore("b", [])
            #expect(seen.status == 0 && seen.errors.contains("warning"), "\(seen.errors)")
            // What was only seen is no node to seal for.
            let back = try await fleet.run(
                "restore", scene.id, "--on", "hamburg", "--to", scene.folder + "/c.db", "--recovery-key",
                fleet.recoveryKey, "--dry-run", "--fingerprint", source)
            #expect(back.status == 1 && back.output.contains("not \(source)"), "\(back.output)")
            let file = fleet.path("context.json.known-nodes")
            let known = try String(contentsOfFile: file, encoding: .utf8)
            #expect(known.contains(source))
            try known.replacing(source, with: wrong).write(toFile: file, atomically: true, encoding: .utf8)
            let changed = try await restore("d", [])
            #expect(changed.status == 1 && changed.errors.contains("another signing key"), "\(changed.errors)")
            let compared = try await restore("e", ["--source-fingerprint", source])
            #expect(compared.status == 0 && !compared.errors.contains("warning"), "\(compared.errors)")
            #expect(FileManager.default.fileExists(atPath: scene.folder + "/b.db"))
            for name in ["a", "c", "d"] {
                #expect(!FileManager.default.fileExists(atPath: "\(scene.folder)/\(name).db"), "\(name)")
            }
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
                "restore", "--fleet-snapshot", "r14", "--map", "berlin=hamburg,hamburg=hamburg", "--to",
                scene.folder + "/",
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
            // One cannot be ordered at all: the other one is.
            _ = try await Node(fleet, "munich")
            try await fleet.succeed("node", "revoke", "munich", "--confirm")
            let mixed = [
                "restore", "--fleet-snapshot", "r14", "--map", "berlin=hamburg,hamburg=munich", "--to",
                scene.folder + "/mixed", "--recovery-key", fleet.recoveryKey, "--format", "json",
            ]
            #expect(try await fleet.run(mixed + ["--dry-run"]).status == 2)
            let some = try await fleet.run(mixed)
            #expect(try some.status == 2 && some.json["passed"].number == 1, "\(some.errors)")
            #expect(some.errors.contains("node 'munich' is revoked"), "\(some.errors)")
            #expect(FileManager.default.fileExists(atPath: scene.folder + "/mixed/berlin/shop.db"))
            // One document, whatever was taken of it.
            let maps: [(map: String, status: Int32, taken: Int)] = [
                ("berlin=hamburg,hamburg=munich", 2, 1), ("berlin=munich,hamburg=munich", 1, 0),
            ]
            for (map, status, taken) in maps {
                let begun = try await fleet.run(
                    ["restore", "--fleet-snapshot", "r14", "--map", map, "--to", scene.folder + "/later", "--no-wait"]
                        + ["--recovery-key", fleet.recoveryKey, "--format", "json"])
                #expect(begun.status == status, "\(begun.errors)")
                #expect(try begun.json["total"].number == 2 && begun.json["items"].list.count == taken)
                #expect(try begun.json["failed"].list.count == 2 - taken, "\(begun.output)")
            }
            let hex = String(repeating: "a", count: 64)
            #expect(try await fleet.run(mixed + ["--fingerprint", hex]).status == 64, "of which of the two?")
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
