import Foundation
import MusterModel
import MusterTestSupport
import Testing

@Suite("Retention agrees with a second model")
struct RandomRetentionTests {
    /// `MUSTER_RETENTION_CASES` asks for more cases, `MUSTER_RETENTION_SEED` for others.
    @Test(arguments: [RetentionPolicy.Mode.restic, .pbs])
    func onManySmallCases(mode: RetentionPolicy.Mode) throws {
        let environment = ProcessInfo.processInfo.environment
        let cases = environment["MUSTER_RETENTION_CASES"].flatMap { Int($0) } ?? 60_000
        let seed = environment["MUSTER_RETENTION_SEED"].flatMap { UInt64($0) } ?? 1
        print("retention, mode \(mode.rawValue): \(cases) cases from seed \(seed)")
        var (keptInAll, expiredInAll) = (0, 0)
        for number in 0..<cases {
            var dice = SeededGenerator(seed: seed &+ UInt64(number) &* 0x1_0001)
            let naive = RetentionCase.draw(isAdditive: mode == .pbs, &dice)
            let found = try naive.keptByRetention(&dice)
            let expected = naive.kept
            keptInAll += found.count
            expiredInAll += naive.snapshots.count - found.count
            guard found != expected else { continue }
            Issue.record("seed \(seed), case \(number): \(found.sorted()) kept, not \(expected.sorted()): \(naive)")
            return
        }
        // Cases in which everything or nothing is kept would show little.
        #expect(keptInAll > cases / 2 && expiredInAll > cases / 2)
    }
}

private enum RetentionCase {
    static func draw(isAdditive: Bool, _ dice: inout SeededGenerator) -> NaiveRetention {
        // From a minute to two years: each rule meets both few and many snapshots of a period.
        let spread = [3, 90, 3000, 40_000, 1_000_000][dice.below(5)]
        let start =
            NaiveRetention.Moment.ordinal(2019 + dice.below(3), 1 + dice.below(12), 1) * 1440 + dice.below(50_000)
        var moments = (0..<dice.below(8)).map { _ in start + dice.below(spread) }
        moments.sort(by: >)
        let snapshots = moments.map { minutes in
            NaiveRetention.Snapshot(
                moment: .init(minutes: minutes), isHeld: dice.below(8) == 0, isVerified: dice.below(3) > 0,
                isTagged: dice.below(4) == 0, lineage: dice.below(6) / 5)
        }
        let now = NaiveRetention.Moment(minutes: start + (dice.below(4) == 0 ? dice.below(spread) : 2 * spread))
        var drawn = NaiveRetention(snapshots: snapshots, now: now)
        drawn.isAdditive = isAdditive
        if dice.below(3) == 0 { drawn.last = dice.count() }
        if dice.below(3) == 0 { drawn.interval = 1 + dice.below([100, 3000, 50_000, 600_000][dice.below(4)]) }
        for _ in 0..<(dice.below(8) + 2) / 3 { drawn.counts[dice.below(6)] = dice.count() }
        if dice.below(6) == 0 { drawn.minimumAge = dice.span() }
        guard !isAdditive else { return drawn }
        if dice.below(4) == 0 { drawn.within = dice.span() }
        if dice.below(2) == 0 { drawn.spans[dice.below(6)] = dice.span() }
        drawn.keepsTagged = dice.below(5) == 0
        return drawn
    }
}

extension SeededGenerator {
    fileprivate mutating func below(_ end: Int) -> Int { Int(next() >> 33) % end }
    fileprivate mutating func count() -> Int { below(6) - 1 }
    fileprivate mutating func span() -> NaiveRetention.Span {
        let kind = below(5)
        return NaiveRetention.Span(
            years: kind == 0 ? below(3) : 0, months: kind <= 1 ? below(15) : 0, days: kind <= 2 ? below(40) : 0,
            hours: kind >= 2 ? below(100) : 0)
    }
}

extension NaiveRetention.Span {
    fileprivate var span: CalendarSpan { CalendarSpan(years: years, months: months, days: days, hours: hours) }
}

extension NaiveRetention.Moment {
    fileprivate init(minutes: Int) {
        self.init(year: 2000, month: 1, day: 1 + minutes / 1440, minute: minutes % 1440)
        while day > (Self.isLeap(year) ? 366 : 365) {
            day -= Self.isLeap(year) ? 366 : 365
            year += 1
        }
        while day > Self.length(year, month) {
            day -= Self.length(year, month)
            month += 1
        }
    }

    /// 2000-01-01 was day 10,957 since 1970.
    fileprivate var timestamp: Timestamp {
        Timestamp(microseconds: (Int64(ordinal + 10_957) * 1440 + Int64(minute)) * 60_000_000)
    }
}

extension NaiveRetention {
    /// The same case by the code under test, with the list mixed up as far as its order does not matter.
    fileprivate func keptByRetention(_ dice: inout SeededGenerator) throws -> Set<Int> {
        var units: [CalendarUnit: KeepCount] = [:]
        var windows: [CalendarUnit: CalendarSpan] = [:]
        for (index, unit) in CalendarUnit.allCases.enumerated() {
            if counts[index] != 0 || last == 0 { units[unit] = Self.count(counts[index]) }
            if !spans[index].isZero { windows[unit] = spans[index].span }
        }
        let policy = try RetentionPolicy(
            mode: isAdditive ? .pbs : .restic, keepLast: Self.count(last), keepNewestOfEach: units,
            keepWithin: within.span, keepNewestOfEachWithin: windows,
            keepTags: keepsTagged ? [LabelFilter(parsing: "tag=wanted")] : [], minimumAge: minimumAge.span)
        var given = snapshots.enumerated().map { index, snapshot in
            RetentionSnapshot(
                id: Self.ids[index], lineage: Self.lineages[snapshot.lineage], receivedAt: snapshot.moment.timestamp,
                labels: snapshot.isTagged ? ["tag": "wanted"] : ["tag": "other"], isHeld: snapshot.isHeld,
                isVerified: snapshot.isVerified)
        }
        let moments = given.map(\.receivedAt)
        if Set(moments).count == moments.count { given.shuffle(using: &dice) }
        let decisions = policy.decisions(
            on: given, now: now.timestamp, interval: interval == 0 ? nil : .seconds(60 * interval))
        return Set(decisions.indices.filter { decisions[$0].isKept && decisions[$0].snapshot == Self.ids[$0] })
    }

    private static let ids = (0..<8).map { SnapshotID(from: .seeded(UInt64($0))) }
    private static let lineages = (0..<2).map { LineageID(from: .seeded(100 + UInt64($0))) }

    private static func count(_ number: Int) -> KeepCount { number < 0 ? .unlimited : .atMost(number) }
}
