import Foundation
import Glibc
import StressRig
import Testing

extension EndToEnd {
    /// The pictures of `.build/screenshots` are made here, to be looked at.
    @Suite("The dashboard in a browser")
    struct DashboardTests {
        private static let hostile = "\"><script>alert(1)</script>"

        @Test func aFleetIsLookedAtFromTheLinkToTheSignOut() async throws {
            let fleet = try await Fleet(stores: ["one", "two"], settings: "gc_every: never\n")
            let nodes = try await Self.nodes(of: fleet)
            let browser = try Self.browser(fleet)
            let first = try await Self.signIn(browser, fleet)
            #expect(first.complaints == [], "\(first.complaints)")
            #expect(first.html.components(separatedBy: "class=\"cell unproven\"").count > 5)
            try Self.expectKeysAndRoles(browser)
            try await Self.verifyAll(fleet, level: "verify", passes: true)
            let healthy = try browser.open(Self.url(fleet, "/"))
            #expect(!healthy.html.contains("class=\"cell unproven\" href"))
            try Self.pictures("fleet-healthy", browser)
            try await Self.verifyAll(fleet, level: "drill", passes: true)
            try await Self.verifyAll(fleet, level: "drill", passes: true)
            let taken = try await fleet.run(["snapshot", "create", "--fleet", "--name", "release-1.4", "--wait"])
            #expect(taken.status == 0, "\(taken.errors)")
            try Self.noteGrowth(fleet)
            try await Self.expectEachPage(browser, fleet)
            try await Self.expectForms(browser, fleet, nodes[0])

            // In both stores, and with nobody there to send it again: else it is healed before anybody looks.
            for node in nodes { try await node.stop() }
            let pack = try #require(fleet.store.packs.first)
            let other = StoreFolder(url: URL(filePath: fleet.path("two")))
            for file in [pack] + other.packs.filter({ $0.id == pack.id }) {
                try Data("broken".utf8).write(to: file.url)
            }
            try await Self.verifyAll(fleet, level: "scrub", passes: false)
            let damaged = try browser.open(Self.url(fleet, "/"))
            #expect(damaged.html.contains("class=\"cell failing\" href") && damaged.html.contains("damaged"))
            try Self.pictures("fleet-damaged", browser)
            let alarms = try browser.open(Self.url(fleet, "/alarms"))
            #expect(alarms.html.contains("muster verify") && alarms.complaints == [])

            let out = try browser.click("form.who button")
            #expect(out.html.contains("<h1><bdi>Signed out</bdi></h1>"))
            // The browser names an answer that is not 2xx in its log: that is the only complaint of a page.
            let stranger = try browser.open(Self.url(fleet, "/"))
            #expect(stranger.html.contains("muster dashboard open") && !stranger.html.contains("berlin"))
            try browser.close()
        }

        @Test func aRunIsWatchedWhileItGoesOn() async throws {
            let fleet = try await Fleet(settings: "gc_every: never\n")
            let nodes = try await Self.nodes(of: fleet)
            // Without its agent a node's part of the run stays open for as long as the test needs.
            try await nodes[1].stop()
            let browser = try Self.browser(fleet)
            _ = try await Self.signIn(browser, fleet)
            let list = try browser.open(Self.url(fleet, "/verifications"))
            #expect(list.html.contains("Verify the whole fleet"))
            let begun = try browser.click("form[action='/actions/verify'] button")
            #expect(begun.url.contains("/verifications/") && begun.html.contains("http-equiv=\"refresh\""))
            try await eventually("the part of the node that is there") {
                try browser.page().html.contains("3 of 6 passed, 3 to go.")
            }
            try Self.pictures("run-in-progress", browser)
            let top = try browser.open(Self.url(fleet, "/"))
            #expect(top.html.contains("3 of 6 passed") && top.html.contains("<progress"))
            _ = try browser.open(begun.url)
            try nodes[1].start()
            try await eventually("the end of the run on the page, which asks again by itself") {
                try browser.page().html.contains("all passed")
            }
            #expect(try !browser.page().html.contains("http-equiv=\"refresh\""))
            try browser.close()
        }

        @Test func tenThousandNodesAreOnePage() async throws {
            let fleet = try await Fleet(settings: "gc_every: never\n")
            try await fleet.runningCoordinator().kill()
            try LargeFleet.fill(fleet.coordinatorDirectory + "/catalog.db", nodes: 10_000, databases: 10)
            try await fleet.startCoordinator(asking: ["store", "list"])
            let browser = try Self.browser(fleet)
            let page = try await Self.signIn(browser, fleet)
            #expect(page.complaints == [] && page.html.contains("10,000 nodes, 100,000 databases"))
            #expect(page.html.contains("Nodes 1 to 100 of 10,000") && page.html.utf8.count < 1 << 20)
            try Self.pictures("fleet-of-10000", browser)
            let failing = try browser.open(Self.url(fleet, "/?state=failing&page=2"))
            #expect(failing.html.contains("Nodes 101 to "))
            let found = try browser.open(Self.url(fleet, "/?find=node-04711"))
            #expect(found.html.contains("1 node<") && found.complaints == [])
            let last = try browser.open(Self.url(fleet, "/?page=100"))
            #expect(last.html.contains("node-09999"))
            try browser.close()
            try await Self.expectCommands(fleet)
        }

