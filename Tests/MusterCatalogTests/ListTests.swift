import Foundation
import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Lists of snapshots")
struct ListTests {
    /// Six snapshots, a minute apart: alpha's app and web by turns, then beta's app.
    private func fill(_ fixture: Fixture) async throws -> (ids: [SnapshotID], databases: [DatabaseID], alpha: NodeID) {
        let (alpha, beta) = (try await fixture.makeNode("alpha"), try await fixture.makeNode("beta"))
        var heads: [String: Catalog.Commit] = [:]
        var ids: [SnapshotID] = []
        for (index, name) in ["app", "web", "app", "web", "beta", "beta"].enumerated() {
            fixture.clock.advance(by: .seconds(60))
            var commit = try fixture.commit(
                name == "beta" ? beta : alpha, after: heads[name], name: name == "beta" ? "app" : name)
            commit.labels = index < 3 ? ["env": "prod"] : ["env": "test", "n": "\(index)"]
            #expect(try await fixture.catalog.commit(commit) == .committed)
            heads[name] = commit
            ids.append(commit.snapshot)
        }
        return (ids, ["app", "web", "beta"].compactMap { heads[$0]?.database }, alpha.id)
    }

    @Test func goByReceiptNewestFirstAndPageWithoutGaps() async throws {
        let fixture = try await Fixture()
        let ids = try await fill(fixture).ids
        #expect(try await fixture.page() == ids.reversed())
        var paged: [SnapshotID] = []
        while paged.count < 10 {
            let page = try await fixture.page {
                $0.limit = 4
                $0.after = paged.last
            }
            if page.isEmpty { break }
            paged += page
        }
        #expect(paged == ids.reversed())
    }

