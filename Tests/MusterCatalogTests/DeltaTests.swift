import GRDB
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

/// One lineage as its node sees it: what each snapshot needs, and which one it is a change of.
struct LineageHistory {
    let fixture: Fixture
    let node: Catalog.Node
    private(set) var commits: [Catalog.Commit] = []
    private(set) var needs: [Set<PackID>] = []

    init(_ fixture: Fixture, _ node: Catalog.Node) { (self.fixture, self.node) = (fixture, node) }

    /// - Parameter base: its sequence; nil for a full manifest.
    func next(needing packs: Set<PackID>, base: Int?) throws -> Catalog.Commit {
        var commit = try fixture.commit(node, after: commits.last)
        commit.packsSinceParent = Self.changes(from: needs.last ?? [], to: packs)
        commit.packs = Self.changes(from: base.map { needs[$0] } ?? [], to: packs)
        commit.base = base.map { Catalog.Base(snapshot: commits[$0].snapshot, manifestHash: commits[$0].manifestHash) }
        return commit
    }

    /// After a commit of `next`.
    mutating func take(_ commit: Catalog.Commit, needing packs: Set<PackID>) {
        commits.append(commit)
        needs.append(packs)
    }

    mutating func add(needing packs: Set<PackID>, base: Int?) async throws {
        let commit = try next(needing: packs, base: base)
        #expect(try await fixture.catalog.commit(commit) == .committed)
        take(commit, needing: packs)
    }

    static func changes(from old: Set<PackID>, to new: Set<PackID>) -> Catalog.PackChanges {
        Catalog.PackChanges(added: new.subtracting(old).sorted(), dropped: old.subtracting(new).sorted())
    }
}

@Suite("Commits of deltas")
struct DeltaTests {
    private let fixture: Fixture
    private let node: Catalog.Node
    private let packs: [PackID]
    /// 0 is full and needs a, b; 1 needs a, c on base 0; 2 needs b, c on base 0: b went and came back.
    private let history: LineageHistory

    init() async throws {
        fixture = try await Fixture()
        node = try await fixture.makeNode()
        var packs: [PackID] = []
        for _ in 0..<6 { packs.append(try await fixture.makePack(node)) }
        self.packs = packs
        var history = LineageHistory(fixture, node)
        try await history.add(needing: [packs[0], packs[1]], base: nil)
        try await history.add(needing: [packs[0], packs[2]], base: 0)
        try await history.add(needing: [packs[1], packs[2]], base: 0)
        self.history = history
    }

    private func inconsistency(_ commit: Catalog.Commit) async throws -> String {
        let preview = try await fixture.catalog.preview(commit).outcome
        let outcome = try await fixture.catalog.commit(commit)
        #expect(preview == outcome)
        guard case .inconsistent(let reason) = outcome else {
            Issue.record("\(outcome)")
            return ""
        }
        return reason
    }

    private func neededPacks(_ commit: Catalog.Commit) async throws -> Set<PackID> {
        let snapshot = try #require(try await fixture.catalog.snapshot(commit.snapshot))
        let needed = Set(try await fixture.catalog.packs(neededBy: snapshot).map(\.id))
        #expect(snapshot.packCount == needed.count)
        return needed
    }

    @Test func eachSnapshotNeedsWhatItsHistoryComesTo() async throws {
        for (commit, needs) in zip(history.commits, history.needs) {
            #expect(try await neededPacks(commit) == needs)
        }
        let users = try await fixture.page { $0.pack = packs[1] }
        #expect(users == [history.commits[2].snapshot, history.commits[0].snapshot])
        let newest = try #require(try await fixture.catalog.snapshot(history.commits[2].snapshot))
        #expect(newest.base == history.commits[0].snapshot)
    }

    @Test func theSameDeltaTwiceGivesTheSameReceipt() async throws {
        var commit = history.commits[1]
        let receipt = commit.receipt
        commit.receipt = [9]
        #expect(try await fixture.catalog.commit(commit) == .repeated(receipt: receipt, isStored: false))
    }

