/// A span of years, months, days and hours, such as `1y5m7d2h`. How long it is depends on where it ends.
///
/// As in restic `m` is months, and there is no unit for minutes or weeks.
package struct CalendarSpan: Hashable, Sendable, CustomStringConvertible {
    package let years: Int
    package let months: Int
    package let days: Int
    package let hours: Int

    /// The most of each unit: so far back there is a date for every moment of our era.
    package static let most = 99_999

    package init(years: Int = 0, months: Int = 0, days: Int = 0, hours: Int = 0) {
        let numbers = [years, months, days, hours]
        precondition(numbers.allSatisfy { (0...Self.most).contains($0) }, "a span goes back, and not for ever")
        (self.years, self.months, self.days, self.hours) = (years, months, days, hours)
    }

    /// Parses whole numbers with the units y, m, d and h, each at most once, in any order.
    package init(parsing text: String) throws(RetentionError) {
        var numbers: [Character: Int] = [:]
        var rest = Substring(text)
        repeat {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest.dropFirst(digits.count)
            guard !digits.isEmpty, let unit = rest.popFirst() else { throw .spanWithoutUnit(text) }
            guard "ymdh".contains(unit) else { throw .unknownUnit(unit, text) }
            guard digits.count <= 9, let number = Int(digits), number <= Self.most else { throw .spanTooLong(text) }
            guard numbers.updateValue(number, forKey: unit) == nil else { throw .unitTwice(unit, text) }
        } while !rest.isEmpty
        self.init(
            years: numbers["y"] ?? 0, months: numbers["m"] ?? 0, days: numbers["d"] ?? 0, hours: numbers["h"] ?? 0)
    }

    package var isZero: Bool { years == 0 && months == 0 && days == 0 && hours == 0 }

    package var description: String {
        let parts = [(years, "y"), (months, "m"), (days, "d"), (hours, "h")].filter { $0.0 != 0 }
        return parts.isEmpty ? "0h" : parts.map { "\($0.0)\($0.1)" }.joined()
    }

    /// The moment so long before `moment`.
    ///
    /// Years, months and days are taken off the date first. A day that the month does not have runs over into the next
    /// one: a month before 31 March is 3 March, or 2 March in a leap year. Then the hours are taken off.
    package func before(_ moment: Timestamp) -> Timestamp {
        let (year, month, day) = Timestamp.civilDate(daysSince1970: moment.day)
        let monthNumber = (year - Int64(years)) * 12 + month - 1 - Int64(months)
        let (newYear, newMonth) = monthNumber.flooredDivision(by: 12)
        let newDay = Timestamp.daysSince1970(newYear, newMonth + 1, 1) + day - 1 - Int64(days)
        return Timestamp(day: newDay, microsecondOfDay: moment.microsecondOfDay) - .seconds(3600 * hours)
    }

    /// The moment so long after `moment`, counted as `before` does.
    package func after(_ moment: Timestamp) -> Timestamp {
        let (year, month, day) = Timestamp.civilDate(daysSince1970: moment.day)
        let monthNumber = (year + Int64(years)) * 12 + month - 1 + Int64(months)
        let (newYear, newMonth) = monthNumber.flooredDivision(by: 12)
        let newDay = Timestamp.daysSince1970(newYear, newMonth + 1, 1) + day - 1 + Int64(days)
        return Timestamp(day: newDay, microsecondOfDay: moment.microsecondOfDay) + .seconds(3600 * hours)
    }
}
