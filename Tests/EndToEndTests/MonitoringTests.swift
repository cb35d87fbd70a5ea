import Foundation
import Glibc
import MusterModel
import MusterSQLite
import MusterTestSupport
import MusterTransfer
import Testing

extension EndToEnd {
    /// `deploy/monitoring` against what both roles really tell.
    @Suite struct MonitoringTests {
        private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "deploy/monitoring")

        private static func text(_ name: String) throws -> String {
            try String(contentsOf: folder.appending(path: name), encoding: .utf8)
        }

        /// Names of metrics, without what a histogram's series end in.
        private static func metrics(in text: String) -> Set<String> {
            Set(
                text.matches(of: #/\bmuster_[a-z_]+/#).map { match in
                    String(match.output).replacing(#/_(bucket|count|sum)$/#) { suffix in
                        match.output.hasSuffix("_seconds" + suffix.output.0) ? "" : String(suffix.output.0)
                    }
                })
        }

        /// The expressions of the alert rules, and those of the dashboard.
        private static func expressions() throws -> [String] {
            let rules = try text("alerts.yaml").split(separator: "\n").compactMap { line -> String? in
                line.firstMatch(of: #/^ +expr: (.+)$/#).map { String($0.1) }
            }
            let json = try JSONSerialization.jsonObject(with: Data(try text("grafana-dashboard.json").utf8))
            let panels = try #require((json as? [String: Any])?["panels"] as? [[String: Any]])
            let targets = panels.flatMap { $0["targets"] as? [[String: Any]] ?? [] }
            return rules + targets.compactMap { $0["expr"] as? String }
        }

        private static func scrape(_ port: Int, _ http: HTTPClient) async throws -> String {
            var body: [UInt8] = []
            try await eventually("metrics on port \(port)") {
                do {
                    let answer = try await http.send(
                        HTTPRequest(.get, "http://127.0.0.1:\(port)/metrics", timeout: .seconds(60)))
                    body = answer.body
                    return answer.status == 200
                } catch {
                    return false
                }
            }
            return String(decoding: body, as: UTF8.self)
        }

        @Test func rulesAndDashboardUseOnlyMetricsThatExist() async throws {
            let ports = try Fleet.freePorts()
            let fleet = try await Fleet(settings: "metrics_listen: 127.0.0.1:\(ports)\ngc_every: 1h\n")
            let node = try await Node(fleet, "berlin")
            try await node.add(try SampleDatabase.make(fleet.path("shop.db")), every: "1s")
            let configuration = node.directory + "/agent.yaml"
            let lines = try String(contentsOfFile: configuration, encoding: .utf8)
            try ("metrics_listen: 127.0.0.1:\(ports + 1)\n" + lines).write(
                toFile: configuration, atomically: true, encoding: .utf8)
            try node.start(environment: ["MUSTER_REPORT_EVERY": "1s"])
            _ = try await fleet.awaitSnapshots(1)
            try await fleet.succeed("gc", "run")
            let id = try await fleet.snapshots()[0]["id"].text
            try await fleet.succeed("verify", id, "--level", "drill", "--wait")
            // One that is denied, so that its counter has something to tell.
            try await Self.provokeDenial(fleet)
            var settings = HTTPClient.Settings()
            settings.takesPublicServers = true
            let http = try HTTPClient(tls: TLSFiles(authority: try Self.authority(fleet)), settings: settings)
            defer { http.shutdown() }

            let wanted = Self.metrics(in: try Self.expressions().joined(separator: "\n"))
            #expect(wanted.count > 30)
            var missing: Set<String> = []
            try await eventually("all metrics") {
                let told = try await Self.scrape(ports, http) + Self.scrape(ports + 1, http)
                missing = wanted.subtracting(Self.metrics(in: told))
                return missing.isEmpty
            }
            #expect(missing.isEmpty)
        }

        /// As Prometheus itself reads them, where it is installed.
        @Test(.enabled(if: access("/usr/bin/promtool", X_OK) == 0)) func prometheusTakesTheRules() throws {
            for (kind, name) in [("rules", "alerts.yaml"), ("config", "prometheus.yaml")] {
                let file = Self.folder.appending(path: name).path(percentEncoded: false)
                let syntax = kind == "config" ? ["--syntax-only"] : []
                let ending = try ChildProcess.run("/usr/bin/promtool", ["check", kind] + syntax + [file])
                #expect(ending.status == 0, "\(ending.output)")
            }
        }

        private static func authority(_ fleet: Fleet) throws -> String {
            let context = try JSONSerialization.jsonObject(
                with: Data(contentsOf: URL(filePath: fleet.path("context.json"))))
            return try #require((context as? [String: Any])?["authority"] as? String)
        }

        private static func provokeDenial(_ fleet: Fleet) async throws {
            let http = try HTTPClient(tls: TLSFiles(authority: try authority(fleet)))
            defer { http.shutdown() }
            let answer = try await http.send(
                HTTPRequest(.get, "https://127.0.0.1:\(fleet.port)/v1/snapshots", timeout: .seconds(60)))
            #expect(answer.status == 401)
        }

        /// A kind without a rule says in the file why.
        @Test func everyKindOfAlarmHasARuleOrAReasonAndALineInTheRunbook() throws {
            let rules = try Self.text("alerts.yaml")
            let runbook = try String(
                contentsOf: Self.folder.appending(path: "../runbook.md").standardizedFileURL, encoding: .utf8)
            for kind in AlarmKind.allCases {
                let hasRule = rules.contains("muster_alarm_count{kind=\"\(kind.rawValue)\"}")
                #expect(hasRule != rules.contains("#   \(kind.rawValue): "), "\(kind)")
                #expect(runbook.contains("`\(kind.rawValue)`"), "\(kind)")
            }
        }

        @Test func aTamperedAuditIsFound() async throws {
            // Each run of gc is two rows.
            let fleet = try await Fleet(settings: "gc_every: never\n")
            _ = try await fleet.run("node", "invite", "berlin")
            _ = try await fleet.run("node", "invite", "paris")
            let whole = try await fleet.json("audit", "verify")
            #expect(whole["rows"].number == 3 && whole["first_broken"].number == 0)
            let head = "3:\(whole["head_hash"].text)"
            #expect(
                try await fleet.json("audit", "list", "--limit", "2").list.map(\.["action"].text) == [
                    "invite", "invite",
                ])
            _ = try await fleet.run("node", "invite", "rome")
            #expect(try await fleet.run("audit", "verify", "--head", head).status == 0)
            try await fleet.runningCoordinator().kill()
            do {
                let catalog = try SQLiteConnection(
                    path: fleet.coordinatorDirectory + "/catalog.db", access: .readWrite)
                try catalog.execute("UPDATE audit SET actor = 'nobody' WHERE number = 2")
            }
            try await fleet.startCoordinator()
            let outcome = try await fleet.run("audit", "verify", "--format", "json")
            #expect(outcome.status == 1)
            #expect(try outcome.json["first_broken"].number == 2)
            #expect(
                try await fleet.run("audit", "verify", "--head", "2:" + String(repeating: "0", count: 64)).status == 1)
        }
    }
}
