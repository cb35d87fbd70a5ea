/// Proxmox Backup Server's way: the rules come in order, and each decides only on what the ones before left open.
///
/// What is held takes no part: it neither uses a slot nor covers a period. Minutes, which Proxmox Backup Server does
/// not have, come between the last and the hours.
extension RetentionReview {
    mutating func applyAdditive(_ policy: RetentionPolicy) {
        var open = snapshots.indices.filter { !snapshots[$0].isHeld }
        var chosen: [Int] = []
        if let count = policy.keepLast { chooseLast(count, open: &open, chosen: &chosen) }
        for unit in CalendarUnit.allCases {
            guard let count = policy.keepNewestOfEach[unit] else { continue }
            chooseNewest(ofEach: unit, count, open: &open, chosen: &chosen)
        }
    }

    private mutating func chooseLast(_ count: KeepCount, open: inout [Int], chosen: inout [Int]) {
        var stillOpen: [Int] = []
        for (index, slot) in zip(open, slotsOfLast(count, among: open)) {
            if let slot {
                keep(index, .last(slot: slot))
                chosen.append(index)
            } else {
                pass(index, .slotsUsedUp(.last, count))
                stillOpen.append(index)
            }
        }
        open = stillOpen
    }

    private mutating func chooseNewest(
        ofEach unit: CalendarUnit, _ count: KeepCount, open: inout [Int], chosen: inout [Int]
    ) {
        let rule = RetentionRule.newestOfEach(unit)
        let covered = Set(chosen.map { CalendarPeriod(unit, of: snapshots[$0].receivedAt) })
        var (slots, taken) = (slots(count, ofEach: unit), Set<CalendarPeriod>())
        var stillOpen: [Int] = []
        for index in open {
            let period = CalendarPeriod(unit, of: snapshots[index].receivedAt)
            if covered.contains(period) {
                pass(index, .periodCovered(rule, period))
                stillOpen.append(index)
            } else if taken.contains(period) {
                // Final: no later rule may choose it, so it does not stay open.
                pass(index, .newerInPeriod(rule, period))
            } else if slots.take(snapshots[index].receivedAt) != nil {
                keep(index, .newestOfEach(period, isOldest: false))
                chosen.append(index)
                taken.insert(period)
            } else {
                pass(index, .slotsUsedUp(rule, count))
                stillOpen.append(index)
            }
        }
        open = stillOpen
    }
}
