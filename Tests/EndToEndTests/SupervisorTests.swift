import Foundation
import Glibc
import StressRig
import Testing

extension EndToEnd {
    @Suite("An agent that stands still")
    struct SupervisorTests {
        private func isGone(_ process: pid_t) -> Bool { kill(process, 0) != 0 && errno == ESRCH }

        @Test func itIsKilledAndStartedAgainAndItsLocksAreGone() async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            let application = try ApplicationProcess(path: source)
            try application.run("INSERT INTO item(content) VALUES (randomblob(9))")
            try await node.add(source, every: "200ms")
            let supervisor = try node.start()
            _ = try await fleet.awaitSnapshots(1)
            let first = try node.agentProcess()
            // While it is followed nobody may leave WAL mode.
            try await eventually("a follower") {
                (try? application.run("PRAGMA journal_mode=DELETE")) != ["delete"]
            }

            #expect(kill(first, SIGSTOP) == 0)
            try await eventually("its end") { isGone(first) }
            try application.run("INSERT INTO item(content) VALUES (randomblob(99))")
            let before = try await fleet.snapshots().count
            try await eventually("a snapshot by the next one") { try await fleet.snapshots().count > before }
            #expect(try node.agentProcess() != first)
            #expect(supervisor.isRunning)
            #expect(supervisor.standardError.contains("stands still"))
        }

        @Test(arguments: [false, true])
        func itDoesNotOutliveItsSupervisor(isStopped: Bool) async throws {
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            try await node.add(try SampleDatabase.make(fleet.path("shop.db")))
            try node.start()
            _ = try await fleet.awaitSnapshots(1)
            let agent = try node.agentProcess()
            if isStopped { #expect(kill(agent, SIGSTOP) == 0) }
            try await node.kill()
            try await eventually("the agent's end") { isGone(agent) }
            try node.start()
            try await eventually("another agent") { try node.knownAgent().map { $0 != agent } ?? false }
        }
    }
}
