import Foundation
import Glibc
import Testing

extension EndToEnd {
    @Suite("Where a restore comes from")
    struct OriginTests {
        @Test func aStoreAndAKeyAreEnough() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            try await node.add(source)
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
            let before = fleet.path("before.db")
            try FileManager.default.copyItem(atPath: source, toPath: before)
            try SampleDatabase.grow(source)
            try await node.snapshot()
            let known = try await fleet.snapshots()
            try await node.kill()
            let (store, key) = try await loseTheCoordinator(fleet)

            let listed = try await fleet.json("snapshot", "list", "--store", store).list
            for field in ["id", "node", "database", "lineage", "sequence", "received_at", "checksum", "size_bytes"] {
                #expect(listed.map(\.[field]) == known.map(\.[field]), "\(field)")
            }
            let recovery = ["--recovery-key", key]
            let named = ["--node", "berlin", "--database", "shop"]
            let url = URL(filePath: store).absoluteString
            let ways: [(arguments: [String], wanted: String)] = [
                ([known[1]["id"].text, "--store", store] + recovery, before),
                (named + ["--store", url, "--agent-dir", node.directory], source),
                (named + ["--store", store, "--at", known[1]["received_at"].text] + recovery, before),
            ]
            for (index, way) in ways.enumerated() {
                let target = fleet.path("restored-\(index).db")
                let outcome = try await fleet.run(["restore", "--to", target] + way.arguments)
                #expect(outcome.status == 0, "\(way.arguments): \(outcome.errors)")
                #expect(FileManager.default.contentsEqual(atPath: target, andPath: way.wanted), "\(way.arguments)")
            }
            let rebuilt = try await fleet.run(["verify", known[0]["id"].text, "--store", store] + recovery)
            #expect(rebuilt.status == 0, "\(rebuilt.errors)")
            try await leftoversAreRemoved(fleet, ["verify", known[0]["id"].text, "--store", store] + recovery)
        }

        /// What a verification left that was killed is plain content; what one works in now is its own.
        private func leftoversAreRemoved(_ fleet: Fleet, _ verify: [String]) async throws {
            let scratch = fleet.path("scratch")
            for name in ["muster-verify-left", "muster-verify-held"] {
                let folder = scratch + "/" + name
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
                try Data([1]).write(to: URL(filePath: folder + "/x.db"))
            }
            let held = open(scratch + "/muster-verify-held", O_RDONLY | O_DIRECTORY)
            defer { close(held) }
            #expect(flock(held, LOCK_EX | LOCK_NB) == 0)
            let verified = try await fleet.run(verify + ["--scratch", scratch])
            #expect(verified.status == 0, "\(verified.errors)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: scratch) == ["muster-verify-held"])
            #expect(FileManager.default.fileExists(atPath: scratch + "/muster-verify-held/x.db"))
            #expect(try await fleet.run(verify + ["--scratch", fleet.path("nothing")]).status == 1)
        }

        /// On a bare machine there may be nothing to remember a key in.
        @Test func keysThatCannotBeRememberedAreInNoRestoresWay() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            try await node.add(source)
            try node.start()
            let id = try await fleet.awaitSnapshots(1)[0]["id"].text
            try await node.kill()
            let fingerprint = try await fleet.json("agent", "show", "--dir", node.directory)["fingerprint"].text
            let (store, key) = try await loseTheCoordinator(fleet)
            let file = fleet.path("a-file")
            try Data().write(to: URL(filePath: file))

