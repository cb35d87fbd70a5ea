import MusterModel
import MusterTestSupport

@testable import MusterCatalog

/// Snapshots of one database, committed one after the other.
struct History {
    let fixture: Fixture
    let node: Catalog.Node
    let database: DatabaseID
    private(set) var heads: [Catalog.Commit?] = [nil, nil]
    /// Oldest first.
    private(set) var ids: [SnapshotID] = []

    init(_ fixture: Fixture, _ node: Catalog.Node) {
        (self.fixture, self.node) = (fixture, node)
        database = DatabaseID(from: fixture.random)
    }

    /// Of a catalog and a node of its own.
    init() async throws {
        let fixture = try await Fixture()
        self.init(fixture, try await fixture.makeNode())
    }

    /// Commits `count` snapshots, each so long after the one before.
    mutating func grow(
        by count: Int, every step: Duration = .seconds(86_400), lineage: Int = 0, labels: [String: String] = [:]
    ) async throws {
        for _ in 0..<count {
            fixture.clock.advance(by: step)
            var commit = try fixture.commit(node, after: heads[lineage], database: database)
            commit.labels = labels
            guard try await fixture.catalog.commit(commit) == .committed else { throw Fixture.Missing() }
            heads[lineage] = commit
            ids.append(commit.snapshot)
        }
    }

    func report(every interval: Duration) async throws {
        var entry = Catalog.Database(id: database, node: node.id, nodeName: node.name, name: "app")
        entry.intervalMilliseconds = interval.microseconds / 1000
        _ = try await fixture.catalog.record(
            Catalog.Report(agentVersion: "1", clockOffset: .zero, databases: [entry], isWhole: false), from: node.id,
            now: fixture.clock.now())
    }

    func verify(_ snapshot: SnapshotID, passes: Bool = true) async throws {
        let run = RunID(from: fixture.random)
        fixture.clock.advance(by: .milliseconds(1))
        let catalog = fixture.catalog
        try await catalog.begin(run, level: .verify, snapshots: [snapshot], jobs: [], now: fixture.clock.now())
        let finding = Failing(snapshot: "\(snapshot)", store: "main", object: "x", reason: "gone")
        try await catalog.conclude(
            snapshot, in: run, .inspected(passes ? [] : [finding]), now: fixture.clock.now())
    }

    func hold(_ snapshot: SnapshotID, name: String = "audit") async throws -> Catalog.HoldOutcome? {
        try await fixture.catalog.hold(
            snapshot, Catalog.Hold(name: name, reason: "", actor: "eve", at: fixture.clock.now()))
    }

    /// Sets a policy of rules alone, such as `["keep-last": "3"]`; no minimum age unless it is given.
    func setPolicy(
        _ scope: RetentionScope, _ rules: [String: String], tags: [String] = [], minimumAge: String = "0h"
    ) async throws {
        _ = try await fixture.catalog.setPolicy(
            scope, to: Self.terms(rules, tags: tags, minimumAge: minimumAge), actor: "eve",
            now: fixture.clock.now())
    }

    static func terms(_ rules: [String: String], tags: [String] = [], minimumAge: String = "0h") -> RetentionTerms {
        var terms = RetentionTerms()
        (terms.rules, terms.keepTags, terms.minimumAge) = (rules, tags, minimumAge)
        return terms
    }

    func verdict() async throws -> Catalog.RetentionVerdict {
        try fixture.required(try await fixture.catalog.retentionVerdict(on: database, now: fixture.clock.now()))
    }

    /// Decides and marks at once.
    @discardableResult
    func apply(run: RunID? = nil) async throws -> Int {
        let shown = try await verdict()
        let verdict = try fixture.required(
            try await fixture.catalog.retentionVerdict(on: database, isShown: false, now: fixture.clock.now()))
        guard (verdict.keptCount, verdict.expiringCount) == (shown.keptCount, shown.expiringCount) else {
            throw Fixture.Missing()
        }
        return try await mark(verdict, run: run)
    }

    @discardableResult
    func mark(_ verdict: Catalog.RetentionVerdict, run: RunID? = nil) async throws -> Int {
        try await fixture.catalog.mark(
            verdict, of: database, run: run ?? RunID(from: fixture.random), actor: "eve", now: fixture.clock.now())
    }

    /// By their numbers from 0, oldest first.
    func live() async throws -> [Int] { try await listed(isExpired: false) }
    func expired() async throws -> [Int] { try await listed(isExpired: true) }

    private func listed(isExpired: Bool) async throws -> [Int] {
        let listed = try await fixture.page {
            ($0.databases, $0.isExpired, $0.limit) = ([database], isExpired, 1000)
        }
        return listed.compactMap { ids.firstIndex(of: $0) }.sorted()
    }
}
