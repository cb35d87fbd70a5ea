import Foundation
import Glibc
import Testing

extension EndToEnd {
    /// `status --check` as a plug-in of Nagios and Icinga: monitoring-plugins.org/doc/guidelines.html.
    @Suite("A monitor is told the state, or that nobody knows it")
    struct MonitorCheckTests {
        private let fleet: Fleet

        init() async throws { fleet = try await Fleet() }

        /// One line on standard output, whatever else is said elsewhere.
        private func expect(
            _ state: String, _ status: Int32, _ arguments: [String] = [], context: String? = nil,
            saying words: String = "", sourceLocation: SourceLocation = #_sourceLocation
        ) async throws {
            let environment = context.map { ["MUSTER_CONTEXT": $0] } ?? [:]
            let outcome = try await fleet.run(["status", "--check"] + arguments, environment: environment)
            #expect(outcome.status == status, "\(outcome.output)\(outcome.errors)", sourceLocation: sourceLocation)
            #expect(outcome.output.hasPrefix("MUSTER \(state) - "), "\(outcome.output)", sourceLocation: sourceLocation)
            let isSaid = words.isEmpty || outcome.output.contains(words)
            #expect(isSaid, "\(outcome.output)", sourceLocation: sourceLocation)
            let lines = outcome.output.split(separator: "\n")
            #expect(lines.count == 1, "\(outcome.output)", sourceLocation: sourceLocation)
            #expect(outcome.output.count { $0 == "|" } <= 1, "\(outcome.output)", sourceLocation: sourceLocation)
        }

        @Test func severitiesAreTheMonitorsStates() async throws {
            try await expect("OK", 0, saying: "0 nodes, 0 databases, no alarm | nodes=0 databases=0 ")
            // An alarm that is a warning: less room than is wanted, and more than a quarter of it.
            let free = try FileManager.default.attributesOfFileSystem(forPath: fleet.path(""))[.systemFreeSize]
            let mebibytes = try #require(free as? Int) >> 20
            try await restart("alarms: {disk_free_mib: \(mebibytes * 2)}\n")
            try await expect("WARNING", 1, saying: "warning: disk")
            try await restart("alarms: {disk_free_mib: \(mebibytes * 100)}\n")
            try await expect("CRITICAL", 2, saying: "critical: disk")
            let document = try await fleet.run("status", "--check", "--format", "json")
            #expect(document.status == 2)
            #expect(try document.json["alarms"].list.contains { $0["severity"].text == "critical" })
        }

        private func restart(_ settings: String) async throws {
            try await fleet.runningCoordinator().kill()
            let file = fleet.coordinatorDirectory + "/coordinator.yaml"
            let lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
            let text = lines.filter { !$0.hasPrefix("alarms:") }.joined(separator: "\n") + "\n" + settings
            try text.write(toFile: file, atomically: true, encoding: .utf8)
            try await fleet.startCoordinator()
        }

        @Test func whatCannotBeAskedIsUnknown() async throws {
            let vera = fleet.path("vera.json")
            try await fleet.succeed("person", "add", "vera", "--role", "viewer", "--out", vera)
            try await expect("OK", 0, context: vera)
            try await fleet.succeed("person", "revoke", "vera", "--confirm")
            try await expect("UNKNOWN", 3, context: vera)
            try await expect("UNKNOWN", 3, context: fleet.path("nobody.json"), saying: "nobody.json")
            try "no context".write(toFile: fleet.path("torn.json"), atomically: true, encoding: .utf8)
            try await expect("UNKNOWN", 3, context: fleet.path("torn.json"), saying: "torn.json")
            // Without --check it is a command like others.
            #expect(try await fleet.run(["status"], environment: ["MUSTER_CONTEXT": vera]).status == 1)

            try await fleet.runningCoordinator().kill()
            try await expect("UNKNOWN", 3)
            let document = try await fleet.run("status", "--check", "--format", "json")
            #expect(document.status == 3 && document.output.isEmpty && document.errors.contains("hint: "))
        }

        /// Whoever takes the connection and says nothing would else be waited for until the monitor ends the plug-in.
        @Test func aCoordinatorThatSaysNothingIsUnknownInTime() async throws {
            try await fleet.runningCoordinator().kill()
            let mute = LoopbackSocket()
            try #require(mute.bind(fleet.port + 1) && mute.listen())
            try await expect("UNKNOWN", 3, ["--timeout", "1s"], saying: "did not answer within 1s")
        }
    }
}
