import Foundation
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterTestSupport
import MusterTransfer
import SwiftProtobuf
import Synchronization
import Testing

@testable import MusterCoordinator

@Suite("The dashboard")
struct DashboardTests {
    static let pages = [
        "/", "/nodes", "/verifications", "/fleet-snapshots", "/stores", "/alarms", "/jobs", "/audit",
        "/audit?check=chain",
        "/?state=failing", "/?find=a&page=9",
    ]

    @Test func aLinkSignsInOnceAndTheCookieIsHeldTight() async throws {
        try await Rig.serve { server in
            let link: Muster_V1_DashboardLink = try await server.asAdmin.post(
                .admin, "/v1/dashboard", Muster_V1_DashboardLink())
            #expect(link.url.hasPrefix(server.url(.dashboard) + "/enter/"))
            // Whoever only looks where it leads, as previews do, neither uses it up nor gets anything.
            let path = try #require(URL(string: link.url)?.path)
            for _ in 0..<3 {
                let preview = try await Visitor(server).get(path)
                #expect(preview.status == 200 && preview.headers["set-cookie"] == nil)
            }
            let forged = try await Visitor(server).press(path, headers: ["sec-fetch-site": "cross-site"])
            #expect(forged.status == 403 && forged.pageCode == "forged")
            let visitor = Visitor(server)
            let answer = try await visitor.open(link.url)
            #expect(answer.status == 303 && answer.headers["location"] == "/")
            let cookie = try #require(answer.headers["set-cookie"])
            for part in ["__Host-muster=", "Path=/", "Secure", "HttpOnly", "SameSite=Strict", "Max-Age=43200"] {
                #expect(cookie.contains(part), "\(cookie)")
            }
            #expect(try await visitor.page("/").contains("<h1><bdi>Fleet</bdi></h1>"))
            let second = try await Visitor(server).open(link.url)
            #expect(second.status == 401 && second.pageCode == "link_refused")
            #expect(second.headers["set-cookie"] == nil)
            #expect(try await Visitor(server).press(path).pageCode == "link_refused")
            let records = try await server.service.coordinator.catalog.auditEntries(limit: 2)
            #expect(records.map(\.action) == ["sign-in", "dashboard"])
            #expect(!records.contains { $0.subject.contains(link.url.suffix(64)) })
        }
    }

    @Test func everyAnswerIsShutIn() async throws {
        try await Rig.serve { server in
            let visitor = Visitor(server)
            let stranger = try await visitor.get("/")
            #expect(stranger.status == 401)
            _ = try await visitor.signIn(as: server.asAdmin)
            for path in Self.pages + [
                "/none", "/nodes/none", "/assets/none", "/databases/0", "/snapshots/xx", "/fleet-snapshots/none",
            ] {
                let answer = try await visitor.get(path)
                let policy = answer.headers["content-security-policy"] ?? ""
                #expect(policy.hasPrefix("default-src 'none'; style-src 'self'; img-src 'self';"), "\(path)")
                #expect(answer.headers["referrer-policy"] == "no-referrer", "\(path)")
                #expect(answer.headers["x-content-type-options"] == "nosniff", "\(path)")
                #expect(answer.headers["cache-control"] == "no-store", "\(path)")
                #expect(answer.headers["content-type"] == "text/html; charset=utf-8", "\(path)")
                let text = String(decoding: answer.body, as: UTF8.self)
                #expect(!text.contains("<script") && !text.contains(" style=") && !text.contains(" onclick"), "\(path)")
            }
            for asset in PageAsset.all {
                let answer = try await Visitor(server).get(asset.path.description)
                #expect(answer.status == 200 && answer.headers["cache-control"]?.contains("immutable") == true)
            }
        }
    }

