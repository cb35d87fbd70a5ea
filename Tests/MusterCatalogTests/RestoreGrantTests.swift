import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Orders to restore, and what they open")
struct RestoreGrantTests {
    private let fixture: Fixture
    private let source: Catalog.Node
    private let target: Catalog.Node
    private let packs: [PackID]
    /// 0 is full and needs a; 1 needs a, b on base 0; 2 needs b, c on base 0; 3 needs b, c, d on base 2.
    private let history: LineageHistory

    init() async throws {
        fixture = try await Fixture()
        (source, target) = (try await fixture.makeNode("source"), try await fixture.makeNode("target"))
        var packs: [PackID] = []
        for _ in 0..<4 { packs.append(try await fixture.makePack(source)) }
        self.packs = packs
        var history = LineageHistory(fixture, source)
        for (needs, base) in [([0], nil), ([0, 1], 0), ([1, 2], 0), ([1, 2, 3], 2)] as [([Int], Int?)] {
            try await history.add(needing: Set(needs.map { packs[$0] }), base: base)
        }
        self.history = history
    }

    private func restore(_ sequence: Int, onto node: Catalog.Node? = nil) -> Catalog.NewRestore {
        Catalog.NewRestore(
            grant: GrantID(from: fixture.random), snapshot: history.commits[sequence].snapshot,
            target: (node ?? target).id, targetPath: "/srv/restore/app.db", bytes: [1, 2, 3],
            expiresAt: fixture.clock.now() + .seconds(3600))
    }

    private func begin(_ restores: [Catalog.NewRestore]) async throws -> (outcome: Catalog.RestoreBegin, run: RunID) {
        let run = RunID(from: fixture.random)
        return (
            try await fixture.catalog.begin(restores, run: run, actor: "admin", now: fixture.clock.now()), run
        )
    }

    @Test func aReaderNeedsItsBaseChainAndNoOtherManifest() async throws {
        let chains: [Set<Int>] = [[0], [0, 1], [0, 2], [0, 2, 3]]
        for (reader, chain) in chains.enumerated() {
            for other in history.commits.indices {
                let isNeeded = try await fixture.catalog.isNeeded(
                    manifestOf: history.commits[other].snapshot, by: history.commits[reader].snapshot)
                #expect(isNeeded == chain.contains(other), "\(other) by \(reader)")
            }
        }
    }

    @Test func aReaderNeedsTheLiveSetAndNoOtherPack() async throws {
        for (index, commit) in history.commits.enumerated() {
            for pack in packs {
                let scope = try await fixture.catalog.scope(of: pack, neededBy: commit.snapshot)
                #expect(scope == (history.needs[index].contains(pack) ? source.scope : nil), "\(index)")
            }
        }
        let stranger = try await fixture.makePack(target)
        #expect(try await fixture.catalog.scope(of: stranger, neededBy: history.commits[0].snapshot) == nil)
    }

    @Test func anOrderCountsOnceAndAllOfARunOrNone() async throws {
        let first = restore(3)
        #expect(try await begin([first]).outcome == .begun)
        let second = restore(2)
        let (outcome, run) = try await begin([second, first])
        #expect(outcome == .spent(first.grant))
        #expect(try await fixture.catalog.restores(in: run).isEmpty)
        #expect(try await begin([second]).outcome == .begun)
    }

    @Test func anOrderNeedsANodeThatIsActiveAndASnapshotThatIsThere() async throws {
        var missing = restore(3)
        missing.snapshot = SnapshotID(from: fixture.random)
        #expect(try await begin([restore(3), missing]).outcome == .noSnapshot(missing.snapshot))
        try await fixture.catalog.retire(target.id, at: fixture.clock.now())
        #expect(try await begin([restore(3)]).outcome == .noTarget(target.id))
    }

    @Test func whatIsSealedGoesWhenTheOrderEnds() async throws {
        let (kept, ended) = (restore(3), restore(2))
        let run = try await begin([kept, ended]).run
        let closed = try await fixture.catalog.finish(
            restore: ended.grant, of: target.id, isDone: true, failing: nil, errorSummary: "", errorHint: "",
            now: fixture.clock.now())
        #expect(closed?.isNew == true)
        #expect(try await fixture.catalog.restores(in: run).map(\.bytes) == [[1, 2, 3], []])
        try await fixture.catalog.revoke(target.id, at: fixture.clock.now())
        #expect(try await fixture.catalog.restores(in: run).map(\.bytes) == [[], []])
        #expect(try await fixture.catalog.restores(in: run).map(\.state) == [.failed, .done])
        #expect(
            try await fixture.catalog.openRestore(kept.grant, of: target.id, now: fixture.clock.now()) == nil)
    }

    /// The row goes with the end, into one transaction: who cannot write it has ended nothing.
    @Test(arguments: ["finish", "expire", "retire", "revoke"])
    func noOrderEndsWithoutItsRowInTheAudit(_ way: String) async throws {
        let catalog = fixture.catalog
        let begun = try await begin([restore(3)])
        let open = try #require(try await catalog.restores(in: begun.run).first)
        let row = Catalog.AuditRow(actor: "eve", action: way, subject: "target", at: fixture.clock.now())
        fixture.clock.advance(by: .seconds(way == "expire" ? 3600 : 1))
        func end() async throws {
            let now = fixture.clock.now()
            switch way {
            case "finish":
                _ = try await catalog.finish(
                    restore: open.grant, of: open.target, isDone: true, failing: nil, errorSummary: "", errorHint: "",
                    now: now)
            case "expire": _ = try await catalog.expireRestores(now: now)
            case "retire": try await catalog.retire(open.target, at: now, audit: row)
            default: try await catalog.revoke(open.target, at: now, audit: row)
            }
        }
        try await catalog.write { database in
            try database.execute(
                sql: """
                    CREATE TRIGGER no_room BEFORE INSERT ON audit WHEN new.action = 'restore-end'
                    BEGIN SELECT RAISE(ABORT, 'no room'); END
                    """)
        }
        await #expect(throws: CatalogError.self) { try await end() }
        #expect(try await catalog.restores(in: begun.run).map(\.state) == [open.state])
        #expect(try await catalog.isActive(open.target))
        try await catalog.write { try $0.execute(sql: "DROP TRIGGER no_room") }
        try await end()
        let ended = try #require(try await catalog.auditEntries(limit: 10).first { $0.action == "restore-end" })
        #expect(ended.subject.contains("\(open.grant) \(way == "finish" ? "done" : "failed: ")"))
        #expect(ended.actor == ["finish": "node target", "expire": "coordinator"][way, default: "eve"])
    }

    @Test func whatEndedIsForgottenAfterAMonth() async throws {
        let run = try await begin([restore(3)]).run
        fixture.clock.advance(by: .seconds(3600))
        #expect(try await fixture.catalog.expireRestores(now: fixture.clock.now()).count == 1)
        fixture.clock.advance(by: .seconds(30 * 86_400 - 1))
        #expect(try await fixture.catalog.expireRestores(now: fixture.clock.now()).isEmpty)
        #expect(try await fixture.catalog.restores(in: run).count == 1)
        fixture.clock.advance(by: .seconds(1))
        #expect(try await fixture.catalog.expireRestores(now: fixture.clock.now()).isEmpty)
        #expect(try await fixture.catalog.restores(in: run).isEmpty)
    }
}
