/// A moment: microseconds since 1970-01-01T00:00:00Z.
///
/// Its text is RFC 3339 in UTC, with microseconds only where there are any.
package struct Timestamp: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let microseconds: Int64

    package init(microseconds: Int64) { self.microseconds = microseconds }

    package static func < (a: Self, b: Self) -> Bool { a.microseconds < b.microseconds }
    // A moment may come from a stranger: what does not fit is the last one that does.
    package static func + (moment: Self, span: Duration) -> Self {
        let (sum, overflows) = moment.microseconds.addingReportingOverflow(span.microseconds)
        return Self(microseconds: overflows ? (span < .zero ? .min : .max) : sum)
    }
    package static func - (moment: Self, span: Duration) -> Self {
        let (difference, overflows) = moment.microseconds.subtractingReportingOverflow(span.microseconds)
        return Self(microseconds: overflows ? (span < .zero ? .max : .min) : difference)
    }
    package static func - (later: Self, earlier: Self) -> Duration {
        let (difference, overflows) = later.microseconds.subtractingReportingOverflow(earlier.microseconds)
        return .microseconds(overflows ? (later < earlier ? Int64.min : .max) : difference)
    }

    package var description: String {
        let (seconds, fraction) = microseconds.flooredDivision(by: 1_000_000)
        let (days, secondOfDay) = seconds.flooredDivision(by: 86_400)
        let (year, month, day) = Self.civilDate(daysSince1970: days)
        let time = (hour: secondOfDay / 3600, minute: secondOfDay / 60 % 60, second: secondOfDay % 60)
        // A status of a large fleet has tens of thousands of these.
        var text = Digits(capacity: 32)
        text.append(year, width: 4)
        let parts: [(Unicode.Scalar, Int64)] = [
            ("-", month), ("-", day), ("T", time.hour), (":", time.minute), (":", time.second),
        ]
        for (mark, value) in parts {
            text.append(mark)
            text.append(value, width: 2)
        }
        if fraction != 0 {
            text.append(".")
            text.append(fraction, width: 6)
        }
        text.append("Z")
        return text.string
    }

    /// Parses RFC 3339 with any offset and up to nine fractional digits (microseconds are kept).
    package init?(_ text: String) {
        let date = #/(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d{2}):(\d{2}))/#
        guard let match = text.wholeMatch(of: date)?.output else { return nil }
        guard let year = Int64(match.1), let month = Int64(match.2), let day = Int64(match.3),
            let hour = Int64(match.4), let minute = Int64(match.5), let second = Int64(match.6),
            (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second < 61
        else { return nil }
        let fraction = Int64((match.7.map(String.init) ?? "").padded(to: 6).prefix(6)) ?? 0
        let offsetMinutes = (Int64(match.9 ?? "0") ?? 0) * 60 + (Int64(match.10 ?? "0") ?? 0)
        let seconds = Self.daysSince1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
        microseconds = (seconds - (match.8 == "-" ? -offsetMinutes : offsetMinutes) * 60) * 1_000_000 + fraction
    }

    /// The proleptic Gregorian calendar, by eras of 400 years (public-domain algorithm by Howard Hinnant,
    /// "chrono-Compatible Low-Level Date Algorithms").
    static func civilDate(daysSince1970 days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = (days + 719_468).flooredDivision(by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    static func daysSince1970(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let shiftedYear = month <= 2 ? year - 1 : year
        let (era, yearOfEra) = shiftedYear.flooredDivision(by: 400)
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}

/// The wall clock, as a parameter: nothing below the roles reads one by itself.
package protocol WallClock: Sendable {
    func now() -> Timestamp
}

extension Duration {
    /// Whole microseconds, rounded toward zero.
    package var microseconds: Int64 {
        components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000
    }
    package var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}

extension Int64 {
    func flooredDivision(by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String {
        self + String(repeating: "0", count: max(0, width - count))
    }
}

/// A text of numbers on its way.
private struct Digits {
    private var bytes: [UInt8] = []

    init(capacity: Int) { bytes.reserveCapacity(capacity) }

    var string: String { String(decoding: bytes, as: UTF8.self) }

    mutating func append(_ mark: Unicode.Scalar) { bytes.append(UInt8(ascii: mark)) }

    /// With zeros in front, up to the width.
    mutating func append(_ value: Int64, width: Int) {
        guard (0..<10_000).contains(value) || width > 4 else {
            let digits = String(value)
            bytes += Array(repeating: UInt8(ascii: "0"), count: max(0, width - digits.utf8.count)) + Array(digits.utf8)
            return
        }
        var divisor: Int64 = 1
        for _ in 1..<width { divisor *= 10 }
        while divisor > 0 {
            bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value / divisor % 10))
            divisor /= 10
        }
    }
}