    @Test func hostileNamesAreShownAsTheyAre() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            let name = "\"><script>alert(1)</script>"
            try await Self.report(node, named: name, to: server)
            let visitor = Visitor(server)
            _ = try await visitor.signIn(as: server.asAdmin)
            for path in ["/", "/nodes/alpha", "/alarms", "/databases/\(node.database)", "/jobs", "/audit"] {
                let page = try await visitor.page(path)
                #expect(!page.contains("<script") && !page.contains("\"><script"), "\(path)")
            }
            let page = try await visitor.page("/databases/\(node.database)")
            #expect(page.contains("&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"))
            #expect(try await visitor.page("/?find=%22%3E%3Cscript%3E").contains("value=\"&quot;&gt;&lt;script&gt;\""))
        }
    }

    @Test func theFleetShowsEachDatabaseWithItsState() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            try await Self.report(node, named: "orders", to: server)
            let visitor = Visitor(server)
            _ = try await visitor.signIn(as: server.asAdmin)
            func cell() async throws -> String {
                let page = try await visitor.page("/")
                return String(try #require(page.firstMatch(of: #/aria-label="(?:orders|app): ([a-z]*),/#)).output.1)
            }
            #expect(try await cell() == "never")
            let snapshot = try node.makeSnapshot()
            #expect(try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            #expect(try await cell() == "unproven")
            try await Self.conclude(snapshot.id, .inspected([]), server)
            #expect(try await cell() == "proven")
            server.rig.clock.advance(by: .seconds(1))
            let failing = Failing(snapshot: "\(snapshot.id)", store: "main", object: "", reason: "broken")
            try await Self.conclude(snapshot.id, .inspected([failing]), server)
            #expect(try await cell() == "failing")
            #expect(try await visitor.page("/snapshots/\(snapshot.id)").contains("failed verify"))
            #expect(try await visitor.page("/databases/\(node.database)").contains("\(snapshot.id)"))
            #expect(try await visitor.page("/alarms").contains("damaged"))
        }
    }

    /// What was in a store that was given up counts for nothing, and what is wanted is said, as on the command line.
    @Test func aSnapshotShowsTheReplicasThatCount() async throws {
        let rig = try await Rig(stores: 3, placement: "replicas: 2")
        try await rig.serve { server in
            let node = try await server.makeNode()
            let snapshot = try node.makeSnapshot()
            #expect(try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            try await ReplicationTests.settle(server)
            let coordinator = server.service.coordinator
            let visitor = Visitor(server)
            _ = try await visitor.signIn(as: server.asAdmin)
            let pages = ["/snapshots/\(snapshot.id)", "/databases/\(node.database)"]
            for path in pages { #expect(try await visitor.page(path).contains("<span>2 of 2</span>"), "\(path)") }
            let given = coordinator.stores.keepers(of: node.id)[1].name
            let change = Muster_V1_StoreChangeRequest.with { $0.placement = "lost" }
            let _: Muster_V1_StoreList = try await server.asAdmin.post(.admin, "/v1/stores/\(given)", change)
            try await ReplicationTests.settle(server)
            for path in pages {
                let page = try await visitor.page(path)
                #expect(page.contains("<span>2 of 2</span>"), "\(path)")
                #expect(!page.contains("<span>\(given)</span>") && !page.contains("<bdi>\(given)</bdi>"), "\(path)")
            }
            #expect(try await visitor.page(pages[0]).contains(">Packs</th>"))
        }
    }

    @Test func aNodeThatIsSilentMakesItsDatabasesStale() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            try await Self.report(node, named: "orders", to: server)
            let visitor = Visitor(server)
            server.rig.clock.advance(by: .seconds(3000))
            _ = try await visitor.signIn(as: server.asAdmin)
            #expect(try await visitor.page("/").contains("orders: stale"))
            #expect(try await visitor.page("/nodes").contains("silent"))
        }
    }

    @Test func aRunThatGoesOnIsAskedForAgain() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            try await Self.report(node, named: "orders", to: server)
            let snapshot = try node.makeSnapshot()
            #expect(try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            let visitor = Visitor(server)
            _ = try await visitor.signIn(as: server.asAdmin)
            let run = try await Self.begin(snapshot.id, server)
            for path in ["/", "/verifications", "/verifications/\(run)"] {
                let page = try await visitor.page(path)
                #expect(page.contains("http-equiv=\"refresh\"") && page.contains("<progress"), "\(path)")
                #expect(page.contains("url=\(path)?by-itself=1\""), "\(path)")
            }
            try await server.service.coordinator.catalog.conclude(
                snapshot.id, in: run, .inspected([]), now: server.rig.clock.now())
            let page = try await visitor.page("/verifications/\(run)")
            #expect(!page.contains("http-equiv=\"refresh\"") && page.contains("all passed"))
        }
    }

    @Test func aPageThatAsksForItselfKeepsNobodySignedIn() async throws {
        try await Rig.serve { server in
            let visitor = Visitor(server)
            _ = try await visitor.signIn(as: server.asAdmin)
            for minutes in stride(from: 10, through: 60, by: 10) {
                server.rig.clock.advance(by: .seconds(600))
                let answer = try await visitor.get("/verifications?by-itself=1")
                #expect((answer.status == 200) == (minutes < 60), "after \(minutes) minutes")
            }
        }
    }

    @Test func aGlanceThatTookASecondIsShownForTenUnlessSomebodyChangesSomething() async throws {
        try await Rig.serve { server in
            let (coordinator, clock) = (server.service.coordinator, server.rig.clock)
            let (book, made) = (GlanceBook(), Tally())
            func looks(changing: Bool = false) async throws -> Int {
                _ = try await book.glance(clock) {
                    made.count.withLock { $0 += 1 }
                    let glance = try await coordinator.makeGlance()
                    clock.advance(by: .seconds(1))
                    if changing { await book.forget() }
                    return glance
                }
                return made.count.withLock { $0 }
            }
            var seen = [try await looks(), try await looks()]
            clock.advance(by: .seconds(9))
            seen.append(try await looks())
            clock.advance(by: .seconds(1))
            seen.append(try await looks())
            await book.forget()
            seen.append(try await looks(changing: true))
            // The last one was made of what was there before the change.
            seen += [try await looks(), try await looks()]
            #expect(seen == [1, 1, 1, 2, 3, 4, 4])
        }
    }

    @Test func aChangeByAPersonIsSeenAtOnce() async throws {
        try await Rig.serve { server in
            let (coordinator, visitor) = (server.service.coordinator, Visitor(server))
            _ = try await server.makeNode()
            _ = try await visitor.signIn(as: server.asAdmin)
            let old = try await coordinator.makeGlance()
            // Kept as if it had taken long to make.
            server.rig.clock.advance(by: .seconds(1))
            _ = try await coordinator.glances.glance(server.rig.clock) { old }
            #expect(try await visitor.page("/").contains("1 node,"))
            let answer = try await server.asAdmin.send(.admin, .post, "/v1/nodes/alpha/retire", [])
            #expect(answer.status == 200)
            #expect(try await visitor.page("/").contains("0 nodes,"))
        }
    }

    @Test func aFleetSnapshotSaysWhatIsNotInIt() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            try await Self.report(node, named: "orders", to: server)
            var request = Muster_V1_FleetSnapshotRequest()
            request.name = "release-1"
            let _: Muster_V1_FleetSnapshot = try await server.asAdmin.post(.admin, "/v1/fleet-snapshots", request)
            let visitor = Visitor(server)
            _ = try await visitor.signIn(as: server.asAdmin)
            #expect(try await visitor.page("/fleet-snapshots").contains("href=\"/fleet-snapshots/release-1\""))
            let page = try await visitor.page("/fleet-snapshots/release-1")
            #expect(page.contains("0 of 1 database so far.") && page.contains("it may still come"))
            #expect(page.contains("url=/fleet-snapshots/release-1?by-itself=1"))
            server.rig.clock.advance(by: .seconds(301))
            try await server.service.coordinator.closeFleetWindows()
            let ended = try await visitor.page("/fleet-snapshots/release-1")
            #expect(ended.contains("0 of 1 database.") && ended.contains("did not take it up"))
            #expect(!ended.contains("http-equiv=\"refresh\""))
            #expect(try await visitor.get("/fleet-snapshots/other").status == 404)
        }
    }

    @Test func aRunShowsWhatEachNodeDid() async throws {
        try await Rig.serve { server in
            let node = try await server.makeNode()
            try await Self.report(node, named: "orders", to: server)
            let snapshot = try node.makeSnapshot()
            #expect(try await server.peer(node).commit(snapshot.manifest, packs: [snapshot.pack.bytes]).status == 200)
            let visitor = Visitor(server)
            _ = try await visitor.signIn(as: server.asAdmin)
            let answer = try await visitor.send(
                "/actions/verify", ["form_token": try await visitor.formToken(), "level": "drill"])
            let place = try #require(answer.headers["location"])
            let catalog = server.service.coordinator.catalog
            let run = try #require(RunID(String(place.split(separator: "/")[1])))
            // The server's own service fills it too, whoever is first.
            for _ in 0..<1000 where try await catalog.verification(run)?.isFilling == true {
                try await server.service.coordinator.fillVerifications()
            }
            let page = try await visitor.page(place)
            #expect(page.contains("What each node did of it") && page.contains("Progress of alpha"))
            let known = try await catalog.verification(run)
            #expect(known?.scope == VerificationScope.fleet, "the whole fleet, not a list of snapshots")
        }
    }

    // MARK: - What the tests share

    static func report(_ node: TestNode, named name: String, to server: Server) async throws {
        var report = Muster_V1_ReportRequest()
        (report.agentVersion, report.clock) = ("test", server.rig.clock.now().description)
        var database = Muster_V1_DatabaseReport()
        (database.databaseID, database.name, database.path) = (node.database.description, name, "/srv/<b>.db")
        (database.schedule, database.state) = ("every 5m", "ok")
        report.databases = [database]
        let _: Muster_V1_ReportResponse = try await server.peer(node).post(.agent, "/v1/report", report)
    }

    /// A run of one snapshot that a node would work on.
    static func begin(_ snapshot: SnapshotID, _ server: Server) async throws -> RunID {
        let run = RunID(from: .system)
        let now = server.rig.clock.now()
        try await server.service.coordinator.catalog.begin(
            run, level: .verify, snapshots: [snapshot], jobs: [], now: now)
        return run
    }

    static func conclude(_ snapshot: SnapshotID, _ outcome: Catalog.ItemOutcome, _ server: Server) async throws {
        let run = try await begin(snapshot, server)
        try await server.service.coordinator.catalog.conclude(
            snapshot, in: run, outcome, now: server.rig.clock.now())
    }
}

/// How often something was done.
private final class Tally: Sendable {
    let count = Mutex(0)
}
