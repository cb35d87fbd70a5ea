import Foundation
import Glibc
import MusterSQLite
import MusterTransfer
import Testing

extension EndToEnd {
    @Suite("Starting, stopping, starting again")
    struct LifecycleTests {
        @Test func aDirectoryHasOneAgentAndOneCoordinator() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            try await node.add(try SampleDatabase.make(fleet.path("shop.db")))
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
            let seconds = [
                ["agent", "run", "--dir", node.directory], ["coordinator", "run", "--dir", fleet.coordinatorDirectory],
            ]
            for arguments in seconds {
                let outcome = try await fleet.run(arguments)
                #expect(outcome.status == 1, "\(arguments)")
                #expect(outcome.errors.contains("error: another"), "\(arguments): \(outcome.errors)")
                #expect(outcome.errors.contains("hint: Stop"), "\(arguments): \(outcome.errors)")
            }
            // The first ones do not mind, and a lock does not outlive its owner.
            try await node.snapshot()
            try await node.kill()
            try await fleet.runningCoordinator().kill()
            try await fleet.startCoordinator()
            try node.start()
            try await node.snapshot()
        }

        @Test func whatWasMissedIsCaughtUpOnce() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            try await node.add(source, every: "10m")
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
            try await node.stop()
            try SampleDatabase.grow(source)

            // Nothing is due yet: the first snapshot after this start is the one that is asked for.
            try node.start()
            #expect(try await sequences(after: node.snapshot(), fleet) == [1, 0])
            try await node.stop()
            try SampleDatabase.grow(source)

