import Foundation
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Looks at the whole fleet")
struct SurveyTests {
    /// Three nodes of two names, with 7, 0 and 5 databases of four names.
    private static func fill(_ fixture: Fixture) async throws -> [Catalog.Node] {
        var nodes: [Catalog.Node] = []
        for (name, count) in [("beta", 7), ("alpha", 0), ("beta", 5)] {
            let node = try await fixture.makeNode(name)
            nodes.append(node)
            for index in 0..<count {
                let id = DatabaseID(from: fixture.random)
                try await fixture.catalog.write { database in
                    _ = try Catalog.claim(id, named: "db\(index % 4)", by: node.id, in: database)
                }
            }
            if nodes.count == 1 { _ = try await fixture.catalog.retire(node.id, at: fixture.clock.now()) }
        }
        return nodes
    }

    @Test(arguments: 1...13)
    func pagesOfDatabasesHaveNoGapsAndNoDoubles(limit: Int) async throws {
        let fixture = try await Fixture()
        let nodes = try await Self.fill(fixture)
        for node in [nil, nodes[0].id, nodes[1].id, nodes[2].id] {
            var (paged, after): ([Catalog.Database], DatabaseID?) = ([], nil)
            for _ in 0..<20 {
                let page = try await fixture.catalog.databases(of: node, after: after, limit: limit)
                #expect(page.count <= limit)
                paged += page
                guard let last = page.last else { break }
                after = last.id
            }
            let all = try await fixture.catalog.databases(of: node)
            #expect(Set(paged.map(\.id)) == Set(all.map(\.id)) && paged.count == all.count)
            #expect(paged.map(\.nodeName) == paged.map(\.nodeName).sorted())
            #expect(paged.count < 12 || paged.prefix(7).allSatisfy { $0.node == nodes[0].id }, "a node stays together")
        }
    }

    @Test(arguments: 1...4)
    func pagesOfNodesHaveNoGapsAndNoDoubles(limit: Int) async throws {
        let fixture = try await Fixture()
        let nodes = try await Self.fill(fixture)
        var (paged, after): ([Catalog.Node], NodeID?) = ([], nil)
        for _ in 0..<5 {
            paged += try await fixture.catalog.nodes(after: after, limit: limit)
            after = paged.last?.id
        }
        #expect(paged.map(\.id) == [nodes[1], nodes[0], nodes[2]].map(\.id))
        #expect(paged.map(\.databaseCount) == [0, 7, 5])
        #expect(try await fixture.catalog.nodes(after: NodeID(from: fixture.random), limit: 9).isEmpty)
    }

    private static func patience(_ fixture: Fixture) -> Catalog.Patience {
        Catalog.Patience(now: fixture.clock.now(), tolerance: .seconds(60), objective: nil, intervals: 3)
    }

    @Test func groupsAddUpToAllDatabases() async throws {
        let fixture = try await Fixture()
        _ = try await Self.fill(fixture)
        let all = try await fixture.catalog.survey(provenSince: fixture.clock.now(), Self.patience(fixture))
        #expect(all.reduce(0) { $0 + $1.count } == 12)
        let some = try await fixture.catalog.survey(
            provenSince: fixture.clock.now(), Self.patience(fixture), words: "DB3")
        #expect(some.reduce(0) { $0 + $1.count } == 2)
        let named = try await fixture.catalog.survey(
            provenSince: fixture.clock.now(), Self.patience(fixture), words: "BET")
        #expect(named.reduce(0) { $0 + $1.count } == 12)
    }

    @Test func cellsAreFewOfEachNode() async throws {
        let fixture = try await Fixture()
        let nodes = try await Self.fill(fixture)
        var query = Catalog.CellQuery(
            nodes: nodes.map(\.id), provenSince: fixture.clock.now(), patience: Self.patience(fixture), limit: 3)
        let cells = try await fixture.catalog.cells(query)
        #expect(cells.mapValues(\.count) == [nodes[2].id: 3], "a retired node protects none")
        #expect(cells[nodes[2].id]?.map(\.name) == ["db0", "db0", "db1"])
        (query.words, query.limit) = ("db2", 9)
        #expect(try await fixture.catalog.cells(query).mapValues(\.count) == [nodes[2].id: 1])
        query.state = .never
        #expect(try await fixture.catalog.cells(query).count == 1)
        query.state = .proven
        #expect(try await fixture.catalog.cells(query).isEmpty)
    }

    @Test(
        "a search folds the letters that SQLite folds",
        arguments: [
            ("Orders", "ORD", true), ("Orders", "x", false), ("", "", true), ("a", "", true), ("ÄRGER", "ä", false),
            ("Ärger", "ÄR", true), ("[x@`{", "@`", true),
        ])
    func aSearchFoldsAsSQLiteDoes(name: String, words: String, isFound: Bool) async throws {
        #expect(NameSearch(words).finds(name) == isFound)
        let fixture = try await Fixture()
        let node = try await fixture.makeNode("0")
        let id = DatabaseID(from: fixture.random)
        try await fixture.catalog.write { _ = try Catalog.claim(id, named: name, by: node.id, in: $0) }
        let found = try await fixture.catalog.survey(
            provenSince: fixture.clock.now(), Self.patience(fixture), words: words)
        #expect(found.isEmpty == !isFound)
    }

    /// One node has a thousand alarms, another has one: both are found, and all are counted.
    @Test func noNodeCrowdsOutTheAlarmsOfOthers() async throws {
        let fixture = try await Fixture()
        let (loud, quiet) = (try await fixture.makeNode("loud"), try await fixture.makeNode("quiet"))
        let now = fixture.clock.now()
        let random = fixture.random
        try await fixture.catalog.write { database in
            for index in 0..<1000 {
                let node = index == 3 ? quiet.id : loud.id
                try Catalog.raise(
                    Catalog.Alarm(
                        kind: .flood, node: node, database: DatabaseID(from: random), summary: "no \(index)",
                        hint: "", since: now), in: database)
            }
        }
        let listed = try await fixture.catalog.alarms(now: now)
        #expect(listed.count { $0.node == loud.id } == Catalog.alarmsOfANode)
        #expect(listed.filter { $0.node == quiet.id }.map(\.summary) == ["no 3"])
        let shares = try await fixture.catalog.alarmShares(now: now)
        #expect(Set(shares.map(\.count)) == [999, 1] && shares.allSatisfy { $0.kind == .flood })
        // What webhooks were told of stands as long as it does, be it among those that are read or not.
        let database = try #require(listed.last?.database)
        let keys = ["flood/\(database)", "flood/\(DatabaseID(from: random))", "flood/", "flood/more"]
        let told = keys.map { key in
            Catalog.StandingAlarm(key: key, kind: .flood, severity: .critical, summary: "", hint: "", since: now)
        }
        try await fixture.catalog.follow(told, now: now, damping: .zero) { _, _ in [] }
        #expect(try await fixture.catalog.toldAlarms(now: now) == [keys[0]])
        #expect(try await fixture.catalog.clearAlarms(.flood, of: database, now: now) == 1)
        #expect(try await fixture.catalog.toldAlarms(now: now).isEmpty)
    }
}
