/// restic's way: every rule looks at every snapshot, whatever the others say.
extension RetentionReview {
    mutating func applyOverlapping(_ policy: RetentionPolicy) {
        for filter in policy.keepTags { keep(matching: filter) }
        if let span = policy.keepWithin { keep(within: span) }
        if let count = policy.keepLast { keepLast(count) }
        for unit in CalendarUnit.allCases {
            if let count = policy.keepNewestOfEach[unit] { keepNewest(ofEach: unit, count) }
        }
        for unit in CalendarUnit.allCases {
            if let span = policy.keepNewestOfEachWithin[unit] { keepNewest(ofEach: unit, within: span) }
        }
    }

    private mutating func keep(matching filter: LabelFilter) {
        for index in snapshots.indices {
            if filter.matches(snapshots[index].labels) {
                keep(index, .tag(filter))
            } else {
                pass(index, .otherLabels(filter))
            }
        }
    }

    private mutating func keep(within span: CalendarSpan) {
        let end = latest.map(span.before)
        for index in snapshots.indices {
            if isInside(index, end) {
                keep(index, .within(span))
            } else {
                pass(index, .outside(.within, span))
            }
        }
    }

    private mutating func keepLast(_ count: KeepCount) {
        for (index, slot) in slotsOfLast(count, among: Array(snapshots.indices)).enumerated() {
            if let slot { keep(index, .last(slot: slot)) } else { pass(index, .slotsUsedUp(.last, count)) }
        }
    }

    /// The oldest snapshot of all gets a slot that is left, so that a policy reaches back as far as it can from its
    /// first day on.
    private mutating func keepNewest(ofEach unit: CalendarUnit, _ count: KeepCount) {
        var (slots, lastPeriod) = (slots(count, ofEach: unit), CalendarPeriod?.none)
        for index in snapshots.indices {
            let period = CalendarPeriod(unit, of: snapshots[index].receivedAt)
            let isNewest = period != lastPeriod
            if isNewest || isOldest(index), slots.take(snapshots[index].receivedAt) != nil {
                lastPeriod = period
                keep(index, .newestOfEach(period, isOldest: !isNewest))
            } else {
                let rule = RetentionRule.newestOfEach(unit)
                pass(index, isNewest ? .slotsUsedUp(rule, count) : .newerInPeriod(rule, period))
            }
        }
    }

    private mutating func keepNewest(ofEach unit: CalendarUnit, within span: CalendarSpan) {
        let rule = RetentionRule.newestOfEachWithin(unit)
        let end = latest.map(span.before)
        var lastPeriod: CalendarPeriod?
        for index in snapshots.indices {
            guard isInside(index, end) else {
                pass(index, .outside(rule, span))
                continue
            }
            let period = CalendarPeriod(unit, of: snapshots[index].receivedAt)
            let isNewest = period != lastPeriod
            if isNewest || isOldest(index) {
                lastPeriod = period
                keep(index, .newestOfEachWithin(period, span, isOldest: !isNewest))
            } else {
                pass(index, .newerInPeriod(rule, period))
            }
        }
    }

    private func isOldest(_ index: Int) -> Bool { index == snapshots.count - 1 }

    /// What lies in the future is inside; where everything does, there is no end.
    private func isInside(_ index: Int, _ end: Timestamp?) -> Bool {
        guard let end else { return true }
        return snapshots[index].receivedAt > end
    }
}
