/// A policy in texts: the names of its rules, which are those of the flags, and what each is set to.
///
/// Made from a policy they are canonical: two policies that mean the same have the same terms.
package struct RetentionTerms: Hashable, Sendable, Codable {
    /// No text of the terms may be longer, nor their list of labels.
    package static let longestText = 512
    package static let mostTags = 64

    /// How long what is marked can be brought back, where nobody said otherwise.
    package static let defaultGrace = CalendarSpan(days: 7)

    package var mode = RetentionPolicy.Mode.restic.rawValue
    /// By the rule's name, as in `keep-daily` and `keep-within-hourly`.
    package var rules: [String: String] = [:]
    package var keepTags: [String] = []
    package var minimumAge = "7d"
    /// How long what is marked can be brought back.
    package var grace = Self.defaultGrace.description

    package init() {}

    package init(_ policy: RetentionPolicy, grace: CalendarSpan) {
        mode = policy.mode.rawValue
        rules[RetentionRule.last.description] = policy.keepLast?.description
        rules[RetentionRule.within.description] = policy.keepWithin?.description
        for (unit, count) in policy.keepNewestOfEach {
            rules[RetentionRule.newestOfEach(unit).description] = count.description
        }
        for (unit, span) in policy.keepNewestOfEachWithin {
            rules[RetentionRule.newestOfEachWithin(unit).description] = span.description
        }
        keepTags = policy.keepTags.map(\.description)
        minimumAge = policy.minimumAge.description
        self.grace = grace.description
    }

    /// The policy that they are.
    ///
    /// - Throws: `RetentionError.keepsNothing` for a policy that names no snapshot to keep: what it would leave to
    ///   the floor alone is not what anybody means.
    package func policy() throws(RetentionError) -> RetentionPolicy {
        guard let mode = RetentionPolicy.Mode(rawValue: mode) else { throw .unknownMode(mode) }
        guard keepTags.count <= Self.mostTags else { throw .tooLong("keep-tag") }
        for text in keepTags + [minimumAge, grace] + rules.values where text.utf8.count > Self.longestText {
            throw .tooLong(String(text.prefix(40)))
        }
        var (last, counts): (KeepCount?, [CalendarUnit: KeepCount]) = (nil, [:])
        var (within, spans): (CalendarSpan?, [CalendarUnit: CalendarSpan]) = (nil, [:])
        for (name, text) in rules {
            switch RetentionRule(named: name) {
            case .last: last = try KeepCount(parsing: text)
            case .within: within = try CalendarSpan(parsing: text)
            case .newestOfEach(let unit): counts[unit] = try KeepCount(parsing: text)
            case .newestOfEachWithin(let unit): spans[unit] = try CalendarSpan(parsing: text)
            case .tag, nil: throw .unknownRule(String(name.prefix(40)))
            }
        }
        var tags: [LabelFilter] = []
        for text in keepTags { tags.append(try LabelFilter(parsing: text)) }
        _ = try graceSpan()
        let policy = try RetentionPolicy(
            mode: mode, keepLast: last, keepNewestOfEach: counts, keepWithin: within, keepNewestOfEachWithin: spans,
            keepTags: tags, minimumAge: try CalendarSpan(parsing: minimumAge))
        guard !policy.isEmpty else { throw .keepsNothing }
        return policy
    }

    package func graceSpan() throws(RetentionError) -> CalendarSpan { try CalendarSpan(parsing: grace) }
}

extension RetentionRule {
    /// Every rule but keep-tag, which stands apart as it may be given again.
    package static let named: [RetentionRule] =
        [.last, .within] + CalendarUnit.allCases.map { .newestOfEach($0) }
        + CalendarUnit.allCases.map { .newestOfEachWithin($0) }

    init?(named name: String) {
        guard let rule = Self.named.first(where: { $0.description == name }) else { return nil }
        self = rule
    }
}
