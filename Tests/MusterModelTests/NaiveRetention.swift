/// Retention written a second time, by definition instead of by walking: dates are made from the calendar's fields,
/// periods are texts, and a rule is a list of the numbers of the snapshots that it keeps.
struct NaiveRetention {
    struct Moment {
        var year: Int
        var month: Int
        var day: Int
        var minute: Int

        /// Days since 2000-01-01, by adding up the lengths of months.
        var ordinal: Int { Self.ordinal(year, month, day) }
        var minutes: Int { ordinal * 1440 + minute }

        static func ordinal(_ year: Int, _ month: Int, _ day: Int) -> Int {
            var days = day - 1
            for earlier in 2000..<year { days += isLeap(earlier) ? 366 : 365 }
            for earlier in 1..<month { days += length(year, earlier) }
            return days
        }

        static func isLeap(_ year: Int) -> Bool { year % 4 == 0 && year % 100 != 0 || year % 400 == 0 }

        static func length(_ year: Int, _ month: Int) -> Int {
            month == 2 ? (isLeap(year) ? 29 : 28) : [4, 6, 9, 11].contains(month) ? 30 : 31
        }

        /// Fields that differ if and only if the periods do. 2000-01-03 was a Monday.
        func period(_ unit: Int) -> [Int] {
            switch unit {
            case 0: [year, month, day, minute]
            case 1: [year, month, day, minute / 60]
            case 2: [year, month, day]
            case 3: [(ordinal + 5) / 7]
            case 4: [year, month]
            default: [year]
            }
        }

        /// Minutes since 2000-01-01 at the moment so long before.
        func minutes(before span: Span) -> Int {
            var (year, month) = (year - span.years, month - span.months)
            while month < 1 { (year, month) = (year - 1, month + 12) }
            return (Self.ordinal(year, month, 1) + day - 1 - span.days) * 1440 + minute - span.hours * 60
        }
    }

    struct Span {
        var (years, months, days, hours) = (0, 0, 0, 0)
        var isZero: Bool { years + months + days + hours == 0 }
    }

    struct Snapshot {
        var moment: Moment
        var isHeld: Bool
        var isVerified: Bool
        var isTagged: Bool
        var lineage: Int
    }

    /// Newest first.
    var snapshots: [Snapshot]
    var now: Moment
    /// -1 is unlimited, 0 off.
    var last = 0
    /// In minutes; 0 is none.
    var interval = 0
    var counts = [0, 0, 0, 0, 0, 0]
    var within = Span()
    var spans = Array(repeating: Span(), count: 6)
    var keepsTagged = false
    var minimumAge = Span()
    var isAdditive = false

    /// The numbers of what is kept.
    var kept: Set<Int> {
        let all = Set(snapshots.indices)
        let isEmpty =
            last == 0 && counts.allSatisfy { $0 == 0 } && within.isZero && spans.allSatisfy(\.isZero) && !keepsTagged
        if isEmpty { return all }
        let held = all.filter { snapshots[$0].isHeld }
        let young =
            minimumAge.isZero ? [] : all.filter { snapshots[$0].moment.minutes > now.minutes(before: minimumAge) }
        return withFloor(held.union(young).union(isAdditive ? additive : overlapping))
    }

    private var overlapping: Set<Int> {
        var kept = Set(newestByInterval(among: Array(snapshots.indices)))
        if keepsTagged { kept.formUnion(snapshots.indices.filter { snapshots[$0].isTagged }) }
        kept.formUnion(window(within))
        for unit in 0..<6 {
            kept.formUnion(newest(unit, among: Array(snapshots.indices), slots: counts[unit]))
            kept.formUnion(newest(unit, among: window(spans[unit]), slots: -1))
        }
        return kept
    }

    /// All of the first few groups of one interval each, counted from 1970; without an interval a group is one.
    private func newestByInterval(among candidates: [Int]) -> [Int] {
        let groups = candidates.map { interval == 0 ? $0 : intervalNumber($0) }
        let chosen = distinct(groups).prefix(last < 0 ? .max : last)
        return zip(candidates, groups).filter { chosen.contains($1) }.map(\.0)
    }

    /// What the span reaches, counted from the newest that does not lie in the future.
    private func window(_ span: Span) -> [Int] {
        if span.isZero { return [] }
        guard let latest = snapshots.first(where: { $0.moment.minutes < now.minutes }) else {
            return Array(snapshots.indices)
        }
        let end = latest.moment.minutes(before: span)
        return snapshots.indices.filter { snapshots[$0].moment.minutes > end }
    }

    /// The first of each period, and the oldest of all if that is one of the candidates and slots are left.
    private func newest(_ unit: Int, among candidates: [Int], slots: Int) -> [Int] {
        if slots == 0 || candidates.isEmpty { return [] }
        let firsts = candidates.filter { index in
            !candidates.contains { $0 < index && period(unit, $0) == period(unit, index) }
        }
        let oldest = candidates.filter { $0 == snapshots.count - 1 }
        let wanted = firsts + oldest
        let groups = wanted.map { isShared(unit) ? intervalNumber($0) : $0 }
        if isShared(unit) {
            let chosen = distinct(groups).prefix(slots < 0 ? .max : slots)
            return zip(wanted, groups).filter { chosen.contains($1) }.map(\.0)
        }
        return Array(slots < 0 || firsts.count < slots ? wanted[...] : firsts.prefix(slots))
    }

    /// Whether what was received within one interval shares a slot: where the interval is longer than the unit's periods.
    private func isShared(_ unit: Int) -> Bool { interval > [1, 60, 1440, 7 * 1440, 31 * 1440, 366 * 1440][unit] }

    private func intervalNumber(_ index: Int) -> Int { (snapshots[index].moment.minutes + 10_957 * 1440) / interval }

    private func distinct(_ groups: [Int]) -> [Int] {
        groups.enumerated().filter { !groups[..<$0].contains($1) }.map(\.element)
    }

    /// For each rule: what is open is grouped by period, periods that are covered are left out, of the others the
    /// newest ones are taken whole, their first to be kept and the rest to go.
    private var additive: Set<Int> {
        var open = snapshots.indices.filter { !snapshots[$0].isHeld }
        var kept = Set(newestByInterval(among: open))
        for unit in 0..<6 where counts[unit] != 0 {
            open.removeAll(where: kept.contains)
            let covered = kept.map { period(unit, $0) }
            let groups = Dictionary(grouping: open) { period(unit, $0) }.filter { !covered.contains($0.key) }.values
                .sorted { $0[0] < $1[0] }
            let slots = groups.map { isShared(unit) ? intervalNumber($0[0]) : $0[0] }
            let chosen = distinct(slots).prefix(counts[unit] < 0 ? .max : counts[unit])
            for (group, slot) in zip(groups, slots) where chosen.contains(slot) {
                kept.insert(group[0])
                open.removeAll { group.contains($0) }
            }
        }
        return kept
    }

    private func withFloor(_ kept: Set<Int>) -> Set<Int> {
        var floor: Set<Int> = []
        for lineage in Set(snapshots.map(\.lineage)) {
            let members = snapshots.indices.filter { snapshots[$0].lineage == lineage }
            let verified = members.filter { snapshots[$0].isVerified }
            let wanted = verified.isEmpty ? [members[0]] : verified
            if kept.isDisjoint(with: wanted) { floor.insert(wanted[0]) }
        }
        return kept.union(floor)
    }

    private func period(_ unit: Int, _ index: Int) -> [Int] { snapshots[index].moment.period(unit) }
}