        /// The command line gets the same fleet page by page, and says what it leaves out.
        private static func expectCommands(_ fleet: Fleet) async throws {
            let status = try await fleet.json("status", "--limit", "50")
            #expect(status["node_count"].number == 10_000 && status["database_count"].number == 100_000)
            #expect(status["databases"].list.count == 50 && status["more_databases"].number == 99_950)
            #expect(status["oldest_rpo_seconds"].number > 0)
            let table = try await fleet.run(["status", "--limit", "5"])
            #expect(table.output.contains("and 99995 more: see 'muster database list'"))
            #expect(try await fleet.run(["status", "--check"]).output.hasPrefix("MUSTER CRITICAL - "))
            #expect(try await fleet.json("node", "list").list.count == 10_000)
            #expect(try await fleet.json("database", "list", "--limit", "2500").list.count == 2500)
            #expect(try await fleet.json("database", "list", "--node", "node-04711").list.count == 10)
        }

        // MARK: - What the tests share

        private static func url(_ fleet: Fleet, _ path: String) -> String {
            "https://127.0.0.1:\(fleet.port + 2)\(path)"
        }

        /// Two nodes, each with three databases that have a snapshot.
        private static func nodes(of fleet: Fleet) async throws -> [Node] {
            var nodes: [Node] = []
            for name in ["berlin", "lisbon"] {
                let node = try await Node(fleet, name)
                for (index, database) in ["orders", "sessions", hostile].enumerated() {
                    let path = try SampleDatabase.make(fleet.path("\(name)-\(index).db"))
                    try await node.add(path, name: database)
                }
                try node.start()
                nodes.append(node)
            }
            _ = try await fleet.awaitSnapshots(6)
            for round in 0..<4 {
                for name in ["berlin", "lisbon"] {
                    for index in 0..<3 where (round + index) % 2 == 0 {
                        try SampleDatabase.grow(fleet.path("\(name)-\(index).db"))
                    }
                }
                for node in nodes { try await node.snapshot() }
            }
            return nodes
        }

        private static func browser(_ fleet: Fleet) throws -> Chromium {
            try Chromium(
                profile: fleet.path("browser"), certificate: fleet.coordinatorDirectory + "/server.pem")
        }

        /// - Returns: the fleet's page.
        private static func signIn(_ browser: Chromium, _ fleet: Fleet) async throws -> Chromium.Page {
            let link = try await fleet.json("dashboard", "open")["url"].text
            #expect(link.hasPrefix(url(fleet, "/enter/")))
            let door = try browser.open(link)
            #expect(door.html.contains("<h1><bdi>Sign in</bdi></h1>") && door.complaints == [])
            try browser.picture("page-sign-in")
            let page = try browser.click("main form button")
            #expect(page.url == url(fleet, "/") && page.html.contains("<h1><bdi>Fleet</bdi></h1>"))
            return page
        }

        private static func verifyAll(_ fleet: Fleet, level: String, passes: Bool) async throws {
            let ids = try await fleet.snapshots().map { $0["id"].text }
            let outcome = try await fleet.run(["verify"] + ids + ["--level", level, "--wait"])
            #expect((outcome.status == 0) == passes, "\(outcome.errors)")
        }

        private static func pictures(_ name: String, _ browser: Chromium) throws {
            for isDark in [false, true] {
                let ending = isDark ? "dark" : "light"
                try browser.picture("\(name)-\(ending)", isDark: isDark, isWhole: true)
                let narrow = try browser.picture("\(name)-\(ending)-narrow", width: 390, height: 844, isDark: isDark)
                #expect(narrow.width <= 390, "\(name) is wider than a telephone: \(narrow.width)")
            }
            try browser.picture("\(name)-last")
        }

        /// A person without a mouse gets to the content at once, and one without a screen is told what is what.
        private static func expectKeysAndRoles(_ browser: Chromium) throws {
            let focused = try browser.tabs(11)
            #expect(focused[0] == "link Skip to content")
            #expect(focused[1] == "link Muster, to the fleet" && focused[10] == "button Sign out", "\(focused)")
            let roles = try browser.roles()
            for wanted in [
                "banner ", "navigation Pages", "main ", "contentinfo ", "heading Fleet", "region Databases by node",
                "button Sign out", "image Of 6 databases: 6 unproven",
                "region Inspected within policy", "progressbar Verified within policy",
            ] {
                #expect(roles.contains(wanted), "\(wanted)")
            }
            #expect(roles.contains { $0.hasPrefix("link orders: unproven, received ") })
            #expect(roles.contains { $0.hasPrefix("link \(hostile): unproven, received ") })
        }