    @Test func aDroppedPackMustBeNeeded() async throws {
        var commit = try history.next(needing: [packs[1], packs[2]], base: 0)
        commit.packsSinceParent.dropped = [packs[0]]
        #expect(try await inconsistency(commit).contains("\(packs[0]) is dropped and was not needed"))
        commit.packsSinceParent.dropped = [try fixture.digest()]
        #expect(try await inconsistency(commit).contains("is dropped and was not needed"))
    }

    @Test func anAddedPackMustBeNew() async throws {
        var commit = try history.next(needing: [packs[1], packs[2]], base: 0)
        commit.packsSinceParent.added = [packs[2]]
        #expect(try await inconsistency(commit).contains("\(packs[2]) is added and was needed before"))
    }

    @Test func aBaseMustBeAnEarlierSnapshotOfTheLineageWithThatManifest() async throws {
        let commit = try history.next(needing: [packs[1], packs[2]], base: 1)
        var stranger = LineageHistory(fixture, node)
        try await stranger.add(needing: [packs[0], packs[2]], base: nil)
        let bases = [
            Catalog.Base(snapshot: stranger.commits[0].snapshot, manifestHash: stranger.commits[0].manifestHash),
            Catalog.Base(snapshot: history.commits[1].snapshot, manifestHash: try fixture.digest()),
            Catalog.Base(snapshot: SnapshotID(from: fixture.random), manifestHash: history.commits[1].manifestHash),
            // Newer than itself: only what is committed can be a base.
            Catalog.Base(snapshot: commit.snapshot, manifestHash: commit.manifestHash),
        ]
        for base in bases {
            var wrong = commit
            wrong.base = base
            #expect(try await inconsistency(wrong).contains("its base is not an earlier snapshot"))
        }
        #expect(try await fixture.catalog.commit(commit) == .committed)
    }

    /// Each list that is wrong by one pack, in each way that it can be.
    @Test func theListsAgainstTheBaseAreExact() async throws {
        // Since 0, of a and b: a went; c and d came.
        let good = try history.next(needing: [packs[1], packs[2], packs[3]], base: 0)
        #expect(good.packs == Catalog.PackChanges(added: [packs[2], packs[3]].sorted(), dropped: [packs[0]]))
        let wrongs: [(change: (inout Catalog.PackChanges) -> Void, reason: String)] = [
            ({ $0.added = [packs[2]] }, "leaves out pack \(packs[3])"),
            ({ $0.added = [packs[3]] }, "leaves out pack \(packs[2])"),
            ({ $0.added.append(packs[1]) }, "pack \(packs[1]) did not come"),
            ({ $0.added.append(packs[0]) }, "pack \(packs[0]) did not come"),
            ({ $0.added.append(packs[5]) }, "pack \(packs[5]) did not come"),
            ({ $0.dropped = [] }, "leaves out packs that went"),
            ({ $0.dropped.append(packs[1]) }, "pack \(packs[1]) did not go"),
            ({ $0.dropped = [packs[4]] }, "pack \(packs[4]) did not go"),
        ]
        for (change, reason) in wrongs {
            var commit = good
            change(&commit.packs)
            #expect(try await inconsistency(commit).contains(reason))
        }
        #expect(try await fixture.catalog.commit(good) == .committed)
        #expect(try await neededPacks(good) == [packs[1], packs[2], packs[3]])
    }

    @Test func aFullManifestListsWhatItsHistoryComesTo() async throws {
        let good = try history.next(needing: [packs[2], packs[4]], base: nil)
        for wrong in [[packs[2]], [packs[2], packs[3]], [packs[2], packs[4], packs[1]]] {
            var commit = good
            commit.packs.added = wrong
            #expect(try await inconsistency(commit).contains("history"))
        }
        #expect(try await fixture.catalog.commit(good) == .committed)
        #expect(try await fixture.catalog.snapshot(good.snapshot)?.base == nil)
    }

    @Test func aLostPackThatIsStillNeededKeepsTheReceiptBack() async throws {
        let replica = try #require(try await fixture.catalog.replicas(of: packs[1], in: nil).first)
        func mark(_ state: Catalog.ReplicaState) async throws {
            try await fixture.catalog.mark(
                pack: replica.pack, store: replica.store, generation: replica.generation, as: state, isHashed: true,
                now: fixture.clock.now())
        }
        try await mark(.damaged)
        let keeping = try history.next(needing: [packs[1], packs[2], packs[3]], base: 2)
        #expect(try await fixture.catalog.commit(keeping) == .packsMissing([packs[1]]))
        let dropping = try history.next(needing: [packs[2], packs[3]], base: 2)
        #expect(try await fixture.catalog.preview(dropping).outcome == .committed, "what is not needed is not missed")
        try await mark(.present)
        #expect(try await fixture.catalog.commit(keeping) == .committed)
    }

