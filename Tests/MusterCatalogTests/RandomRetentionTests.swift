import Foundation
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterCatalog

@Suite("Marks agree with the policies")
struct RandomRetentionTests {
    /// `MUSTER_RETENTION_SEED` asks for other cases.
    @Test func onRandomHistoriesPoliciesAndHolds() async throws {
        let seed = ProcessInfo.processInfo.environment["MUSTER_RETENTION_SEED"].flatMap { UInt64($0) } ?? 1
        print("retention in the catalog, from seed \(seed)")
        var (live, marked) = (0, 0)
        for number in 0..<60 {
            var dice = SeededGenerator(seed: seed &+ UInt64(number) &* 0x1_0001)
            var world = try await RandomWorld(&dice)
            let (kept, gone) = try await world.compare(&dice)
            (live, marked) = (live + kept, marked + gone)
            if let difference = world.difference {
                Issue.record("seed \(seed), case \(number): \(difference)")
                return
            }
        }
        #expect(live > 300 && marked > 150, "cases in which all or nothing is kept would show little")
    }
}

/// One database with a random past, and what every rule is about as the test remembers it.
private struct RandomWorld {
    private struct Fact {
        var snapshot: RetentionSnapshot
        var isLive = true
    }

    private var history: History
    /// Oldest first.
    private var facts: [Fact] = []
    private(set) var difference: String?

    private static let rules = [
        "keep-last", "keep-minutely", "keep-hourly", "keep-daily", "keep-weekly", "keep-monthly", "keep-yearly",
        "keep-within", "keep-within-hourly", "keep-within-daily",
    ]

    init(_ dice: inout SeededGenerator) async throws {
        history = try await History()
        let fixture = history.fixture
        let lineages = [LineageID(from: fixture.random), LineageID(from: fixture.random)]
        for _ in 0..<6 + dice.below(14) {
            let lineage = dice.below(5) / 4
            let step = [20, 3000, 90_000, 1_000_000][dice.below(4)]
            let labels = dice.below(3) == 0 ? ["kind": ["a", "b"][dice.below(2)]] : [:]
            try await history.grow(
                by: 1, every: .seconds(1 + dice.below(step)), lineage: lineage, labels: labels)
            facts.append(
                Fact(
                    snapshot: RetentionSnapshot(
                        id: history.ids[facts.count], lineage: lineages[lineage], receivedAt: fixture.clock.now(),
                        labels: labels, isVerified: false)))
        }
        for index in facts.indices {
            if dice.below(4) == 0 {
                let passes = dice.below(4) > 0
                try await history.verify(facts[index].snapshot.id, passes: passes)
                facts[index].snapshot.isVerified = passes
            }
            if dice.below(8) == 0 {
                _ = try await history.hold(facts[index].snapshot.id)
                facts[index].snapshot.isHeld = true
            }
        }
    }

    /// Applies one policy after the other, with time between.
    mutating func compare(_ dice: inout SeededGenerator) async throws -> (live: Int, marked: Int) {
        var standing: [RetentionScope: RetentionTerms] = [:]
        let scopes: [RetentionScope] = [
            .fleet, .node(history.node.id), .label(key: "kind", value: "a"), .label(key: "kind", value: "b"),
            .database(history.database),
        ]
        for round in 0..<4 {
            let scope = scopes[(round == 3 ? 0 : dice.below(2)) + dice.below(4)]
            let terms = Self.terms(&dice)
            try await history.setPolicy(scope, terms.rules, tags: terms.keepTags, minimumAge: terms.minimumAge)
            standing[scope] = terms
            history.fixture.clock.advance(by: .seconds(dice.below(100_000)))
            let expected = try kept(standing)
            try await history.apply()
            for index in facts.indices where facts[index].isLive && !expected.contains(index) {
                facts[index].isLive = false
            }
            let found = Set(try await history.live())
            guard found == expected, try await history.expired().count == facts.count - found.count else {
                difference = "round \(round): \(found.sorted()) live, not \(expected.sorted()): \(standing) \(facts)"
                break
            }
        }
        return (facts.count(where: \.isLive), facts.count { !$0.isLive })
    }

    private static func terms(_ dice: inout SeededGenerator) -> RetentionTerms {
        var terms = History.terms([:], minimumAge: ["0h", "0h", "1h", "2d"][dice.below(4)])
        for _ in 0...dice.below(2) {
            let rule = rules[dice.below(rules.count)]
            terms.rules[rule] =
                rule.hasPrefix("keep-within") ? ["1h", "1d", "20d"][dice.below(3)] : String(1 + dice.below(3))
        }
        if dice.below(4) == 0 { terms.keepTags = [["kind=a", "kind", ""][dice.below(3)]] }
        return terms
    }

    /// By the words of the documentation, one question after the other.
    private func kept(_ standing: [RetentionScope: RetentionTerms]) throws -> Set<Int> {
        let now = history.fixture.clock.now()
        let live = facts.indices.filter { facts[$0].isLive }
        var kept: Set<Int> = []
        func ask(_ scope: RetentionScope, about indices: [Int]) throws {
            guard let terms = standing[scope] else {
                kept.formUnion(indices)
                return
            }
            let newestFirst = indices.reversed().map { facts[$0].snapshot }
            let decisions = try terms.policy().decisions(on: newestFirst, now: now, keepsFloor: false)
            let ids = Set(decisions.filter(\.isKept).map(\.snapshot))
            kept.formUnion(indices.filter { ids.contains(facts[$0].snapshot.id) })
        }
        let wide: RetentionScope = standing[.node(history.node.id)] == nil ? .fleet : .node(history.node.id)
        if standing[.database(history.database)] != nil {
            try ask(.database(history.database), about: live)
        } else {
            for kind in ["a", "b"] {
                let scope = RetentionScope.label(key: "kind", value: kind)
                guard standing[scope] != nil else { continue }
                try ask(scope, about: live.filter { facts[$0].snapshot.labels["kind"] == kind })
            }
            try ask(
                wide,
                about: live.filter { index in
                    guard let kind = facts[index].snapshot.labels["kind"] else { return true }
                    return standing[.label(key: "kind", value: kind)] == nil
                })
        }
        for lineage in Set(facts.map(\.snapshot.lineage)) {
            let own = live.filter { facts[$0].snapshot.lineage == lineage }
            kept.formUnion([own.last, own.last { facts[$0].snapshot.isVerified }].compactMap { $0 })
        }
        kept.formUnion(live.filter { facts[$0].snapshot.isHeld })
        return kept
    }
}

extension SeededGenerator {
    fileprivate mutating func below(_ end: Int) -> Int { Int(next() >> 33) % end }
}
