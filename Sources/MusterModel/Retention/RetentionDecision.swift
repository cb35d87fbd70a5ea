/// A snapshot as far as retention looks at it.
package struct RetentionSnapshot: Hashable, Sendable {
    package var id: SnapshotID
    package var lineage: LineageID
    /// When the coordinator had received it, by the coordinator's clock.
    package var receivedAt: Timestamp
    package var labels: [String: String]
    package var isHeld: Bool
    /// True if its newest verdict of level verify or drill is good.
    package var isVerified: Bool
    /// The next snapshot of its lineage is a change of it.
    package var isHead: Bool
    /// It was marked, and brought back by a person: until then no policy marks it again.
    package var sparedUntil: Timestamp?

    package init(
        id: SnapshotID, lineage: LineageID, receivedAt: Timestamp, labels: [String: String] = [:],
        isHeld: Bool = false, isVerified: Bool, isHead: Bool = false, sparedUntil: Timestamp? = nil
    ) {
        (self.id, self.lineage, self.receivedAt) = (id, lineage, receivedAt)
        (self.labels, self.isHeld, self.isVerified) = (labels, isHeld, isVerified)
        (self.isHead, self.sparedUntil) = (isHead, sparedUntil)
    }
}

/// What a policy says of one snapshot.
package struct RetentionDecision: Hashable, Sendable {
    package enum Outcome: Hashable, Sendable {
        /// All that keeps it.
        case kept(by: [KeepReason])
        /// What each rule of the policy has against it.
        case expires(because: [ExpiryReason])
    }

    package let snapshot: SnapshotID
    package let outcome: Outcome

    package var isKept: Bool {
        switch outcome {
        case .kept: true
        case .expires: false
        }
    }

    /// For people, one line a reason.
    package var reasons: [String] {
        switch outcome {
        case .kept(let reasons): reasons.map(\.description)
        case .expires(let reasons): reasons.map(\.description)
        }
    }
}

/// The rules that a policy may switch on, by the names of their flags.
package enum RetentionRule: Hashable, Sendable, CustomStringConvertible {
    case tag
    case within
    case last
    case newestOfEach(CalendarUnit)
    case newestOfEachWithin(CalendarUnit)

    package var description: String {
        switch self {
        case .tag: "keep-tag"
        case .within: "keep-within"
        case .last: "keep-last"
        case .newestOfEach(let unit): "keep-\(unit.adverb)"
        case .newestOfEachWithin(let unit): "keep-within-\(unit.adverb)"
        }
    }
}

/// One thing that keeps a snapshot.
package enum KeepReason: Hashable, Sendable, CustomStringConvertible {
    case emptyPolicy
    case held
    case minimumAge(CalendarSpan)
    case tag(LabelFilter)
    case within(CalendarSpan)
    /// Slots are numbered from 1, the newest first.
    case last(slot: Int)
    /// - isOldest: it is not the newest of its period, but the oldest of all, and the rule had a slot left.
    case newestOfEach(CalendarPeriod, isOldest: Bool)
    case newestOfEachWithin(CalendarPeriod, CalendarSpan, isOldest: Bool)
    /// Without it no verified snapshot of its lineage would be left; if there is none, it is the newest.
    case floor(isVerified: Bool)
    case noPolicy
    /// While an alarm of this kind stands, nothing of the database expires.
    case alarm(String)
    case head
    case newestVerified
    case undone(until: Timestamp)

    package var description: String {
        switch self {
        case .emptyPolicy: "the policy has no rules"
        case .held: "held"
        case .minimumAge(let span): "min-age \(span)"
        case .tag(let filter): "\(RetentionRule.tag) '\(filter)'"
        case .within(let span): "\(RetentionRule.within) \(span)"
        case .last(let slot): "\(RetentionRule.last) slot \(slot)"
        case .newestOfEach(let period, let isOldest):
            "\(RetentionRule.newestOfEach(period.unit)) \(period)\(isOldest ? " (oldest)" : "")"
        case .newestOfEachWithin(let period, let span, let isOldest):
            "\(RetentionRule.newestOfEachWithin(period.unit)) \(span) \(period)\(isOldest ? " (oldest)" : "")"
        case .floor(true): "the newest verified snapshot of its lineage"
        case .floor(false): "the newest snapshot of its lineage, of which none is verified"
        case .noPolicy: "no policy is for it"
        case .alarm(let kind): "frozen: alarm '\(kind)' stands"
        case .head: "the head of its lineage"
        case .newestVerified: "the newest verified snapshot of its lineage"
        case .undone(let until): "brought back; spared until \(until)"
        }
    }
}

/// Why one rule does not keep a snapshot.
package enum ExpiryReason: Hashable, Sendable, CustomStringConvertible {
    case otherLabels(LabelFilter)
    case outside(RetentionRule, CalendarSpan)
    case slotsUsedUp(RetentionRule, KeepCount)
    /// A newer snapshot of the same period is kept by this rule.
    case newerInPeriod(RetentionRule, CalendarPeriod)
    /// A snapshot of the same period is kept by a rule before this one; in mode pbs only.
    case periodCovered(RetentionRule, CalendarPeriod)

    package var description: String {
        switch self {
        case .otherLabels(let filter): "\(RetentionRule.tag) '\(filter)': its labels differ"
        case .outside(let rule, let span): "\(rule) \(span): it is older"
        case .slotsUsedUp(let rule, let count): "\(rule) \(count): newer snapshots use up the slots"
        case .newerInPeriod(let rule, let period): "\(rule): a newer snapshot of \(period) is kept"
        case .periodCovered(let rule, let period): "\(rule): an earlier rule keeps a snapshot of \(period)"
        }
    }
}
