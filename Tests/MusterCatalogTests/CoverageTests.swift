import Foundation
import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Coverage, and what is due")
struct CoverageTests {
    private let fixture: Fixture
    private let alpha: Catalog.Node
    private let beta: Catalog.Node
    private var catalog: Catalog { fixture.catalog }

    init() async throws {
        fixture = try await Fixture()
        (alpha, beta) = (try await fixture.makeNode("alpha"), try await fixture.makeNode("beta"))
        for node in [alpha, beta] { try await fixture.catalog.touch(node.id, at: fixture.clock.now()) }
    }

    private func commit(_ node: Catalog.Node, name: String) async throws -> Catalog.Commit {
        let commit = try fixture.commit(node, name: name)
        #expect(try await catalog.commit(commit) == .committed)
        return commit
    }

    private func inspect(_ commit: Catalog.Commit, _ level: VerificationLevel, passes: Bool = true) async throws {
        let run = RunID(from: fixture.random)
        try await catalog.begin(run, level: level, snapshots: [commit.snapshot], jobs: [], now: fixture.clock.now())
        let finding = Failing(snapshot: "\(commit.snapshot)", store: "", object: "", reason: "bad")
        try await catalog.conclude(
            commit.snapshot, in: run, .inspected(passes ? [] : [finding]), now: fixture.clock.now())
    }

    private func level(
        _ level: VerificationLevel, since: Timestamp? = nil
    ) async throws -> Catalog.LevelCoverage {
        let coverage = try await catalog.coverage(since: since.map { [level: $0] } ?? [:])
        return try #require(coverage.levels.first { $0.level == level })
    }

    @Test func itFollowsTheVerdictsOfEachDepth() async throws {
        let (a, b) = (try await commit(alpha, name: "a"), try await commit(beta, name: "b"))
        #expect(try await catalog.coverage(since: [:]).databases == 2)
        #expect(try await level(.verify) == .init(level: .verify, within: 0, never: 2, oldestAt: nil))
        let first = fixture.clock.now()
        try await inspect(a, .drill)
        fixture.clock.advance(by: .seconds(100))
        try await inspect(b, .verify)
        try await inspect(b, .scrub)
        try await inspect(b, .drill, passes: false)
        #expect(try await level(.verify) == .init(level: .verify, within: 2, never: 0, oldestAt: first))
        #expect(try await level(.verify, since: first + .seconds(1)).within == 1)
        #expect(try await level(.drill) == .init(level: .drill, within: 1, never: 1, oldestAt: first))
        #expect(try await level(.check).within == 1, "a scrub is a check")
        #expect(try await level(.scrub).within == 1)
    }

    /// What was never inspected waits since its first lineage began; of each node the first few are read, and all counted.
    @Test func whatWasNotInspectedSinceIsReadInSharesAndCountedWhole() async throws {
        var commits: [Catalog.Commit] = []
        for index in 0..<14 {
            fixture.clock.advance(by: .seconds(10))
            commits.append(try await commit(index == 13 ? beta : alpha, name: "db\(index)"))
        }
        let passedAt = fixture.clock.now()
        try await inspect(commits[0], .verify)
        fixture.clock.advance(by: .seconds(10))
        func concerns(since: Timestamp, limit: Int = 100) async throws -> [Catalog.Concern] {
            try await catalog.concerns(.uninspected(.verify, since: since), limit: limit)
        }
        // The one that passed comes last of all, and so is one of those that only count.
        let all = try await concerns(since: fixture.clock.now())
        let first = (1...11).map { commits[$0].database }
        #expect(all.map(\.database.id) == first + [commits[13].database])
        #expect(all.map(\.ofNode) == Array(repeating: 13, count: 11) + [1])
        #expect(all.allSatisfy { $0.ofFleet == 14 && $0.since == nil })
        #expect(try await concerns(since: fixture.clock.now(), limit: 3).map(\.database.id) == Array(first.prefix(3)))
        let early = try await concerns(since: passedAt - .seconds(110))
        #expect(early.map(\.database.id) == Array(first.prefix(early.count)) && early.map(\.ofNode) == [1])
        try await inspect(commits[13], .drill)
        let told = [commits[0], commits[13]].map { commit in
            Catalog.StandingAlarm(
                key: "verify_overdue/\(commit.database)", kind: .verifyOverdue, severity: .warning, summary: "",
                hint: "",
                since: passedAt)
        }
        try await catalog.follow(told, now: fixture.clock.now(), damping: .zero) { _, _ in [] }
        let matter = Catalog.Matter.uninspected(.verify, since: passedAt)
        #expect(try await catalog.toldConcerns(matter, as: .verifyOverdue) == [])
        let later = Catalog.Matter.uninspected(.verify, since: passedAt + .seconds(1))
        #expect(try await catalog.toldConcerns(later, as: .verifyOverdue) == [commits[0].database])
    }

