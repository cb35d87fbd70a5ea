import Foundation
import HTTPTypes
import MusterAPI
import MusterCatalog
import MusterModel
import MusterSQLite
import MusterTestSupport
import MusterTransfer
import Testing

@testable import MusterCoordinator

@Suite("The audit")
struct AuditTests {
    private static func list(_ server: Server, _ query: String = "") async throws -> Muster_V1_AuditList {
        try await server.asAdmin.get(.admin, "/v1/audit\(query)")
    }

    /// What is not a change by a person needs no row, and says so here by hand.
    @Test func everyRouteThatChangesAnythingIsAudited() {
        let changesNothing: Set<Route> = [.previewRetention]
        for rule in RouteRule.all where rule.plane == .admin {
            let isChange = rule.method != .get && !changesNothing.contains(rule.route)
            #expect(rule.isAudited == isChange, "\(rule.method) \(rule.path)")
        }
        let agent = RouteRule.all.filter { $0.plane == .agent && $0.isAudited }.map(\.route)
        #expect(Set(agent) == [.join, .renew])
    }

    /// The store's probe writes its row itself; the estimate of gc does not, and gets one with its route's name.
    @Test func aRouteThatForgetsItsRowGetsOne() async throws {
        try await Rig.serve { server in
            var request = Muster_V1_CollectionRunRequest()
            request.dryRun = true
            #expect(try await server.asAdmin.tryPost(.admin, "/v1/gc", request).status == 200)
            _ = try await server.invite("alpha")
            let actions = try await Self.list(server, "?limit=2").entries.map(\.action)
            #expect(actions == ["invite", "runCollection"])
        }
    }

    @Test func rowsAreListedByTimeActorAndPage() async throws {
        try await Rig.serve { server in
            let begin = server.rig.clock.now()
            server.rig.clock.advance(by: .seconds(10))
            for number in 0..<5 {
                _ = try await server.invite("node\(number)")
                server.rig.clock.advance(by: .seconds(10))
            }
            let all = try await Self.list(server)
            #expect(all.entries.map(\.number) == [6, 5, 4, 3, 2, 1] && all.next == 0)
            let page = try await Self.list(server, "?limit=2")
            #expect(page.entries.map(\.number) == [6, 5] && page.next == 5)
            #expect(try await Self.list(server, "?limit=2&before=\(page.next)").entries.map(\.number) == [4, 3])
            let since = (begin + .seconds(35)).description
            #expect(try await Self.list(server, "?since=\(since)").entries.map(\.number) == [6, 5])
            let late = (begin + .seconds(3600)).description
            #expect(try await Self.list(server, "?since=\(late)").entries.isEmpty)
            #expect(try await Self.list(server, "?actor=init").entries.map(\.action) == ["init"])
            #expect(try await server.asAdmin.send(.admin, .get, "/v1/audit?since=monday").status == 400)
            let check: Muster_V1_AuditCheck = try await server.asAdmin.get(.admin, "/v1/audit/check?row=4")
            #expect(check.rows == 6 && check.firstBroken == 0 && check.headHash == all.entries[0].hash)
            #expect(check.rowHash == all.entries[2].hash)
        }
    }

    /// Drills that are switched off with an editor are a change too; a start that changes nothing is none.
    @Test func aChangeOfTheSettingsFileIsARow() async throws {
        let rig = try await Rig()
        func rows() async throws -> [String] {
            try await rig.serve { server in
                try await Self.list(server, "?actor=settings%20file").entries.map(\.subject)
            }
        }
        #expect(try await rows() == [])
        let text = try String(contentsOfFile: rig.place.settings, encoding: .utf8)
        try PrivateFile.write(
            text.replacing("drill_every: never", with: "drill_every: 9d") + "retention_every: 2h\n",
            to: rig.place.settings)
        #expect(try await rows() == ["changed: retention_every, verification"])
        #expect(try await rows().count == 1)
        try PrivateFile.write(text + "# a remark\n", to: rig.place.settings)
        #expect(try await rows().first == "changed: retention_every, verification")
        #expect(try await rows().count == 2)
    }