        private static func expectEachPage(_ browser: Chromium, _ fleet: Fleet) async throws {
            let snapshot = try await fleet.snapshots()[0]
            let paths = [
                "/nodes", "/nodes/\(snapshot["node"].text)", "/snapshots/\(snapshot["id"].text)", "/verifications",
                try await runPath(fleet), "/fleet-snapshots", "/fleet-snapshots/release-1.4", "/stores", "/alarms",
                "/jobs", "/audit?check=chain",
            ]
            for path in paths {
                let page = try browser.open(url(fleet, path))
                #expect(page.complaints == [], "\(path): \(page.complaints)")
                #expect(page.html.components(separatedBy: "<h1>").count == 2, "\(path)")
                #expect(!page.html.contains("<script"), "\(path)")
                #expect(try browser.roles().filter { $0.hasPrefix("heading ") }.count > 0, "\(path)")
                try browser.picture(pictureName(path), isWhole: true)
                let narrow = try browser.picture("last", width: 390, height: 844)
                #expect(narrow.width <= 390, "\(path) is wider than a telephone: \(narrow.width)")
            }
        }

        /// `page-node` of one node, `page-nodes` of the list.
        private static func pictureName(_ path: String) -> String {
            let parts = path.prefix { $0 != "?" }.split(separator: "/")
            return "page-" + parts[0] + (parts.count > 1 ? "-one" : "")
        }

        /// Of the run that was begun last.
        private static func runPath(_ fleet: Fleet) async throws -> String {
            let newest = try #require(try await fleet.json("verify", "list").list.first)
            return "/verifications/\(newest["run"].text)"
        }

        /// A month that no test waits for.
        private static func noteGrowth(_ fleet: Fleet) throws {
            try SampleDatabase.change(
                fleet.coordinatorDirectory + "/catalog.db",
                """
                WITH RECURSIVE d(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM d WHERE i < 30)
                INSERT OR REPLACE INTO store_growth(store, at, bytes, objects)
                SELECT s.number, (unixepoch() - i * 86400) * 1000000, (60 - i) * (3 + s.number) << 26, 100 FROM d, store s
                """)
        }

        private static func expectForms(_ browser: Chromium, _ fleet: Fleet, _ node: Node) async throws {
            let fleetPage = try browser.open(url(fleet, "/"))
            let path = try #require(
                fleetPage.html.firstMatch(of: #/href="(/databases/[0-9a-f]{32})"[^>]*aria-label="orders/#)
            ).output.1
            let page = try browser.open(url(fleet, String(path)))
            // Four of its snapshots, two of its drills.
            #expect(page.complaints == [] && page.html.components(separatedBy: "<svg").count == 7)
            #expect(page.html.contains("Time to restore (RTO)") && page.html.contains("Restore took"))
            for isDark in [false, true] {
                try browser.picture("page-database-\(isDark ? "dark" : "light")", isDark: isDark, isWhole: true)
            }
            let before = try await fleet.snapshots().count
            try SampleDatabase.grow(fleet.path("berlin-0.db"))
            let jobs = try browser.click("form[action='/actions/snapshot'] button")
            #expect(jobs.url == url(fleet, "/jobs") && jobs.complaints == [], "\(jobs.complaints)")
            try await eventually("the snapshot that the page asked for") {
                try await fleet.snapshots().count == before + 1
            }
        }
    }
}

/// Rows of a fleet that nobody could start in a test: written straight into the catalog of a coordinator that is down.
enum LargeFleet {
    static func fill(_ catalog: String, nodes: Int, databases: Int) throws {
        let now = Int64(Date().timeIntervalSince1970 * 1_000_000)
        try SampleDatabase.change(
            catalog, "BEGIN",
            """
            WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < \(nodes - 1))
            INSERT INTO node(id, name, scope, signing_key, key_object, state, joined_at, last_contact_at, reported_at,
                agent_version, clock_offset, keys_wanting)
            SELECT randomblob(16), printf('node-%05d', i), randomblob(16), zeroblob(32), '', 'active',
                \(now) - 90 * 86400000000, \(now), \(now), '0.1.0', 0, 0 FROM n
            """,
            """
            WITH RECURSIVE d(j) AS (SELECT 0 UNION ALL SELECT j + 1 FROM d WHERE j < \(databases - 1))
            INSERT INTO database(id, node, name, path, schedule, state, error_summary, error_hint, changed,
                interval_milliseconds, snapshot_count, stored_bytes, size_bytes, newest_snapshot, newest_received_at,
                newest_created_at, verified_at)
            SELECT randomblob(16), n.id, printf('app-%d', j), '/srv/app.db', 'every 5m',
                CASE WHEN (n.number * 7 + j) % 911 = 0 THEN 'failing' ELSE 'ok' END, '', '', 0, 300000, 30, 1 << 20,
                8 << 20, CASE WHEN (n.number + j) % 499 > 0 THEN randomblob(16) END, \(now) - (j + 1) * 1000000,
                \(now) - (j + 1) * 1000000,
                CASE WHEN (n.number * 13 + j * 7) % 97 > 3 THEN \(now) - n.number % 6 * 86400000000 END
            FROM node n CROSS JOIN d WHERE n.name LIKE 'node-%'
            """, "COMMIT")
    }
}