            let given = ["--source-fingerprint", fingerprint]
            let from = [id, "--store", store, "--recovery-key", key, "--context"]
            // Root may write into any folder, but makes no file in that of the processes.
            let places = [fleet.path("no-folder/context.json"), file + "/context.json", "/proc/context.json"]
            for (index, place) in places.enumerated() {
                for more in [[], given] {
                    let target = fleet.path("restored-\(index)-\(more.count).db")
                    let restored = try await fleet.run(["restore", "--to", target] + from + [place] + more)
                    #expect(restored.status == 0, "\(place) \(more): \(restored.errors)")
                    #expect(FileManager.default.contentsEqual(atPath: target, andPath: source))
                    let verified = try await fleet.run(["verify"] + from + [place] + more)
                    #expect(verified.status == 0, "\(place) \(more): \(verified.errors)")
                    for errors in [restored.errors, verified.errors] where place.hasPrefix("/proc/") {
                        #expect(errors.contains("not remembered"), "\(errors)")
                    }
                }
            }
            #expect(!FileManager.default.fileExists(atPath: fleet.path("no-folder")))
        }

        @Test func eachOfSeveralNodesIsHeldToItsOwnFingerprint() async throws {
            let fleet = try await Fleet()
            var fingerprints: [String] = []
            for name in ["berlin", "paris"] {
                let node = try await Node(fleet, name)
                try await node.add(try SampleDatabase.make(fleet.path(name + ".db")))
                try node.start()
                _ = try await fleet.awaitSnapshots(fingerprints.count + 1)
                try await node.kill()
                fingerprints.append(
                    try await fleet.json("agent", "show", "--dir", node.directory)["fingerprint"].text)
            }
            let ids = try await fleet.snapshots().map(\.["id"].text)
            let (berlin, paris) = (fingerprints[0], fingerprints[1])
            func verify(_ given: String...) async throws -> Outcome {
                try await fleet.run(
                    ["verify"] + ids + ["--recovery-key", fleet.recoveryKey]
                        + given.flatMap { ["--source-fingerprint", $0] })
            }
            let swapped = try await verify("berlin=\(paris)", "paris=\(berlin)")
            #expect(swapped.status == 1 && swapped.errors.contains("by what is stored of it"), "\(swapped.errors)")
            #expect(try await verify(berlin).status == 64, "of which of the two?")
            let right = try await verify("berlin=\(berlin)", "paris=\(paris)")
            #expect(right.status == 0 && !right.errors.contains("warning"), "\(right.errors)")
        }

        /// One bit of one node's newest manifest: who asks for another database does not hear of it, who asks for this
        /// one never gets an older snapshot for the newest.
        @Test func damageIsInNobodyElsesWay() async throws {
            let fleet = try await Fleet()
            var sources: [String: String] = [:]
            for name in ["berlin", "paris"] {
                let node = try await Node(fleet, name)
                let source = try SampleDatabase.make(fleet.path(name + ".db"))
                sources[name] = source
                try await node.add(source)
                try node.start()
                _ = try await fleet.awaitSnapshots(sources.count)
                try SampleDatabase.grow(source)
                try await node.snapshot()
                try await node.kill()
            }
            let newest = try await fleet.snapshots("--node", "paris")[0]
            let (store, key) = try await loseTheCoordinator(fleet)
            let names = try #require(FileManager.default.enumerator(atPath: store + "/manifests"))
            let name = try #require(names.compactMap { $0 as? String }.first { $0.contains(newest["id"].text) })
            let file = URL(filePath: store + "/manifests/" + name)
            var bytes = try Data(contentsOf: file)
            bytes[bytes.count / 2] ^= 1
            try FileManager.default.removeItem(at: file)
            try bytes.write(to: file)

            func restore(_ node: String, _ database: String) async throws -> (status: Int, errors: String) {
                let target = fleet.path("\(node)-\(database).restored")
                let outcome = try await fleet.run([
                    "restore", "--to", target, "--store", store, "--recovery-key", key, "--node", node, "--database",
                    database,
                ])
                if outcome.status == 0 {
                    #expect(FileManager.default.contentsEqual(atPath: target, andPath: sources[node] ?? ""))
                }
                return (Int(outcome.status), outcome.errors)
            }
            #expect(try await restore("berlin", "berlin").status == 0)
            for database in ["paris", String(name.prefix { $0 != "/" })] {
                let (status, errors) = try await restore("paris", database)
                #expect(status == 1 && errors.contains(newest["id"].text), "\(errors)")
            }
        }

        @Test(arguments: ["restore", "rebuild"])
        func aStoreOnANodeIsReadAsTheFolderThatItServes(command: String) async throws {
            let fleet = try await Fleet()
            let url = "node://edge.example:7423/edge"
            let key = ["--recovery-key", fleet.recoveryKey]
            let outcome = try await fleet.run(
                command == "restore"
                    ? ["restore", "abcdef", "--store", url, "--to", fleet.path("new.db")] + key
                    : ["coordinator", "rebuild", "--dir", fleet.path("new"), "--store", url] + key)
            #expect(outcome.status == 1 && outcome.errors.contains("the folder that it serves"), "\(outcome.errors)")
        }

        /// Only the store and the recovery key are left.
        private func loseTheCoordinator(_ fleet: Fleet) async throws -> (store: String, key: String) {
            try await fleet.runningCoordinator().kill()
            let (store, key) = (fleet.path("what-is-left"), fleet.path("key.txt"))
            let files = FileManager.default
            try files.moveItem(atPath: fleet.coordinatorDirectory + "/store", toPath: store)
            try files.moveItem(atPath: fleet.coordinatorDirectory + "/recovery-key.txt", toPath: key)
            try files.removeItem(atPath: fleet.coordinatorDirectory)
            try files.removeItem(atPath: fleet.path("context.json"))
            return (store, key)
        }

        @Test(arguments: [
            ("UPDATE snapshot SET content_root = zeroblob(32)", "checksum"),
            ("UPDATE database SET name = 'other'", "database"),
        ])
        func aCatalogThatIsWrongRestoresNothing(change: String, what: String) async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            try await node.add(try SampleDatabase.make(fleet.path("shop.db")))
            try node.start()
            let id = try await fleet.awaitSnapshots(1)[0]["id"].text
            try await node.kill()
            try await fleet.runningCoordinator().kill()
            try SampleDatabase.change(fleet.coordinatorDirectory + "/catalog.db", change)
            try await fleet.startCoordinator()

            let asked = what == "database" ? ["--node", "berlin", "--database", "other"] : [id]
            for more in [[], ["--dry-run"]] {
                let target = fleet.path("new.db")
                let key = ["--agent-dir", node.directory]
                let outcome = try await fleet.run(["restore", "--to", target] + asked + key + more)
                #expect(outcome.status == 1, "\(outcome.output)")
                #expect(outcome.errors.contains("its \(what) is"), "\(outcome.errors)")
                #expect(!FileManager.default.fileExists(atPath: target))
            }
        }

        @Test func initialisationCanBeRepeatedWhereTheContextWasRefused() async throws {
            let fleet = try await Fleet()
            let other = fleet.path("other")
            let file = fleet.path("a-file")
            try Data().write(to: URL(filePath: file))
            for refused in [fleet.path("context.json"), file + "/context.json"] {
                let outcome = try await fleet.run("coordinator", "init", "--dir", other, "--context", refused)
                #expect(outcome.status == 1 && outcome.errors.contains("hint: "), "\(outcome.errors)")
                #expect(!FileManager.default.fileExists(atPath: other), "\(refused)")
            }
            #expect(FileManager.default.fileExists(atPath: fleet.path("context.json")), "it is another coordinator's")
            // What the initialisation itself refuses leaves no context.
            let context = fleet.path("other-context.json")
            let taken = try await fleet.run(
                "coordinator", "init", "--dir", fleet.coordinatorDirectory, "--context", context)
            #expect(taken.status == 1)
            #expect(!FileManager.default.fileExists(atPath: context))
            try await fleet.succeed("coordinator", "init", "--dir", other, "--context", context)
            #expect(try FileManager.default.attributesOfItem(atPath: context)[.posixPermissions] as? Int == 0o600)
        }
    }
}
