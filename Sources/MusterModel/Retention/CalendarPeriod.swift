/// The periods of the UTC calendar that retention counts. A week is an ISO week: it starts on Monday.
package enum CalendarUnit: Int, Sendable, CaseIterable, Comparable {
    case minute, hour, day, week, month, year

    package var adverb: String {
        switch self {
        case .minute: "minutely"
        case .hour: "hourly"
        case .day: "daily"
        case .week: "weekly"
        case .month: "monthly"
        case .year: "yearly"
        }
    }

    /// No period of this kind is longer.
    var longest: Duration {
        switch self {
        case .minute: .seconds(60)
        case .hour: .seconds(3600)
        case .day: .seconds(86_400)
        case .week: .seconds(7 * 86_400)
        case .month: .seconds(31 * 86_400)
        case .year: .seconds(366 * 86_400)
        }
    }

    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// One minute, hour, day, week, month or year.
///
/// It is a number and not a text: a catalog of a million snapshots asks for several of each.
package struct CalendarPeriod: Hashable, Sendable, CustomStringConvertible {
    package let unit: CalendarUnit
    /// Counted from the one that holds 1970-01-01.
    private let number: Int64

    package init(_ unit: CalendarUnit, of moment: Timestamp) {
        self.unit = unit
        switch unit {
        case .minute: number = moment.microseconds.flooredDivision(by: 60_000_000).quotient
        case .hour: number = moment.microseconds.flooredDivision(by: 3_600_000_000).quotient
        case .day: number = moment.day
        // 1970-01-01 was a Thursday.
        case .week: number = (moment.day + 3).flooredDivision(by: 7).quotient
        case .month:
            let (year, month, _) = Timestamp.civilDate(daysSince1970: moment.day)
            number = (year - 1970) * 12 + month - 1
        case .year: number = Timestamp.civilDate(daysSince1970: moment.day).year - 1970
        }
    }

    /// As much of RFC 3339 as names it: `2026-11-23T22:05`, `2026-11-23T22`, `2026-11-23`, `2026-W48`, `2026-11`,
    /// `2026`.
    package var description: String {
        switch unit {
        case .minute: return String(start.description.dropLast(4))
        case .hour: return String(start.description.dropLast(7))
        case .day: return String(start.description.dropLast(10))
        case .week: return weekText
        case .month: return String(start.description.dropLast(13))
        case .year: return String(start.description.dropLast(16))
        }
    }

    private var start: Timestamp {
        switch unit {
        case .minute:
            let (day, minute) = number.flooredDivision(by: 1440)
            return Timestamp(day: day, microsecondOfDay: minute * 60_000_000)
        case .hour:
            let (day, hour) = number.flooredDivision(by: 24)
            return Timestamp(day: day, microsecondOfDay: hour * 3_600_000_000)
        case .day: return Timestamp(day: number)
        case .week: return Timestamp(day: number * 7 - 3)
        case .month:
            let (years, month) = number.flooredDivision(by: 12)
            return Timestamp(day: Timestamp.daysSince1970(1970 + years, month + 1, 1))
        case .year: return Timestamp(day: Timestamp.daysSince1970(1970 + number, 1, 1))
        }
    }

    /// A week belongs to the year that its Thursday lies in.
    private var weekText: String {
        let thursday = number * 7
        let year = Timestamp.civilDate(daysSince1970: thursday).year
        let week = (thursday - Timestamp.daysSince1970(year, 1, 1)) / 7 + 1
        return "\(Timestamp(day: thursday).description.dropLast(16))-W\(week < 10 ? "0" : "")\(week)"
    }
}

extension Timestamp {
    /// Days since 1970-01-01.
    var day: Int64 { microseconds.flooredDivision(by: 86_400_000_000).quotient }
    var microsecondOfDay: Int64 { microseconds.flooredDivision(by: 86_400_000_000).remainder }

    /// What lies beyond the last moment that fits is that moment.
    init(day: Int64, microsecondOfDay: Int64 = 0) {
        let (midnight, overflows) = day.multipliedReportingOverflow(by: 86_400_000_000)
        let (moment, overflowsAgain) = midnight.addingReportingOverflow(microsecondOfDay)
        self.init(microseconds: overflows || overflowsAgain ? (day < 0 ? .min : .max) : moment)
    }
}
