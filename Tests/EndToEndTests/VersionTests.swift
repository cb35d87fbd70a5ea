import Foundation
import MusterTestSupport
import StressRig
import Testing

extension EndToEnd {
    /// A real agent and a real coordinator, one of which speaks as another version would: `version_relay.py` between them
    /// adds what is not known yet, and takes away what came last.
    @Suite("Agents and coordinators of other versions")
    struct VersionTests {
        private final class Relay {
            private let process: ChildProcess
            private let log: URL
            let url: String

            init(_ kind: String, _ fleet: Fleet, _ node: Node) throws {
                log = fleet.folder.url.appending(path: "relay.log")
                try Data().write(to: log)
                let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "version_relay.py")
                process = try ChildProcess(
                    "/usr/bin/python3",
                    [
                        script.path(percentEncoded: false), kind, "127.0.0.1:\(fleet.port)",
                        fleet.coordinatorDirectory + "/server.pem", fleet.coordinatorDirectory + "/server-key.pem",
                        node.directory + "/tls.pem", node.directory + "/tls.key", node.directory + "/ca.pem",
                        log.path(percentEncoded: false),
                    ], takesInput: true, output: .reader)
                url = "https://127.0.0.1:\(try #require(try process.readLine(within: .seconds(240))))"
            }

            /// What it changed so far.
            func changes() throws -> Set<String> {
                Set(try String(contentsOf: log, encoding: .utf8).split(separator: "\n").map(String.init))
            }
        }

        private let fleet: Fleet
        private let node: Node

        init() async throws {
            fleet = try await Fleet()
            node = try await Node(fleet, "berlin")
            try await node.add(try SampleDatabase.make(fleet.path("shop.db")), every: "1s")
        }

        private func start(through relay: Relay) throws -> Launched {
            try node.start(environment: ["MUSTER_COORDINATOR": relay.url, "MUSTER_REPORT_EVERY": "1s"])
        }

        @Test(arguments: [
            ("newer-agent", ["version /v1/report", "request /v1/report", "request /v1/work", "request /v1/snapshots"]),
            ("older-agent", ["version /v1/report", "request /v1/report", "request /v1/work"]),
            ("newer-coordinator", ["answer /v1/report", "answer /v1/work", "answer /v1/snapshots", "outcome refused"]),
            ("older-coordinator", []),
        ])
        func oneVersionApartTheyWorkTogether(kind: String, changes: [String]) async throws {
            let relay = try Relay(kind, fleet, node)
            let agent = try start(through: relay)
            // By its own schedule, by order, and proven from what the store has.
            _ = try await fleet.awaitSnapshots(1)
            let ordered = try #require(try await node.snapshot().first)
            #expect(ordered["state"].text == "done", "\(ordered)")
            let id = try #require(try await fleet.snapshots().first)["id"].text
            try await fleet.succeed("verify", id, "--level", "drill", "--wait")
            try SampleDatabase.change(fleet.path("shop.db"), "INSERT INTO item(content) VALUES (randomblob(99))")
            try await eventually("a fleet that is well") {
                let databases = try await fleet.json("status")["databases"].list
                guard databases.map(\.["state"].text) == ["ok"], databases.map(\.["rpo_seconds"]) == [.number(0)]
                else { return false }
                return try await fleet.run("status", "--check").status == 0
            }
            let made = try relay.changes()
            #expect(made.isSuperset(of: changes), "\(kind): \(made)")
            #expect(agent.isRunning, "\(agent.standardError)")
        }

        /// A message of another major version may mean anything: nothing is taken from it, and the log says why.
        @Test func anotherMajorVersionIsRefused() async throws {
            let relay = try Relay("next-major-agent", fleet, node)
            let agent = try start(through: relay)
            try await eventually("the agent is told") {
                agent.standardError.contains("the peer speaks protocol 2.0, and this coordinator 1.0")
            }
            #expect(try await fleet.snapshots().isEmpty)
            #expect(try relay.changes().contains("version /v1/report"))
            #expect(agent.isRunning, "it goes on when the coordinator was updated")
        }
    }
}