            // As if the agent had been away for a day of missed snapshots.
            try SampleDatabase.change(
                node.directory + "/state.db", "UPDATE head SET captured_at = captured_at - 86400000000")
            try node.start()
            #expect(try await fleet.awaitSnapshots(3).map(\.["sequence"].number) == [2, 1, 0])
            #expect(try await sequences(after: node.snapshot(), fleet) == [3, 2, 1, 0])
        }

        @Test func aDatabaseThatIsAddedWhileTheAgentStartsIsTakenUp() async throws {
            let fleet = try await Fleet()
            for round in 1...4 {
                let node = try await Node(fleet, "node\(round)")
                let source = try SampleDatabase.make(fleet.path("shop\(round).db"))
                try node.start()
                try await node.add(source, every: "1d")
                _ = try await fleet.awaitSnapshots(round)
                try await node.stop()
            }
        }

        private func sequences(after _: [JSON], _ fleet: Fleet) async throws -> [Int] {
            try await fleet.snapshots().map(\.["sequence"].number)
        }

        @Test func aJobIsDoneOnceThoughThePollOfAnEarlierLifeIsStillOpen() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            try await node.add(try SampleDatabase.make(fleet.path("shop.db")))
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
            try await node.stop()
            for life in 1...6 {
                try node.start()
                try await node.snapshot()
                try await node.kill()
                #expect(try await fleet.snapshots().count == 1 + life)
            }
        }

        @Test func aRunningAgentTakesUpANewDatabase() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            try await node.add(try SampleDatabase.make(fleet.path("first.db")))
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
            try await node.add(try SampleDatabase.make(fleet.path("second.db")))
            let databases = try await fleet.awaitSnapshots(2).map(\.["database"].text)
            #expect(databases == ["second", "first"])

            // A file that an operator broke changes nothing, and is said.
            let file = URL(filePath: node.directory + "/agent.yaml")
            let yaml = try String(contentsOf: file, encoding: .utf8)
            try (yaml + "no_such_key: 1\n").write(to: file, atomically: true, encoding: .utf8)
            node.agent?.signal(SIGHUP)
            try await eventually("a word about the broken file") {
                node.agent?.standardError.contains("configuration not reloaded") == true
            }
            #expect(try await node.snapshot().map(\.["state"].text) == ["done", "done"])
        }

        /// The same process goes on with the new settings; what is wrong in them is said and changes nothing.
        @Test func aCoordinatorReadsItsSettingsAgain() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            try await node.add(try SampleDatabase.make(fleet.path("shop.db")))
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
            let coordinator = try fleet.runningCoordinator()
            let file = URL(filePath: fleet.coordinatorDirectory + "/coordinator.yaml")
            let yaml = try String(contentsOf: file, encoding: .utf8)
            try (yaml + "no_such_key: 1\n").write(to: file, atomically: true, encoding: .utf8)
            coordinator.signal(SIGHUP)
            try await eventually("a word about the broken file") {
                coordinator.standardError.contains("configuration not reloaded")
            }
            #expect(try await fleet.run("status").status == 0)

            let port = try Fleet.freePorts()
            try (yaml + "metrics_listen: 127.0.0.1:\(port)\n").write(to: file, atomically: true, encoding: .utf8)
            coordinator.signal(SIGHUP)
            var settings = HTTPClient.Settings()
            settings.takesPublicServers = true
            let client = try HTTPClient(
                tls: TLSFiles(authority: fleet.coordinatorDirectory + "/authority.pem"), settings: settings)
            try await eventually("metrics where the new settings want them") {
                // Nobody listens there until it has started anew.
                let answer = try? await client.send(
                    HTTPRequest(.get, "http://127.0.0.1:\(port)/metrics", timeout: .seconds(60)))
                return answer?.status == 200
            }
            #expect(coordinator.isRunning)
            try await eventually("the coordinator's answer") { try await fleet.run("status").status == 0 }
            #expect(try await node.snapshot().map(\.["state"].text) == ["done"])
            coordinator.signal(SIGTERM)
            #expect(try await coordinator.end() == 0)
        }

        /// The only admin's context is lost: whoever has the coordinator's machine makes another one.
        @Test func aFleetWithoutAnAdminGetsOne() async throws {
            let fleet = try await Fleet()
            let making = [
                "coordinator", "admin", "--dir", fleet.coordinatorDirectory, "--name", "eve", "--out",
                fleet.path("eve.json"),
            ]
            let refused = try await fleet.run(making)
            #expect(refused.status == 1 && refused.errors.contains("another process runs the coordinator"))
            try await fleet.runningCoordinator().kill()
            #expect(try await fleet.run(making).status == 0)
            let again = try await fleet.run(Array(making.dropLast()) + [fleet.path("again.json")])
            #expect(again.status == 1 && again.errors.contains("'eve' has a certificate that is good"))
            try await fleet.startCoordinator()
            let people = try await fleet.json("person", "list", "--context", fleet.path("eve.json")).list
            #expect(people.map(\.["name"].text) == ["admin", "eve"])
            #expect(try await fleet.succeed("audit", "list").output.contains("eve as admin"))
            #expect(try await fleet.run("audit", "verify").status == 0)
        }

        @Test func aTermSignalLetsTheSnapshotUnderWayFinish() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("large.db"), kibibytes: 64 << 10)
            try await node.add(source)
            try node.start(environment: ["MUSTER_UPLOAD_LIMIT_BYTES": "25165824"])
            try await eventually("the first pack") { !fleet.store.packs.isEmpty }
            #expect(fleet.store.manifests.isEmpty, "the signal does not come in the middle")
            try await node.stop()
            let snapshots = try await fleet.snapshots()
            try #require(snapshots.count == 1)
            try await fleet.expectRestored(snapshots[0]["id"].text, equals: source)
        }

        @Test(arguments: [SIGTERM, SIGINT])
        func bothRolesEndWellWhenTold(signal: Int32) async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            try await node.add(try SampleDatabase.make(fleet.path("shop.db")))
            let agent = try node.start()
            _ = try await fleet.awaitSnapshots(1)
            // The agent's long poll is open while the coordinator goes.
            let coordinator = try fleet.runningCoordinator()
            coordinator.signal(signal)
            #expect(try await coordinator.end() == 0, "\(coordinator.standardError)")
            agent.signal(signal)
            #expect(try await agent.end() == 0, "\(agent.standardError)")
            #expect(coordinator.standardOutput == "" && agent.standardOutput == "", "logs go to standard error")
        }
    }
}
