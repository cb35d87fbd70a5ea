/// Why a text is no part of a retention policy.
package enum RetentionError: ActionableError, Hashable {
    case notACount(String)
    case spanWithoutUnit(String)
    case unknownUnit(Character, String)
    case unitTwice(Character, String)
    case spanTooLong(String)
    case labelWithoutKey(String)
    case notInMode(RetentionPolicy.Mode, RetentionRule)
    case unknownMode(String)
    case unknownRule(String)
    case tooLong(String)
    case keepsNothing

    package var summary: String {
        switch self {
        case .notACount(let text): "'\(text)' is no number of snapshots to keep"
        case .spanWithoutUnit(let text): "span '\(text)' is not made of numbers that are each followed by a unit"
        case .unknownUnit(let unit, let text): "span '\(text)' has the unknown unit '\(unit)'"
        case .unitTwice(let unit, let text): "span '\(text)' has the unit '\(unit)' twice"
        case .spanTooLong(let text): "span '\(text)' has a number above \(CalendarSpan.most)"
        case .labelWithoutKey(let text): "'\(text)' holds a label without a key"
        case .notInMode(let mode, let rule): "retention mode '\(mode.rawValue)' has no \(rule)"
        case .unknownMode(let text): "there is no retention mode '\(text.prefix(40))'"
        case .unknownRule(let text): "there is no retention rule '\(text)'"
        case .tooLong(let text): "'\(text)' of the retention policy is too long"
        case .keepsNothing: "the retention policy names nothing to keep"
        }
    }

    package var hint: String {
        switch self {
        case .notACount:
            "Give a whole number of at most nine digits, or 'unlimited' (or -1) to keep one of every period."
        case .spanWithoutUnit, .unitTwice:
            "Write years, months, days and hours, each at most once, as in 1y5m7d2h."
        case .unknownUnit:
            "Use y for years, m for months, d for days and h for hours; a week is 7d."
        case .spanTooLong:
            "Use a larger unit, as in 1y5m7d2h, or give a count of 'unlimited' instead."
        case .labelWithoutKey:
            "Write labels as key=value or key, with commas between them and no comma at either end."
        case .notInMode(_, let rule):
            "Leave out --\(rule), or use --mode restic."
        case .unknownMode: "Use restic or pbs."
        case .unknownRule: "Check that both sides run the same version of Muster."
        case .tooLong: "Give at most \(RetentionTerms.mostTags) labels, and short texts."
        case .keepsNothing:
            "Give at least one rule, such as --keep-daily 7 or --keep-last unlimited; --remove takes a policy away."
        }
    }

    package var isTransient: Bool { false }
}