    @Test func anOldSnapshotThatPassesIsNotItsDatabaseThatDoes() async throws {
        let first = try await commit(alpha, name: "a")
        fixture.clock.advance(by: .seconds(10))
        let second = try fixture.commit(alpha, after: first)
        #expect(try await catalog.commit(second) == .committed)
        fixture.clock.advance(by: .seconds(3600))
        try await inspect(first, .drill)
        #expect(try await level(.drill).within == 1, "it was the newest not long ago")
        let drilled = try #require(try await level(.drill).oldestAt)
        fixture.clock.advance(by: .seconds(2 * 86_400))
        for depth in VerificationLevel.allCases { try await inspect(first, depth) }
        #expect(try await level(.drill).oldestAt == drilled)
        #expect(try await level(.scrub).within == 0)
        #expect(try await catalog.snapshot(first.snapshot)?.verifiedAt == fixture.clock.now())
        try await inspect(second, .drill)
        #expect(try await level(.drill).oldestAt == fixture.clock.now())
    }

    @Test func theScrubOfTheStoresCoversTheDatabasesToo() async throws {
        let pack = try await fixture.makePack(alpha)
        let commit = try fixture.commit(alpha, packs: [pack], name: "a")
        #expect(try await catalog.commit(commit) == .committed)
        _ = try await self.commit(beta, name: "b")
        func derive() async throws -> Timestamp? {
            var (last, rounds) = (DatabaseID?.none, 0)
            repeat {
                last = try await catalog.deriveScrubs(after: last, limit: 1)
                rounds += 1
            } while last != nil && rounds < 10
            #expect(rounds == 3, "one after the other, and then the end")
            return try await level(.scrub).oldestAt
        }
        fixture.clock.advance(by: .seconds(100))
        #expect(try await derive() == nil, "hashed when it came, and not read again")
        let replica = try #require(try await catalog.replicas(of: pack, in: nil).first)
        let snapshot = try #require(try await catalog.snapshot(commit.snapshot))
        func mark(_ state: Catalog.ReplicaState) async throws {
            try await catalog.mark(
                pack: replica.pack, store: replica.store, generation: replica.generation, as: state, isHashed: true,
                now: fixture.clock.now())
        }
        try await mark(.present)
        #expect(try await derive() == nil, "the manifest was not read again")
        fixture.clock.advance(by: .seconds(100))
        let packTime = fixture.clock.now() - .seconds(100)
        try await catalog.mark(
            .manifest, of: snapshot.number, store: replica.store, generation: "00000000000000bb", as: .present,
            isHashed: true, now: fixture.clock.now())
        try await catalog.markKeys(
            of: alpha.id, in: replica.store, object: alpha.keyObject, as: .present, now: fixture.clock.now())
        #expect(try await derive() == packTime, "the oldest of all")
        #expect(try await level(.check).oldestAt == packTime)
        #expect(try await level(.scrub).never == 1)
        try await mark(.damaged)
        #expect(try await derive() == packTime, "what is bad covers nothing, and takes nothing back")
        try await mark(.present)
        #expect(try await derive() == fixture.clock.now())
    }