    @Test func deniedRequestsAreSummedUpAndBounded() async throws {
        try await Rig.serve { server in
            let coordinator = server.service.coordinator
            let node = try await server.makeNode()
            for _ in 0..<7 {
                #expect(try await server.asAnonymous.send(.agent, .get, "/v1/snapshots").status == 401)
                #expect(try await server.peer(node).send(.admin, .get, "/v1/status").status == 403)
            }
            try await coordinator.writeDenials(isLast: true)
            let rows = try await Self.list(server).entries.filter { $0.action == "denied" }
            // Sums are written from time to time, and so by more than one row where the machine is slow.
            var counts: [String: Int] = [:]
            for row in rows {
                let parts = row.subject.split(separator: " × ", maxSplits: 1)
                counts["\(row.actor): \(parts[1])", default: 0] += try #require(Int(parts[0]))
            }
            #expect(
                counts == [
                    "anonymous at 127.0.0.1: GET /v1/snapshots: unauthenticated": 7,
                    "node alpha at 127.0.0.1: GET /v1/status: forbidden": 7,
                ])
            let metrics = try await server.asAdmin.send(.admin, .get, "/metrics", headers: [:])
            let text = String(decoding: metrics.body, as: UTF8.self)
            #expect(text.contains("muster_denied_total{reason=\"forbidden\"} 7\n"))
        }
    }

    /// Whatever there is no row for is counted, and a crowd without certificates hides nobody who has one.
    @Test func nothingThatIsDeniedVanishesFromTheSums() throws {
        let (book, begin) = (DenialBook(), Timestamp(microseconds: 1_800_000_000_000_000))
        for number in 0..<55 {
            for _ in 0...number % 3 {
                book.note(.init(actor: "anonymous at \(number)", what: "GET /", party: .strangers), at: begin)
            }
        }
        for _ in 0..<3 { book.note(.init(actor: "node alpha at 1", what: "GET /v1/status: forbidden"), at: begin) }
        let rows = try #require(book.take(at: begin)).rows
        #expect(rows.map(\.count).reduce(0, +) == 112)
        #expect(rows.count == DenialBook.mostKinds + 2)
        #expect(rows.first?.kind.actor == "node alpha at 1" && rows.first?.count == 3)
        let rest = try #require(rows.last)
        #expect(rest.kind == .init(actor: "several strangers", what: "requests of other kinds: 35", party: .strangers))
        #expect(rest.count == 70)
        #expect(book.take(at: begin + .seconds(3600)) == nil, "each is told once")
        for number in 0..<5000 {
            book.note(.init(actor: "anonymous at \(number)", what: "GET /", party: .strangers), at: begin)
        }
        let many = try #require(book.take(at: begin + .seconds(9000))?.rows.last)
        #expect(many.kind.what == "requests of other kinds: more than 1000" && many.count == 4980)
    }

    /// The sums that could not be written go with the next ones, and are bounded as ever.
    @Test func whatCouldNotBeWrittenIsToldLater() throws {
        let (book, begin) = (DenialBook(), Timestamp(microseconds: 1_800_000_000_000_000))
        func note(_ count: Int) {
            for number in 0..<count {
                book.note(.init(actor: "anonymous at \(number)", what: "GET /", party: .strangers), at: begin)
            }
            book.note(.init(actor: "node alpha at 1", what: "GET /v1/status: forbidden"), at: begin)
        }
        note(30)
        let taking = try #require(book.take(at: begin))
        note(40)
        book.putBack(taking)
        let rows = try #require(book.take(at: begin + .seconds(3600))).rows
        #expect(rows.map(\.count).reduce(0, +) == 72 && rows.count == DenialBook.mostKinds + 2)
        #expect(rows.first?.kind.actor == "node alpha at 1" && rows.first?.count == 2)
        #expect(rows.last?.kind.what == "requests of other kinds: 20")
    }

    @Test func denialsThatTheCatalogDoesNotTakeAreKept() async throws {
        let rig = try await Rig()
        try await rig.serve { server in
            let coordinator = server.service.coordinator
            func change(_ sql: String) throws {
                try SQLiteConnection(path: rig.place.catalog, access: .readWrite).execute(sql)
            }
            func denied() async throws -> [String] {
                try await coordinator.catalog.auditEntries(limit: 100).filter { $0.action == "denied" }.map(\.actor)
            }
            try change(
                """
                CREATE TRIGGER bad_disk BEFORE INSERT ON audit WHEN new.actor LIKE 'second%' BEGIN
                    SELECT RAISE(ABORT, 'as if the disk were bad'); END
                """)
            for actor in ["first", "second"] {
                coordinator.denials.note(.init(actor: actor, what: "GET /"), at: rig.clock.now())
            }
            await #expect(throws: CatalogError.self) { try await coordinator.writeDenials(isLast: true) }
            #expect(try await denied().isEmpty, "all or none")
            try change("DROP TRIGGER bad_disk")
            try await coordinator.writeDenials(isLast: true)
            #expect(try await Set(denied()) == ["first", "second"])
        }
    }

    @Test func anAttackDoesNotGrowTheAudit() {
        let (book, begin) = (DenialBook(), Timestamp(microseconds: 1_800_000_000_000_000))
        var rows = 0
        for second in 0..<86_400 {
            let now = begin + .seconds(Int64(second))
            for caller in 0..<3 { book.note(.init(actor: "\(second % 5000) \(caller)", what: "GET /"), at: now) }
            rows += book.take(at: now)?.rows.count ?? 0
        }
        #expect(rows > 0 && rows < 700, "\(rows) rows in a day of 3 kinds a second")
        #expect(book.many(at: begin + .seconds(86_400)) != nil)
        #expect(book.many(at: begin + .seconds(90_000)) == nil)
        let late = book.take(at: begin + .seconds(100_000))?.rows ?? []
        #expect(late.count <= DenialBook.mostKinds + 1)
    }
}
