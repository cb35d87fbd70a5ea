import Foundation
import Glibc
import MusterModel
import MusterSQLite
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterAgent
@testable import MusterCoordinator
@testable import MusterServing

extension EndToEnd {
    /// `deploy/monitoring` against what both roles really tell.
    @Suite struct MonitoringTests {
        private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "deploy/monitoring")

        private static func text(_ name: String) throws -> String {
            try String(contentsOf: folder.appending(path: name), encoding: .utf8)
        }

        /// What the alert rules and the dashboard ask.
        private static func queries() throws -> [MetricQuery] {
            let rules = try text("alerts.yaml").split(separator: "- alert: ").compactMap { rule -> MetricQuery? in
                rule.firstMatch(of: #/\n +expr: (.+)\n/#).map { expression in
                    MetricQuery(
                        expression: String(expression.1),
                        shown: rule.matches(of: #/\$labels\.([a-z_]+)/#).map { String($0.1) })
                }
            }
            let json = try JSONSerialization.jsonObject(with: Data(try text("grafana-dashboard.json").utf8))
            let panels = try #require((json as? [String: Any])?["panels"] as? [[String: Any]])
            let targets = panels.flatMap { $0["targets"] as? [[String: Any]] ?? [] }
            return rules
                + targets.compactMap { target in
                    (target["expr"] as? String).map { expression in
                        let legend = target["legendFormat"] as? String ?? ""
                        return MetricQuery(
                            expression: expression,
                            shown: legend.matches(of: #/\{\{ *([a-z_]+) *\}\}/#).map { String($0.1) })
                    }
                }
        }

        private static func jobs() throws -> Set<String> {
            Set(try text("prometheus.yaml").matches(of: #/job_name: "?([a-z-]+)/#).map { String($0.1) })
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

        @Test func rulesAndDashboardAskOnlyWhatIsTold() async throws {
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

            // One that does not get as far as a request.
            await #expect(throws: (any Error).self) {
                try await http.send(HTTPRequest(.get, "http://127.0.0.1:\(fleet.port)/", timeout: .seconds(60)))
            }

            let (queries, jobs) = (try Self.queries(), try Self.jobs())
            let wanted = queries.reduce(into: Set<String>()) { $0.formUnion($1.metrics) }
            #expect(wanted.count > 30 && jobs.count == 2)
            var told = ToldMetrics(text: "")
            // Once all are told, whether their labels are right does not change any more.
            try await eventually("all metrics") {
                told = ToldMetrics(text: try await Self.scrape(ports, http) + Self.scrape(ports + 1, http))
                return wanted.isSubset(of: told.names)
            }
            // What nothing has counted yet is not told.
            told.add(possible: CoordinatorMetrics().registry.madeLabels)
            told.add(possible: AgentMetrics().registry.madeLabels)
            for query in queries { #expect(query.faults(in: told, jobs: jobs).isEmpty) }
        }

        @Test(
            arguments: [
                ("muster_a_total{state=\"good\"} > 0", ["state", "job"], []),
                ("sum by (le) (rate(muster_b_seconds_bucket{kind=~\"x|y\"}[5m]))", ["le"], []),
                ("muster_a_total > ignoring(state) muster_c_count", [], ["muster_c_count has no label state"]),
                ("muster_d_total", [], ["no metric muster_d_total"]),
                (
                    "muster_a_total{stat=\"good\"}", [],
                    ["muster_a_total has no stat 'good'", "muster_a_total has no label stat"]
                ),
                ("muster_a_total{state=\"god\"}", [], ["muster_a_total has no state 'god'"]),
                ("muster_b_seconds_bucket{kind!~\"x|z\"}", [], ["muster_b_seconds_bucket has no kind 'z'"]),
                ("sum by (stat) (muster_a_total)", [], ["muster_a_total has no label stat"]),
                ("max by (instance) (muster_a_total)", ["state"], ["nothing is left of label state"]),
                ("rate(muster_a_total[5m])", ["kind"], ["muster_a_total has no label kind"]),
                ("up{job=\"agent\"} == 0", ["instance"], []), ("up{job=\"agents\"}", [], ["up has no job 'agents'"]),
            ] as [(String, [String], [String])])
        func aQueryOfWhatIsNotToldIsFound(expression: String, shown: [String], faults: [String]) {
            var told = ToldMetrics(
                text: """
                    # TYPE muster_a_total counter
                    muster_a_total{state="good"} 1
                    muster_b_seconds_bucket{kind="x",le="+Inf"} 0.5
                    muster_c_count 3

                    """)
            told.add(possible: ["muster_b_seconds": ["kind": ["y"]]])
            let found = MetricQuery(expression: expression, shown: shown).faults(in: told, jobs: ["agent"])
            #expect(found == faults.map { "\($0): \(expression)" })
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
