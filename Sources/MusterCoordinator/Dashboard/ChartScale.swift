import MusterModel

/// What a chart measures: how its axis is divided, and how a value is written.
enum ChartQuantity {
    case bytes, duration, count

    func text(_ value: Double) -> String {
        switch self {
        case .bytes: PageText.bytes(Int64(value))
        case .duration: PageText.span(.milliseconds(Int64(value * 1000)))
        case .count: PageText.grouped(Int(value))
        }
    }

    /// Round values from zero to the first at or above the largest, at most six.
    func ticks(upTo largest: Double) -> [Double] {
        let largest = largest.isFinite ? max(0, largest) : 0
        let step = step(atLeast: max(largest / 4, smallestStep))
        let count = Int((largest / step).rounded(.up))
        return (0...max(1, count)).map { Double($0) * step }
    }

    private var smallestStep: Double { self == .duration ? 0.01 : 1 }

    private func step(atLeast value: Double) -> Double {
        switch self {
        case .bytes:
            var unit = 1.0
            while unit * 1024 <= value { unit *= 1024 }
            return Self.round([1, 2, 5, 10, 20, 50, 100, 200, 250, 500, 1000, 1024].map { $0 * unit }, value)
        case .duration where value > 1:
            let minute = 60.0
            let hour = 3600.0
            let day = 86_400.0
            return Self.round(
                [1, 2, 5, 10, 15, 30, minute, 2 * minute, 5 * minute, 10 * minute, 15 * minute, 30 * minute, hour]
                    + [2 * hour, 3 * hour, 6 * hour, 12 * hour, day, 2 * day, 5 * day, 10 * day, 30 * day, 100 * day],
                value)
        case .duration, .count:
            var unit = smallestStep
            while unit * 10 <= value { unit *= 10 }
            return Self.round([1, 2, 5, 10].map { $0 * unit }, value)
        }
    }

    private static func round(_ steps: [Double], _ value: Double) -> Double {
        steps.first { $0 >= value } ?? (value / (steps.last ?? 1)).rounded(.up) * (steps.last ?? 1)
    }
}

/// Moments along the bottom of a chart.
struct TimeAxis {
    let first: Timestamp
    let last: Timestamp

    init(_ moments: [Timestamp]) {
        first = moments.min() ?? Timestamp(microseconds: 0)
        last = max(moments.max() ?? first, first + .seconds(1))
    }

    /// From 0 at the left to 1 at the right.
    func place(_ moment: Timestamp) -> Double { (moment - first).inSeconds / (last - first).inSeconds }

    /// A few moments with their texts: of the day where all is within two, else of the date.
    var ticks: [(place: Double, text: String)] {
        let span = last - first
        return (0...3).map { index in
            let moment = first + span * index / 3
            let text = moment.description
            let isShort = span <= .seconds(2 * 86_400)
            let day = "\(text.dropFirst(5).prefix(5))"
            let clock = span <= .seconds(600) ? text.dropFirst(11).prefix(8) : text.dropFirst(11).prefix(5)
            return (Double(index) / 3, isShort ? "\(clock)" : day)
        }
    }
}
