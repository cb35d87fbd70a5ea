import Foundation
import Glibc
import Testing

extension EndToEnd {
    @Suite("A fleet that is drilled")
    struct FleetDrillTests {
        private static let settings = "verification: {verify_every: never, drill_every: never}\n"

        /// A node that keeps nothing near and says often that it is there.
        private func node(_ fleet: Fleet, _ name: String) async throws -> Node {
            let node = try await Node(fleet, name)
            let settings = node.directory + "/agent.yaml"
            let text = try String(contentsOfFile: settings, encoding: .utf8) + "cache_bytes: 0\nreport_every: 1s\n"
            try text.write(toFile: settings, atomically: true, encoding: .utf8)
            return node
        }

        /// Protects a new database and waits for its snapshot.
        private func protect(_ name: String, on node: Node) async throws -> String {
            let source = try SampleDatabase.make(node.fleet.path(name + ".db"))
            try await node.add(source)
            var found: [JSON] = []
            try await eventually("the snapshot of \(name)") {
                found = try await node.fleet.snapshots("--node", node.name).filter { $0["database"].text == name }
                return !found.isEmpty
            }
            return found[0]["id"].text
        }

        /// One snapshot is damaged in its only store, one node is away, and both sides are killed in the middle.
        @Test func itIsSaidHowMuchOfItComesBack() async throws {
            let fleet = try await Fleet(settings: Self.settings)
            let alpha = try await node(fleet, "alpha")
            let beta = try await node(fleet, "beta")
            let gamma = try await node(fleet, "gamma")
            for node in [alpha, beta, gamma] { try node.start() }
            let good = try await protect("good", on: alpha)
            let before = fleet.store.packs.objects
            let bad = try await protect("bad", on: alpha)
            let pack = try #require(fleet.store.packs.first { !before.contains($0.object) })
            let other = try await protect("other", on: beta)
            let away = try await protect("away", on: gamma)
            try await fleet.succeed("database", "pause", "--dir", alpha.directory, "bad")
            var bytes = try Data(contentsOf: pack.url)
            bytes[bytes.count / 2] ^= 1
            try bytes.write(to: pack.url)
            try await gamma.kill()
            try await beta.kill()

            let begun = try await fleet.json("verify", "--fleet", "--level", "drill", "--patience", "30s")
            let run = begun["run"].text
            try await fleet.runningCoordinator().kill()
            try await fleet.startCoordinator()
            try beta.start()
            let shown = try fleet.launch(["verify", "show", run, "--wait", "--format", "json"])
            #expect(try await shown.end(within: .seconds(600)) == 2, "\(shown.standardError)")
            let report = try JSON(shown.standardOutput)
            #expect(report["passed"].number == 2 && report["total"].number == 4)
            let failed = report["failed"].list
            #expect(Set(failed.map(\.["snapshot"].text)) == [bad, away])
            let damaged = failed.first { $0["snapshot"].text == bad }
            #expect(damaged?["object"].text.contains(pack.id) == true)
            let missing = failed.first { $0["snapshot"].text == away }
            #expect(missing?["reason"].text.contains("node 'gamma' has been away since ") == true)

            try await expectKept(
                fleet, run, [good: "passed drill", other: "passed drill", bad: "failed drill", away: ""])
        }

        private func expectKept(_ fleet: Fleet, _ run: String, _ verdicts: [String: String]) async throws {
            for snapshot in try await fleet.snapshots() {
                #expect(snapshot["verdict"].text == verdicts[snapshot["id"].text], "\(snapshot["database"])")
            }
            for database in try await fleet.json("database", "list").list {
                let isProven = ["good", "other"].contains(database["name"].text)
                #expect((database["drilled_at"] != .null) == isProven, "\(database["name"])")
                #expect((database["rto_seconds"] != .null) == isProven, "\(database["name"])")
            }
            let listed = try await fleet.json("verify", "list").list.filter { $0["run"].text == run }
            #expect(listed.map(\.["failed"].number) == [1] && listed.map(\.["unfinished"].number) == [1])
            let nodes = try await fleet.json("verify", "show", run, "--nodes").list
            #expect(nodes.map(\.["node"].text) == ["alpha", "beta", "gamma"])
            #expect(nodes.map(\.["passed"].number) == [1, 1, 0])
            let levels = try await fleet.json("status")["coverage"]["levels"].list
            #expect(levels.first { $0["level"].text == "drill" }?["within"].number == 2)
            let line = try await fleet.succeed("status").output
            #expect(line.contains("of 4 databases 50 % verified ever, 50 % drilled ever"), "\(line)")
        }

        // MARK: - What the owner wrote

        private func expect(_ lines: String, of source: String, on node: Node) throws {
            let file = node.directory + "/agent.yaml"
            let text = try String(contentsOfFile: file, encoding: .utf8)
            let entry = "    path: \"\(source)\"\n"
            try #require(text.contains(entry))
            try text.replacingOccurrences(of: entry, with: entry + lines)
                .write(toFile: file, atomically: true, encoding: .utf8)
        }