    /// Reads replicas again that are there: of packs, of manifests, of a node's keys.
    private func reread(
        _ packs: [PackID], _ commits: [Catalog.Commit], keysOf node: Catalog.Node? = nil,
        as state: Catalog.ReplicaState = .present
    ) async throws {
        for pack in packs {
            for replica in try await catalog.replicas(of: pack, in: nil) {
                try await catalog.mark(
                    pack: replica.pack, store: replica.store, generation: replica.generation, as: state,
                    isHashed: true, now: fixture.clock.now())
            }
        }
        for commit in commits {
            let snapshot = try #require(try await catalog.snapshot(commit.snapshot))
            for replica in snapshot.replicas {
                try await catalog.mark(
                    .manifest, of: snapshot.number, store: replica.store, generation: replica.generation, as: state,
                    isHashed: true, now: fixture.clock.now())
            }
        }
        guard let node else { return }
        try await catalog.markKeys(
            of: node.id, in: fixture.store.number, object: node.keyObject, as: state, now: fixture.clock.now())
    }

    private func scrubbed(_ id: DatabaseID) async throws -> Timestamp? {
        #expect(try await catalog.deriveScrubs(after: nil, limit: 100) == nil)
        return try await catalog.database(id)?.scrubbedAt
    }

    @Test func aDeltaIsCoveredWithTheManifestsThatItIsBasedOn() async throws {
        let pack = try await fixture.makePack(alpha)
        var history = LineageHistory(fixture, alpha)
        try await history.add(needing: [pack], base: nil)
        try await history.add(needing: [pack], base: 0)
        let commits = history.commits
        fixture.clock.advance(by: .seconds(100))
        try await reread([pack], [commits[1]], keysOf: alpha)
        try await reread([], [commits[0]], as: .damaged)
        #expect(try await scrubbed(commits[0].database) == nil, "without its base it is nothing")
        fixture.clock.advance(by: .seconds(100))
        try await reread([], [commits[0]])
        #expect(try await scrubbed(commits[0].database) == fixture.clock.now() - .seconds(100))
    }

    @Test func whatHasNoReplicaAtAllIsNotCovered() async throws {
        let packs = [try await fixture.makePack(alpha), try await fixture.makePack(alpha)]
        let commit = try fixture.commit(alpha, packs: packs, name: "a")
        #expect(try await catalog.commit(commit) == .committed)
        fixture.clock.advance(by: .seconds(100))
        try await reread(packs, [commit], keysOf: alpha)
        for (table, part) in [
            ("pack_replica", "pack = (SELECT max(number) FROM pack)"), ("manifest_replica", "true"),
            ("key_replica", "true"),
        ] {
            try await catalog.write { database in
                try database.execute(
                    sql: """
                        CREATE TEMP TABLE taken AS SELECT * FROM \(table) WHERE \(part);
                        DELETE FROM \(table) WHERE \(part)
                        """)
            }
            #expect(try await scrubbed(commit.database) == nil, "\(table)")
            try await catalog.write { database in
                try database.execute(sql: "INSERT INTO \(table) SELECT * FROM taken; DROP TABLE temp.taken")
            }
        }
        #expect(try await scrubbed(commit.database) == fixture.clock.now())
    }

    /// Everything that the snapshot needs came long after its lineage began, and none of it was read since.
    @Test func whatWasHashedOnItsWayIsNotReadAgain() async throws {
        let first = try await fixture.makePack(alpha)
        let old = try fixture.commit(alpha, packs: [first], name: "a")
        #expect(try await catalog.commit(old) == .committed)
        fixture.clock.advance(by: .seconds(86_400))
        let second = try await fixture.makePack(alpha)
        let new = try fixture.commit(alpha, after: old, packs: [second], name: "a")
        #expect(try await catalog.commit(new) == .committed)
        fixture.clock.advance(by: .seconds(3600))
        try await reread([], [], keysOf: alpha)
        #expect(try await scrubbed(new.database) == nil)
        try await reread([second], [])
        #expect(try await scrubbed(new.database) == fixture.clock.now(), "its manifest came within the day before")
    }

