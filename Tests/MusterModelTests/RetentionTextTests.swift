import MusterModel
import Testing

@Suite("Texts of a retention policy")
struct RetentionTextTests {
    @Test(arguments: [
        ("1y5m7d2h", CalendarSpan(years: 1, months: 5, days: 7, hours: 2), "1y5m7d2h"),
        ("1y1d1m", CalendarSpan(years: 1, months: 1, days: 1), "1y1m1d"),
        ("0d", CalendarSpan(), "0h"),
        ("99999h", CalendarSpan(hours: 99_999), "99999h"),
    ])
    func aSpanIsReadAndWritten(text: String, span: CalendarSpan, written: String) throws {
        #expect(try CalendarSpan(parsing: text) == span)
        #expect(span.description == written)
        #expect(try CalendarSpan(parsing: written) == span)
    }

    @Test(arguments: [
        ("", RetentionError.spanWithoutUnit("")), ("7", .spanWithoutUnit("7")), ("d", .spanWithoutUnit("d")),
        ("-1d", .spanWithoutUnit("-1d")), ("1d ", .spanWithoutUnit("1d ")), ("2w", .unknownUnit("w", "2w")),
        // The m is months, and what follows has no number.
        ("30min", .spanWithoutUnit("30min")), ("1d2d", .unitTwice("d", "1d2d")),
        ("100000h", .spanTooLong("100000h")), ("99999999999999999999y", .spanTooLong("99999999999999999999y")),
        ("١d", .spanWithoutUnit("١d")),
    ])
    func whatIsNoSpanIsRefused(text: String, error: RetentionError) {
        #expect(throws: error) { try CalendarSpan(parsing: text) }
    }

    @Test(arguments: [("0", KeepCount.atMost(0)), ("7", .atMost(7)), ("-1", .unlimited), ("unlimited", .unlimited)])
    func aCountIsRead(text: String, count: KeepCount) throws {
        #expect(try KeepCount(parsing: text) == count)
        #expect(count.isOff == (text == "0"))
    }

    @Test(arguments: ["", "-2", "7d", "+7", " 7", "1234567890", "all"])
    func whatIsNoCountIsRefused(text: String) {
        #expect(throws: RetentionError.notACount(text)) { try KeepCount(parsing: text) }
    }

    @Test(arguments: [",", "a,", "=b", "a,,b"])
    func aLabelWithoutAKeyIsRefused(text: String) {
        #expect(throws: RetentionError.labelWithoutKey(text)) { try LabelFilter(parsing: text) }
    }

    @Test(arguments: [
        ("keep-tag=a", RetentionRule.tag), ("keep-within=1d", .within),
        ("keep-within-weekly=1m keep-within-daily=1d", .newestOfEachWithin(.day)),
    ])
    func aRuleThatTheModeDoesNotHaveIsRefused(policy: String, rule: RetentionRule) {
        let error = #expect(throws: RetentionError.self) { try RetentionFixture.policy(policy, mode: .pbs) }
        #expect(error == .notInMode(.pbs, rule))
        #expect(error?.summary == "retention mode 'pbs' has no \(rule)")
        #expect(error?.hint == "Leave out --\(rule), or use --mode restic.")
    }
}