        /// The owner says that this table may shrink: with its assertions taken away too, the same snapshot passes.
        private func expectAccepted(_ fleet: Fleet, _ node: Node, _ first: String, _ second: String) async throws {
            try await node.stop()
            for name in ["enough orders", "the first customer"] {
                try await fleet.succeed("database", "assert", "--dir", node.directory, "shop", name, "--remove")
            }
            let shrinking = ["database", "may-shrink", "--dir", node.directory, "shop", "Confidential_Orders"]
            #expect(try await fleet.run(shrinking + ["--remove"]).status == 1)
            #expect(try await fleet.run(shrinking).status == 0)
            try node.start()
            #expect(try await fleet.run("verify", second, "--level", "drill", "--wait").status == 0)
            // An older snapshot is compared with nothing newer.
            #expect(try await fleet.run("verify", first, "--level", "drill", "--wait").status == 0)
            let drills = try await fleet.json("verify", "drills", "shop", "--node", node.name).list
            #expect(drills.map(\.["snapshot"].text) == [first, second, second, first])
            #expect(drills.map(\.["passed"]) == [.bool(true), .bool(true), .bool(false), .bool(true)])
            #expect(drills.map { $0["compared_with"] == .null } == [true, false, false, true])
            #expect(drills[2]["compared_with"].text == first && drills[2]["largest_drop"] == .number(0.7))
            #expect(drills[2]["reason"].text.contains("a table has lost 70.0 %"))
            #expect(drills.allSatisfy { $0["integrity"].text == "ok" && $0["rto_seconds"] != .number(0) })
            let table = try await fleet.succeed("verify", "drills", "shop").output
            #expect(table.contains("1 tables, at most 70 %") && table.contains("not compared"), "\(table)")
            #expect(try await fleet.run("verify", "drills", "nothing").status == 3)
        }