    @Test func whatStaysUnreadIsCoveredByNothing() async throws {
        var packs = [try await fixture.makePack(alpha)]
        let old = try fixture.commit(alpha, packs: [packs[0]], name: "a")
        #expect(try await catalog.commit(old) == .committed)
        fixture.clock.advance(by: .seconds(100))
        packs.append(try await fixture.makePack(alpha))
        let new = try fixture.commit(alpha, after: old, packs: packs, name: "a")
        #expect(try await catalog.commit(new) == .committed)
        fixture.clock.advance(by: .seconds(3600))
        try await reread([packs[0]], [new], keysOf: alpha)
        let first = fixture.clock.now()
        #expect(try await scrubbed(new.database) == first, "the other pack came within the day before")
        fixture.clock.advance(by: .seconds(2 * 86_400))
        try await reread([packs[0]], [new], keysOf: alpha)
        #expect(try await scrubbed(new.database) == first, "it was not read for two days")
        try await reread([packs[1]], [])
        #expect(try await scrubbed(new.database) == fixture.clock.now())
    }

    @Test func whatIsNotProtectedAnyMoreDoesNotCount() async throws {
        _ = try await commit(alpha, name: "a")
        _ = try await commit(beta, name: "b")
        try await catalog.revoke(beta.id, at: fixture.clock.now())
        #expect(try await catalog.coverage(since: [:]).databases == 1)
        #expect(try await catalog.candidates(after: nil, limit: 10).map(\.node) == [alpha.id])
        let all = try await catalog.candidates(withHistory: true, after: nil, limit: 10)
        #expect(Set(all.map(\.node)) == [alpha.id, beta.id], "its snapshots are there still")
    }

    private func due(_ level: VerificationLevel = .verify, limit: Int = 10) async throws -> [DatabaseID] {
        let now = fixture.clock.now()
        return try await catalog.due(
            Catalog.DueQuery(
                level: level, passedBefore: now - .seconds(1000), triedBefore: now - .seconds(200),
                heardSince: now - .seconds(60), joinedBefore: now, limit: limit)
        ).map(\.database)
    }

    @Test func oneDatabaseOfEachNodeIsDueTheLongestUninspectedFirst() async throws {
        let (a, b) = (try await commit(alpha, name: "a"), try await commit(alpha, name: "b"))
        let c = try await commit(beta, name: "c")
        func pass(_ commit: Catalog.Commit, _ level: VerificationLevel) async throws {
            try await inspect(commit, level)
            fixture.clock.advance(by: .seconds(1))
        }
        try await pass(b, .verify)
        try await pass(a, .drill)
        try await pass(c, .verify)
        #expect(try await due().isEmpty)
        fixture.clock.advance(by: .seconds(1001))
        #expect(try await due().isEmpty, "nobody was heard of")
        for node in [alpha, beta] { try await catalog.touch(node.id, at: fixture.clock.now()) }
        #expect(try await due() == [b.database, c.database])
        #expect(try await due(limit: 1) == [b.database])
        #expect(try await Set(due(.drill)) == [b.database, c.database], "never drilled comes before drilled")
    }

    @Test func whatDidNotPassRestsAndABusyNodeHasEnough() async throws {
        let (a, c) = (try await commit(alpha, name: "a"), try await commit(beta, name: "c"))
        try await inspect(a, .verify, passes: false)
        #expect(try await due() == [c.database])
        fixture.clock.advance(by: .seconds(201))
        for node in [alpha, beta] { try await catalog.touch(node.id, at: fixture.clock.now()) }
        #expect(Set(try await due()) == [a.database, c.database])
        var job = Catalog.Job(
            id: JobID(from: fixture.random), kind: .verify, node: beta.id, database: c.database,
            createdAt: fixture.clock.now())
        (job.snapshot, job.level) = (c.snapshot, "verify")
        try await catalog.add([job])
        #expect(try await due() == [a.database])
    }
}
