/// Which snapshots of one database are kept.
///
/// The rules carry the names of restic's `forget` flags and mean what they mean there; `Mode.pbs` counts the slots as
/// Proxmox Backup Server does. The clock is the moment of receipt, which a node cannot choose, and the calendar is
/// UTC. Whatever the rules say, these are kept too: what is held, what is younger than `minimumAge`, and one verified
/// snapshot of each lineage. A policy without rules keeps everything.
///
/// A policy only decides. Who is asked, when what it gives up is marked, and when it is gone is not decided here.
package struct RetentionPolicy: Hashable, Sendable {
    package enum Mode: String, Sendable, CaseIterable {
        /// Every rule looks at every snapshot, and one snapshot uses up a slot of each rule that keeps it.
        case restic
        /// The rules come one after the other, and each counts only periods that none before it has covered.
        case pbs
    }

    package let mode: Mode
    package let keepLast: KeepCount?
    package let keepNewestOfEach: [CalendarUnit: KeepCount]
    package let keepWithin: CalendarSpan?
    package let keepNewestOfEachWithin: [CalendarUnit: CalendarSpan]
    /// A snapshot that one of these matches is kept.
    package let keepTags: [LabelFilter]
    /// Nothing received later than so long ago expires: a node that floods would otherwise push out what is good.
    package let minimumAge: CalendarSpan

    /// A count of 0 and a span of 0 are rules that are off.
    ///
    /// - Throws: `RetentionError.notInMode` for a rule that Proxmox Backup Server does not have: how it would share
    ///   slots with the others is nowhere defined.
    package init(
        mode: Mode = .restic, keepLast: KeepCount? = nil, keepNewestOfEach: [CalendarUnit: KeepCount] = [:],
        keepWithin: CalendarSpan? = nil, keepNewestOfEachWithin: [CalendarUnit: CalendarSpan] = [:],
        keepTags: [LabelFilter] = [], minimumAge: CalendarSpan = CalendarSpan(days: 7)
    ) throws(RetentionError) {
        self.mode = mode
        self.keepLast = keepLast.flatMap { $0.isOff ? nil : $0 }
        self.keepNewestOfEach = keepNewestOfEach.filter { !$0.value.isOff }
        self.keepWithin = keepWithin.flatMap { $0.isZero ? nil : $0 }
        self.keepNewestOfEachWithin = keepNewestOfEachWithin.filter { !$0.value.isZero }
        self.keepTags = keepTags
        self.minimumAge = minimumAge
        if mode == .pbs, let rule = firstUncountedRule { throw .notInMode(mode, rule) }
    }

    /// True if no rule is on. Such a policy keeps everything: nobody asked for anything to expire.
    package var isEmpty: Bool { keepLast == nil && keepNewestOfEach.isEmpty && firstUncountedRule == nil }

    private var firstUncountedRule: RetentionRule? {
        if !keepTags.isEmpty { return .tag }
        if keepWithin != nil { return .within }
        return keepNewestOfEachWithin.keys.min().map(RetentionRule.newestOfEachWithin)
    }

    /// Says of every snapshot whether it is kept and why, the newest first.
    ///
    /// - Parameters:
    ///   - snapshots: all that one database has. Of two with the same moment of receipt the earlier in this list counts
    ///     as the newer.
    ///   - interval: how often the database is scheduled. What was received within one such interval, counted from
    ///     1970, uses up one slot of `keepLast`, and of those rules of `keepNewestOfEach` whose periods are shorter: all
    ///     of it is kept for that slot, so that a flood pushes nothing out.
    ///   - keepsFloor: false where these are not all snapshots of the database, and the caller sees to its floor.
    package func decisions(
        on snapshots: [RetentionSnapshot], now: Timestamp, interval: Duration? = nil, keepsFloor: Bool = true
    ) -> [RetentionDecision] {
        let newestFirst = snapshots.enumerated().sorted { a, b in
            (b.element.receivedAt, a.offset) < (a.element.receivedAt, b.offset)
        }
        var review = RetentionReview(newestFirst: newestFirst.map(\.element), now: now, interval: interval)
        review.keepHeld()
        if isEmpty {
            review.keepAll()
        } else {
            review.keep(youngerThan: minimumAge)
            switch mode {
            case .restic: review.applyOverlapping(self)
            case .pbs: review.applyAdditive(self)
            }
            if keepsFloor { review.keepFloor() }
        }
        return review.decisions
    }
}