    @Test func areNarrowedByEveryFilter() async throws {
        let fixture = try await Fixture()
        let (ids, databases, alpha) = try await fill(fixture)
        #expect(try await fixture.page { $0.node = alpha } == [3, 2, 1, 0].map { ids[$0] })
        #expect(try await fixture.page { $0.databases = [databases[1]] } == [3, 1].map { ids[$0] })
        #expect(
            try await fixture.page { $0.databases = [databases[0], databases[2]] } == [5, 4, 2, 0].map { ids[$0] })
        #expect(try await fixture.page { $0.label = ("env", "prod") } == [2, 1, 0].map { ids[$0] })
        let start = Timestamp(microseconds: fixture.clock.now().microseconds) - .seconds(300)
        #expect(
            try await fixture.page {
                $0.since = start + .seconds(60)
                $0.until = start + .seconds(180)
            } == [3, 2, 1].map { ids[$0] })
    }

    @Test func findByPrefix() async throws {
        let fixture = try await Fixture()
        let ids = try await fill(fixture).ids
        let text = ids[2].description
        for length in [6, 7, 31, 32] {
            let found = try await fixture.catalog.snapshots(
                withPrefix: String(text.prefix(length)), of: nil, limit: 2)
            #expect(found.map(\.id) == [ids[2]])
        }
        let stranger = NodeID(from: fixture.random)
        #expect(try await fixture.catalog.snapshots(withPrefix: text, of: stranger, limit: 2).isEmpty)
        #expect(try await fixture.catalog.snapshots(withPrefix: "xyz123", of: nil, limit: 2).isEmpty)
    }

    @Test func aPointInTimeIsOneStepOfAnIndex() async throws {
        let step = "SEARCH s USING INDEX snapshot_by_database_moment (database=? AND expired_at=? AND moment<?)"
        for plan in try await Fixture().plans(of: Catalog.momentQuery) {
            #expect(plan.first == step, "\(plan)")
            #expect(plan.allSatisfy { $0.hasPrefix("SEARCH") }, "\(plan)")
        }
    }

    /// Each filter must be a search of its own index, in the order of the list: a scan or a sort grows with the fleet.
    @Test func areIndexSearches() async throws {
        let fixture = try await Fixture()
        let (ids, databases, alpha) = try await fill(fixture)
        let queries: [(step: String, query: Catalog.SnapshotQuery)] = [
            ("SEARCH s USING INDEX snapshot_by_receipt (expired_at=?", query { _ in }),
            (
                "SEARCH s USING INDEX snapshot_by_receipt (expired_at=? AND received_at>?",
                query { $0.since = fixture.clock.now() }
            ),
            ("SEARCH s USING INDEX snapshot_by_receipt (expired_at=? AND received_at<?", query { $0.after = ids[3] }),
            ("SEARCH s USING INDEX snapshot_by_node_receipt (node=? AND expired_at=?", query { $0.node = alpha }),
            (
                "SEARCH s USING INDEX snapshot_by_database_receipt (database=? AND expired_at=?",
                query { $0.databases = [databases[0]] }
            ),
            (
                "SEARCH s USING INDEX snapshot_by_database_receipt (database=? AND expired_at=? AND received_at>?",
                query {
                    ($0.databases, $0.node) = ([databases[0]], alpha)
                    $0.since = fixture.clock.now()
                }
            ),
            ("SCAN s USING INDEX snapshot_expired", query { $0.isExpired = true }),
            (
                "SEARCH s USING INDEX snapshot_expired_by_node (node=?",
                query { ($0.isExpired, $0.node) = (true, alpha) }
            ),
            (
                "SEARCH s USING INDEX snapshot_expired_by_database (database=?",
                query { ($0.isExpired, $0.databases) = (true, [databases[0]]) }
            ),
        ]
        for (step, query) in queries {
            for plan in try await plans(of: query, fixture) {
                #expect(plan.first?.hasPrefix(step) == true, "\(step): \(plan)")
                let rest = plan.dropFirst()
                #expect(rest.allSatisfy { !$0.hasPrefix("SCAN") && !$0.contains("TEMP B-TREE") }, "\(plan)")
            }
        }
    }

    /// No index has the order: then the search for the page reads nothing but an index, and only its rows are fetched.
    @Test func fetchNoMoreRowsThanTheyShow() async throws {
        let fixture = try await Fixture()
        let (_, databases, alpha) = try await fill(fixture)
        let label = (key: "env", value: "prod")
        let queries: [(step: String, mostSorted: Int, query: Catalog.SnapshotQuery)] = [
            (
                "SEARCH s USING COVERING INDEX snapshot_by_database_receipt (database=? AND expired_at=?", 9,
                query { $0.databases = databases }
            ),
            (
                "SEARCH s USING INDEX snapshot_expired_by_database (database=?)", 9,
                query { ($0.databases, $0.isExpired) = (databases, true) }
            ),
            ("SEARCH l USING PRIMARY KEY (key=? AND value=?)", 9, query { $0.label = label }),
            (
                "SEARCH l USING PRIMARY KEY (key=? AND value=?)", 9,
                query { ($0.label, $0.databases, $0.node) = (label, databases, alpha) }
            ),
            ("SEARCH s USING COVERING INDEX snapshot_by_receipt (expired_at=?)", 1, query { $0.label = label }),
            (
                "SEARCH s USING COVERING INDEX snapshot_by_database_receipt (database=? AND expired_at=?", 1,
                query { ($0.label, $0.databases) = (label, [databases[0]]) }
            ),
        ]
        for (step, mostSorted, query) in queries {
            for plan in try await plans(of: query, mostSorted: mostSorted, fixture) {
                #expect(plan.dropFirst().first?.hasPrefix(step) == true, "\(step): \(plan)")
                #expect(plan.contains("SEARCH s USING INTEGER PRIMARY KEY (rowid=?)"), "\(plan)")
                #expect(plan.count { $0.hasPrefix("SCAN") } == 1, "of the page: \(plan)")
            }
        }
    }

    /// In the order of the list the whole fleet would be gone over for the few that need it.
    @Test func whatNeedsAPackIsFoundByItsReferences() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.makeNode()
        let packs = [try await fixture.makePack(node), try await fixture.makePack(node)]
        var commits = [try fixture.commit(node, packs: [packs[0]])]
        commits.append(try fixture.commit(node, after: commits[0], packs: packs))
        commits.append(try fixture.commit(node, after: commits[1], packs: [packs[1]]))
        commits[1].labels = ["env": "prod"]
        for commit in commits { #expect(try await fixture.catalog.commit(commit) == .committed) }
        let ids = commits.map(\.snapshot)
        #expect(try await fixture.page { $0.pack = packs[0] } == [ids[1], ids[0]])
        #expect(try await fixture.page { ($0.pack, $0.after) = (packs[1], ids[2]) } == [ids[1]])
        #expect(try await fixture.page { ($0.pack, $0.label) = (packs[0], ("env", "prod")) } == [ids[1]])
        #expect(try await fixture.page { ($0.pack, $0.databases) = (packs[0], [commits[0].database]) }.count == 2)
        let other: PackID = try fixture.digest()
        #expect(try await fixture.page { $0.pack = other } == [])
        for plan in try await plans(of: query { $0.pack = packs[0] }, fixture) {
            #expect(plan.contains { $0.hasPrefix("SEARCH f USING INDEX pack_reference_by_pack") }, "\(plan)")
            #expect(!plan.contains { $0.contains("snapshot_by_receipt") }, "\(plan)")
            #expect(plan.count { $0.hasPrefix("SCAN") } <= 2, "of the page, and of what needs the pack: \(plan)")
        }
    }

    @Test("and show the same", arguments: [1, 9])
    func showTheSame(mostSorted: Int) async throws {
        let fixture = try await Fixture()
        let (ids, databases, _) = try await fill(fixture)
        let filters: [(Catalog.SnapshotQuery, [Int])] = [
            (query { $0.label = ("env", "prod") }, [2, 1, 0]), (query { $0.label = ("env", "none") }, []),
            (query { ($0.label, $0.limit) = (("env", "test"), 2) }, [5, 4]),
            (query { ($0.label, $0.databases) = (("env", "prod"), [databases[0], databases[2]]) }, [2, 0]),
            (query { ($0.databases, $0.limit, $0.after) = ([databases[0], databases[2]], 2, ids[5]) }, [4, 2]),
        ]
        for (query, wanted) in filters {
            let found = try await fixture.catalog.pool.read { database in
                let (sql, arguments) = try Catalog.listStatement(query, mostSorted: mostSorted, in: database)
                return try Row.fetchAll(database, sql: sql, arguments: arguments).map {
                    try $0.identifier("id") as SnapshotID
                }
            }
            #expect(found == wanted.map { ids[$0] })
        }
    }

    private func plans(
        of query: Catalog.SnapshotQuery, mostSorted: Int = Catalog.mostSorted, _ fixture: Fixture
    ) async throws -> [[String]] {
        try await fixture.plans { database in
            let (sql, arguments) = try Catalog.listStatement(query, mostSorted: mostSorted, in: database)
            return (sql, arguments)
        }
    }

    @Test(arguments: [
        Catalog.chunkQuery, Catalog.needingQuery, Catalog.openSnapshotJobs, Catalog.oldJobs,
        Catalog.runningInspections, Catalog.queuedInspections, Catalog.nodeToInspect, Catalog.verificationList,
        Catalog.recentRuns, Catalog.oldClosedJobs, Catalog.oldRuns,
        Catalog.findingQuery, Catalog.drillQuery, Catalog.nodesInRun, Catalog.itemsInRun, Catalog.inspectableQuery,
        Catalog.everInspectableQuery, Catalog.itemPage,
        Catalog.damagedQuery, Catalog.waitingQuery, Catalog.momentQuery, CommitCheck.receiptQuery,
        CommitCheck.wantingQuery,
        CommitCheck.newcomersQuery, Catalog.standingFailureQuery, Catalog.lostQuery, Catalog.standingQuery,
        Catalog.overduePacksQuery, Catalog.overdueManifestsQuery, Catalog.overdueKeysQuery, Catalog.oldestHashQuery,
        Catalog.dueQuery, Catalog.failingRepairsQuery, Catalog.freedStatement,
        Catalog.isOutdatedQuery, Catalog.scrubbableQuery, Catalog.manifestReplicaQuery, Catalog.badOfFewQuery,
        Catalog.fewBadQuery,
        Catalog.openGrantsQuery, Catalog.grantQuery, Catalog.dueGrantsQuery, Catalog.grantedCopyQuery,
        Catalog.openRestoreQuery, Catalog.waitingRestores, Catalog.restoreAtWork, Catalog.openOntoQuery,
        Catalog.expiredRestores, Catalog.runRestores, Catalog.restoresOfEither, Catalog.openRestoresOfEither,
        Catalog.refusedQuery, Catalog.unpinOrder,
        Catalog.oldRestores, Catalog.grantedPackQuery,
        Catalog.historyQuery, Catalog.receiptsQuery, Catalog.verdictsQuery, Catalog.runsQuery, Catalog.runningQuery,
        Catalog.isConcernedQuery(.failing), Catalog.isConcernedQuery(.uninspected(.drill, since: zero)),
        Catalog.isConcernedQuery(.stuck(anyPatience)),
        Catalog.oldestWantQuery, Catalog.copyDebtQuery, Catalog.suspectCountQuery, Catalog.nextWaitingQuery,
    ])
    func andTheOtherOftenAskedQuestionsAreToo(sql: String) async throws {
        // These indexes hold what is wrong, and nothing else; a part of a question is gone over after it was searched for.
        let few = [
            "INDEX snapshot_damaged", "INDEX pack_lost", "SCAN (subquery", "SCAN CONSTANT ROW", "SCAN json_each",
        ]
        for plan in try await Fixture().plans(of: sql) {
            #expect(!plan.isEmpty)
            #expect(
                plan.allSatisfy { step in !step.hasPrefix("SCAN") || few.contains { step.contains($0) } }, "\(plan)")
        }
    }

    /// What goes over a whole table, and which: nodes, databases and stores are few beside what is kept of them, and each
    /// look at the fleet asks for all of them. How full the stores are is counted once an hour, replica by replica.
    @Test(arguments: [
        (Catalog.concernedQuery(.uninspected(.verify, since: zero)), ["d", "concerned"]),
        (Catalog.outlineQuery, ["n"]),
        (Catalog.riskQuery, ["w", "json_each"]), (Catalog.abandonedJobs, ["n"]),
        (Catalog.discardingStoresQuery, ["s"]), (Catalog.fillQuery, ["t", "r", "p", "m"]),
    ])
    func whatGoesOverAWholeTableIsNamed(sql: String, tables: [String]) async throws {
        for plan in try await Fixture().plans(of: sql) {
            #expect(!plan.isEmpty)
            let scans = plan.filter { $0.hasPrefix("SCAN ") && !$0.contains("INDEX pack_lost") }
                .compactMap { $0.split(separator: " ").dropFirst().first.map(String.init) }
            #expect(Set(scans).subtracting(["(subquery", "CONSTANT"]).isSubset(of: tables), "\(plan)")
        }
    }

    /// Few databases have troubles: they are found by indexes of those alone.
    @Test(arguments: [
        (Catalog.Matter.failing, "database_failing"), (.stuck(anyPatience), "database_unprotected"),
    ])
    func troublesAreFoundByIndexesOfWhatIsWrong(matter: Catalog.Matter, index: String) async throws {
        for plan in try await Fixture().plans(of: Catalog.concernedQuery(matter)) {
            #expect(plan.contains { $0.contains(" d USING INDEX \(index)") }, "\(plan)")
            let scans = plan.filter { $0.hasPrefix("SCAN") && !$0.hasSuffix("INDEX \(index)") }
            #expect(scans == ["SCAN concerned"], "\(plan)")
        }
    }

    /// Each look at the fleet asks this of every node and of every database that was never inspected.
    @Test func whatALookAtTheFleetAsksOfEachIsInAnIndex() async throws {
        let uninspected = Catalog.Matter.uninspected(.verify, since: zero)
        let questions = [
            (Catalog.outlineQuery, "SEARCH c USING COVERING INDEX certificate_by_node (node=? AND revoked_at=?)"),
            (Catalog.concernedQuery(uninspected), "SEARCH l USING COVERING INDEX lineage_by_database (database=?)"),
        ]
        for (sql, step) in questions {
            for plan in try await Fixture().plans(of: sql) {
                #expect(plan.contains(step), "\(plan)")
                #expect(!plan.contains { $0.contains("TEMP B-TREE") }, "\(plan)")
            }
        }
        for plan in try await Fixture().plans(of: Catalog.numberedQuery) {
            #expect(plan.first == "SEARCH d USING INTEGER PRIMARY KEY (rowid=?)", "\(plan)")
        }
    }

    /// In a catalog with a million snapshots the statistics once made one index of all of them look as good.
    @Test func whatIsDamagedIsFoundByIndexesOfWhatIsWrong() async throws {
        let wrong = ["snapshot_damaged", "pack_lost", "snapshot_manifest_wanting", "node_keys_wanting"]
        for plan in try await Fixture().plans(of: Catalog.damagedIDs) {
            // Parts of the question, which have found what they go over.
            let scans = plan.filter { $0.hasPrefix("SCAN") && $0 != "SCAN p" && $0 != "SCAN w" }
            #expect(scans.count == wrong.count, "\(plan)")
            #expect(scans.allSatisfy { scan in wrong.contains { scan.hasSuffix("INDEX \($0)") } }, "\(plan)")
        }
    }

    /// What a part of the question found is gone over row by row: it is few. The tables are searched.
    @Test(arguments: [
        Catalog.neededQuery, Catalog.chainQuery, Catalog.basedQuery, CommitCheck.lostBaseQuery,
        Catalog.grantedManifestQuery,
        Catalog.chainInStoreQuery,
        Catalog.scrubAgeQuery, Catalog.badOfManyQuery,
    ])
    func questionsInStepsSearchForEachStep(sql: String) async throws {
        for plan in try await Fixture().plans(of: sql) {
            let scans = plan.filter { $0.hasPrefix("SCAN") && $0 != "SCAN CONSTANT ROW" }
            #expect(Set(scans).isSubset(of: ["SCAN f", "SCAN c", "SCAN b", "SCAN chain", "SCAN built"]), "\(plan)")
        }
    }
}

private let zero = Timestamp(microseconds: 0)
private let anyPatience = Catalog.Patience(now: zero, tolerance: .zero, objective: nil, intervals: 3)

private func query(_ change: (inout Catalog.SnapshotQuery) -> Void) -> Catalog.SnapshotQuery {
    var query = Catalog.SnapshotQuery(limit: 10)
    change(&query)
    return query
}
