import Foundation
import Glibc
import MusterSQLite
import Testing

extension EndToEnd {
    @Suite("An agent that is stuck cannot look healthy")
    struct FreshnessTests {
        /// A fleet whose reports and alarms take seconds, with one followed database.
        private struct Watched {
            let fleet: Fleet
            let node: Node
            let source: String
            /// Stays open, so that the database is followed.
            let application: Application

            init() async throws {
                fleet = try await Fleet()
                try await fleet.runningCoordinator().kill()
                let settings = URL(filePath: fleet.coordinatorDirectory + "/coordinator.yaml")
                let text = try String(contentsOf: settings, encoding: .utf8)
                try Data((text + "limits:\n  alarm_tolerance_seconds: 2\n").utf8).write(to: settings)
                try await fleet.startCoordinator()
                node = try await Node(fleet, "berlin")
                source = try SampleDatabase.make(fleet.path("shop.db"))
                application = try Application(source)
                try await node.add(source, every: "100ms")
                try node.start(environment: ["MUSTER_REPORT_EVERY": "1s"])
                try await awaitHealth()
            }

            func awaitHealth() async throws {
                try await eventually("a healthy fleet") {
                    let ages = try await fleet.json("status")["databases"].list.map(\.["rpo_seconds"])
                    guard ages == [.number(0)] else { return false }
                    let outcome = try await check()
                    return outcome.status == 0 && outcome.output.hasPrefix("MUSTER OK - 1 nodes, 1 databases, no alarm")
                }
            }

            func database() async throws -> JSON {
                try #require(try await fleet.json("status")["databases"].list.first)
            }

            func check() async throws -> Outcome { try await fleet.run("status", "--check") }

            /// The one line of `status --check`, once it names the kind of alarm.
            func awaitAlarm(_ kind: String) async throws {
                var seen: [JSON] = []
                try await eventually("the alarm '\(kind)'") {
                    seen = try await fleet.json("status")["alarms"].list
                    return seen.map(\.["kind"].text).contains(kind)
                }
                let outcome = try await check()
                #expect(outcome.status == (outcome.output.hasPrefix("MUSTER CRITICAL") ? 2 : 1))
                #expect(outcome.output.split(separator: "\n").count == 1, "\(outcome.output)")
                #expect(outcome.output.contains("berlin"), "\(outcome.output)")
                let figures = #/^MUSTER (CRITICAL|WARNING) - \d.* \| nodes=1 databases=1 .* rpo_max=\d+s\n*$/#
                #expect(outcome.output.contains(figures), "\(outcome.output)")
                #expect(try await fleet.run("status").status == 0, "only --check tells by its exit status")
            }

            func expectTheAgeGrows() async throws {
                let age = try await database()["rpo_seconds"].number
                try await eventually("an age that grows") { try await database()["rpo_seconds"].number > age + 1 }
            }
        }

        /// The application of the test, with a connection that stays open.
        private final class Application {
            private let connection: SQLiteConnection
            init(_ path: String) throws { connection = try SQLiteConnection(path: path, access: .readWrite) }
            func write() throws { try connection.execute("INSERT INTO item(content) VALUES (randomblob(99))") }
        }

        @Test func aStoreThatRefusesMakesTheAgeGrow() async throws {
            let watched = try await Watched()
            let manifests = watched.fleet.coordinatorDirectory + "/store/manifests"
            #expect(rename(manifests, manifests + "-away") == 0)
            try Data("no folder".utf8).write(to: URL(filePath: manifests))
            try watched.application.write()
            try await watched.awaitAlarm("stuck")
            try await watched.expectTheAgeGrows()
            #expect(try await watched.database()["changed_since_receipt"] == .bool(true))

            #expect(unlink(manifests) == 0 && rename(manifests + "-away", manifests) == 0)
            try await watched.awaitHealth()
        }

        @Test func aDatabaseThatCannotBeCapturedIsAnAlarm() async throws {
            let watched = try await Watched()
            try watched.application.write()
            for suffix in ["", "-wal", "-shm"] {
                #expect(rename(watched.source + suffix, watched.source + "-away" + suffix) == 0)
            }
            try await watched.awaitAlarm("failing")
            try await watched.expectTheAgeGrows()
        }

        @Test func anAgentThatStandsStillIsSilent() async throws {
            let watched = try await Watched()
            let agent = try #require(watched.node.agent)
            // Its supervisor first, which would end it.
            agent.signal(SIGSTOP)
            let process = try watched.node.agentProcess()
            #expect(kill(process, SIGSTOP) == 0)
            try watched.application.write()
            try await watched.awaitAlarm("silent")
            try await watched.expectTheAgeGrows()
            #expect(kill(process, SIGCONT) == 0)
            agent.signal(SIGCONT)
            try await watched.awaitHealth()
        }
    }
}