        @Test func theOwnersAssertionsAndTheRowsOfTheDrillBeforeCount() async throws {
            let fleet = try await Fleet(settings: Self.settings)
            let node = try await node(fleet, "alpha")
            let source = fleet.path("shop.db")
            try SampleDatabase.change(
                source, "CREATE TABLE confidential_orders(id INTEGER PRIMARY KEY, customer TEXT)",
                """
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
                INSERT INTO confidential_orders SELECT i, 'customer ' || i FROM n
                """)
            try await node.add(source)
            try expect(
                """
                    max_row_drop_percent: 20
                    assertions:
                      - name: enough orders
                        sql: SELECT count(*) FROM confidential_orders
                        min: 40

                """, of: source, on: node)
            try await fleet.succeed(
                "database", "assert", "--dir", node.directory, "shop", "the first customer", "--sql",
                "SELECT 1 FROM confidential_orders WHERE customer = 'customer 1'")
            try node.start()
            let first = try await fleet.awaitSnapshots(1)[0]["id"].text
            let passed = try await fleet.run("verify", first, "--level", "drill", "--wait")
            #expect(passed.status == 0, "\(passed.output)\(passed.errors)")

            try SampleDatabase.change(source, "DELETE FROM confidential_orders WHERE id <= 70")
            let second = try await node.snapshot()[0]["outcome_snapshot_id"].text
            let failed = try await fleet.run("verify", second, "--level", "drill", "--wait", "--format", "json")
            #expect(failed.status == 1)
            let reasons = try failed.json["failed"].list.map(\.["reason"].text)
            #expect(
                Set(reasons) == [
                    "assertion 'enough orders': its value is not within the bounds",
                    "assertion 'the first customer': it gives no row",
                    "a table has lost 70.0 % of its rows since the drill before, where the owner allows 20.0 %: the "
                        + "agent's log names it, and 'muster database may-shrink' accepts it",
                ])
            // On the node itself, with the same assertions; nothing is known there of a drill before.
            let here = try await fleet.run("verify", second, "--level", "drill", "--agent-dir", node.directory)
            #expect(
                here.status == 1 && here.errors.contains("assertion 'enough orders' (30.0) fails"), "\(here.errors)")
            let sound = try await fleet.run("verify", first, "--level", "drill", "--agent-dir", node.directory)
            #expect(sound.status == 0 && sound.errors.contains("1 tables with 100 rows"), "\(sound.errors)")
            try await expectAccepted(fleet, node, first, second)
            // Names of tables are content too.
            for file in try FileManager.default.contentsOfDirectory(atPath: fleet.coordinatorDirectory)
            where file.hasPrefix("catalog") {
                let url = URL(filePath: fleet.coordinatorDirectory + "/" + file)
                #expect(try Data(contentsOf: url).range(of: Data("confidential".utf8)) == nil, "\(file)")
            }
        }

        @Test func aDatabaseForWhichThereIsNoRoomIsNotFinished() async throws {
            let fleet = try await Fleet(settings: Self.settings)
            let node = try await node(fleet, "alpha")
            let file = node.directory + "/agent.yaml"
            try ("scratch_limit_bytes: 1000\n" + String(contentsOfFile: file, encoding: .utf8))
                .write(toFile: file, atomically: true, encoding: .utf8)
            try node.start()
            let id = try await protect("large", on: node)
            let refused = try await fleet.run("verify", id, "--level", "drill", "--wait", "--format", "json")
            #expect(refused.status == 1)
            let reasons = try refused.json["failed"].list.map(\.["reason"].text)
            #expect(reasons.count == 1 && reasons[0].hasPrefix("not verified: not enough scratch space"), "\(reasons)")
            #expect(try await fleet.snapshots().map(\.["verdict"]) == [.null], "it says nothing of the snapshot")
        }

        // MARK: - The process that asks

        private static let endless = """
                assertions:
                  - name: endless
                    sql: WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n

            """

        /// What a hostile database does to the process that asks it does not hit the agent.
        @Test func theProcessThatAsksIsConfinedAndMayDie() async throws {
            let fleet = try await Fleet(settings: Self.settings)
            let node = try await node(fleet, "alpha")
            let source = try SampleDatabase.make(fleet.path("shop.db"))
            try await node.add(source)
            let file = node.directory + "/agent.yaml"
            let sound = try String(contentsOfFile: file, encoding: .utf8)
            try expect(Self.endless, of: source, on: node)
            try ("assertion_time_limit: 20m\n" + String(contentsOfFile: file, encoding: .utf8))
                .write(toFile: file, atomically: true, encoding: .utf8)
            try node.start(environment: ["SECRET_OF_THE_AGENT": "1"])
            let id = try await fleet.awaitSnapshots(1)[0]["id"].text
            let agent = try node.agentProcess()

            let first = try await fleet.json("verify", id, "--level", "drill")["run"].text
            let process = try await inspector(of: agent)
            try expectConfined(process)
            kill(process, SIGSEGV)
            let crashed = try await fleet.run("verify", "show", first, "--wait", "--format", "json")
            #expect(crashed.status == 1)
            #expect(try crashed.json["failed"].list.first?["reason"].text.contains("it crashed (signal 11)") == true)
            #expect(try node.agentProcess() == agent, "the agent lives on")

            let second = try await fleet.json("verify", id, "--level", "drill")["run"].text
            let orphan = try await inspector(of: agent)
            try await node.kill()
            try await eventually("the end of an inspection whose agent was killed") { hasEnded(orphan) }
            try sound.write(toFile: file, atomically: true, encoding: .utf8)
            try node.start()
            let resumed = try await fleet.run("verify", "show", second, "--wait", "--format", "json")
            #expect(resumed.status == 0, "\(resumed.output)")
            let scratch = try FileManager.default.contentsOfDirectory(atPath: node.directory + "/scratch")
            #expect(scratch == [])
        }

        /// The process that the agent has started to ask a rebuilt database, once it has confined itself.
        private func inspector(of agent: pid_t) async throws -> pid_t {
            var found: pid_t?
            try await eventually("an inspection") {
                let numbers = try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { pid_t($0) }
                // 2 is SECCOMP_MODE_FILTER (proc(5)), which comes last.
                found = numbers.first { number in
                    field("PPid", of: number) == "\(agent)" && limit("Max open files", of: number) == "0"
                        && field("Seccomp", of: number) == "2"
                }
                return found != nil
            }
            return try #require(found)
        }

        private func expectConfined(_ process: pid_t) throws {
            let files = FileManager.default
            #expect(limit("Max file size", of: process) == "0")
            #expect(limit("Max processes", of: process) == "0")
            #expect(limit("Max address space", of: process) != "unlimited")
            #expect(field("SigCgt", of: process) == "0000000000000000", "a crash is caught by nobody")
            guard geteuid() == 0 else { return }
            #expect(field("Uid", of: process) == "65534")
            let environment = try String(contentsOfFile: "/proc/\(process)/environ", encoding: .utf8).split(
                separator: "\0")
            let names = Set(environment.map { String($0.prefix { $0 != "=" }) })
            #expect(names.isSubset(of: ["PATH", "LANG", "TZ", "SWIFT_BACKTRACE"]), "\(names)")
            #expect(try files.attributesOfItem(atPath: "/proc/\(process)/mem")[.ownerAccountID] as? NSNumber == 0)
            let (its, ours) = ("/proc/\(process)/ns/net", "/proc/self/ns/net")
            #expect(try files.destinationOfSymbolicLink(atPath: its) != files.destinationOfSymbolicLink(atPath: ours))
        }

        /// Nobody may have asked yet how it ended.
        private func hasEnded(_ process: pid_t) -> Bool { ["Z", nil].contains(field("State", of: process)) }

        /// A process that has ended has no such file, and no such field.
        private func field(_ name: String, of process: pid_t) -> String? {
            (try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8))?
                .split(separator: "\n").first { $0.hasPrefix(name + ":") }?
                .split(whereSeparator: \.isWhitespace).dropFirst().first.map(String.init)
        }

        private func limit(_ name: String, of process: pid_t) -> String? {
            // As above.
            (try? String(contentsOfFile: "/proc/\(process)/limits", encoding: .utf8))?
                .split(separator: "\n").first { $0.hasPrefix(name) }?.dropFirst(name.count)
                .split(whereSeparator: \.isWhitespace).first.map(String.init)
        }
    }
}