    @Test func aLostManifestOfTheBaseChainKeepsTheReceiptBack() async throws {
        let full = try #require(try await fixture.catalog.snapshot(history.commits[0].snapshot))
        func mark(_ part: Catalog.SnapshotPart, _ generation: String, _ state: Catalog.ReplicaState) async throws {
            try await fixture.catalog.mark(
                part, of: full.number, store: fixture.store.number, generation: generation, as: state,
                isHashed: true, now: fixture.clock.now())
        }
        try await mark(.receipt, "00000000000000cc", .missing)
        let delta = try history.next(needing: [packs[1], packs[2]], base: 2)
        #expect(try await fixture.catalog.preview(delta).outcome == .committed, "a base needs no receipt to be read")
        try await mark(.manifest, "00000000000000bb", .missing)
        #expect(try await fixture.catalog.commit(delta) == .baseMissing(history.commits[0].snapshot))
        let whole = try history.next(needing: [packs[1], packs[2]], base: nil)
        #expect(try await fixture.catalog.commit(whole) == .committed)
    }

    @Test func aChainIsNoLongerThanItsRule() async throws {
        var history = history
        for sequence in 3...Int(CommitCheck.longestChain) + 1 {
            try await history.add(needing: [packs[1], packs[2]], base: sequence - 1)
        }
        let tooFar = try history.next(needing: [packs[1], packs[2]], base: history.commits.count - 1)
        #expect(try await inconsistency(tooFar).contains("too long"))
        let last = try #require(try await fixture.catalog.snapshot(history.commits[history.commits.count - 1].snapshot))
        let chain = try await fixture.catalog.baseChain(of: last)
        #expect(chain.map(\.sequence) == (2...UInt64(CommitCheck.longestChain)).reversed() + [0])
        let based = try await fixture.catalog.snapshots(basedOn: history.commits[0].snapshot, limit: 1000)
        #expect(Set(based) == Set(history.commits.dropFirst().map(\.snapshot)))
        #expect(try await fixture.catalog.snapshots(basedOn: history.commits[0].snapshot, limit: 5).count == 5)
    }

    /// Any history that a node can have is taken, and one that is wrong by one pack is not.
    @Test func randomHistoriesAreTakenAndLiesAreNot() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        let random = RandomSource.seeded(seed)
        func draw(_ count: Int) -> Int { Int(random.bytes(1)[0]) % count }
        var history = LineageHistory(fixture, node)
        var lies = 0
        for sequence in 0..<60 {
            let needs = Set(packs.filter { _ in draw(2) == 0 })
            let base = sequence == 0 || draw(8) == 0 ? nil : draw(sequence)
            var lie = try history.next(needing: needs, base: base)
            let stranger = packs[draw(packs.count)]
            switch draw(4) {
            case 0 where !lie.packs.added.isEmpty: lie.packs.added.remove(at: draw(lie.packs.added.count))
            case 1 where !lie.packs.dropped.isEmpty: lie.packs.dropped.remove(at: draw(lie.packs.dropped.count))
            case 2 where !lie.packs.added.contains(stranger): lie.packs.added.append(stranger)
            case 3 where base != nil && !lie.packs.dropped.contains(stranger): lie.packs.dropped.append(stranger)
            default: lie.packs.added = [try fixture.digest()] + lie.packs.added
            }
            guard case .inconsistent = try await fixture.catalog.commit(lie) else {
                Issue.record("seed \(seed), sequence \(sequence): a lie was taken")
                return
            }
            lies += 1
            try await history.add(needing: needs, base: base)
            #expect(try await neededPacks(history.commits[sequence]) == needs, "seed \(seed)")
        }
        #expect(lies == 60)
        for (commit, needs) in zip(history.commits, history.needs) {
            #expect(try await neededPacks(commit) == needs, "seed \(seed)")
        }
    }
}
