import MusterModel

/// How figures and times are written on the pages.
enum PageText {
    static func bytes(_ count: Int64) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
        var (value, unit) = (Double(max(0, count)), 0)
        while value >= 1023.95, unit < units.count - 1 { (value, unit) = (value / 1024, unit + 1) }
        guard value < 99.95 else { return "\(Int(value.rounded())) \(units[unit])" }
        let text = tenths(value)
        return "\(text.hasSuffix(".0") ? String(text.dropLast(2)) : text) \(units[unit])"
    }

    /// With one digit after the point below 100, without above.
    static func tenths(_ value: Double) -> String {
        guard value < 99.95 else { return grouped(Int(value.rounded())) }
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    /// 12345 as 12,345.
    static func grouped(_ number: Int) -> String {
        let digits = String(number.magnitude)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index).isMultiple(of: 3) { text += "," }
            text.append(digit)
        }
        return (number < 0 ? "-" : "") + text
    }

    /// With a capital letter in front.
    static func title(_ text: String) -> String { text.prefix(1).uppercased() + text.dropFirst() }

    static func count(_ number: Int, _ one: String, _ many: String? = nil) -> String {
        "\(grouped(number)) \(number == 1 ? one : many ?? one + "s")"
    }

    /// The two largest units: `3 h 20 min`, `2 d`; below a second milliseconds.
    static func span(_ duration: Duration) -> String {
        let seconds = Int64(max(0, duration.inSeconds))
        guard seconds >= 1 else {
            let milliseconds = max(0, duration.microseconds / 1000)
            return milliseconds == 0 ? "0 s" : "\(milliseconds) ms"
        }
        let units: [(name: String, size: Int64)] = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)]
        guard let first = units.firstIndex(where: { seconds >= $0.size }) else { return "0 s" }
        let (large, rest) = seconds.quotientAndRemainder(dividingBy: units[first].size)
        guard first + 1 < units.count, large < 10 else { return "\(large) \(units[first].name)" }
        let small = rest / units[first + 1].size
        return "\(large) \(units[first].name)" + (small > 0 ? " \(small) \(units[first + 1].name)" : "")
    }

    static func ago(_ moment: Timestamp, now: Timestamp) -> String {
        now - moment < .seconds(1) ? "just now" : span(now - moment) + " ago"
    }

    /// `2026-11-29 18:05:11 UTC`.
    static func moment(_ moment: Timestamp) -> String {
        let text = moment.description
        return "\(text.prefix(10)) \(text.dropFirst(11).prefix(8)) UTC"
    }

    static func share(_ part: Int, of whole: Int) -> String {
        guard whole > 0 else { return "0 %" }
        // All of it only where it is all of it, and nothing only where it is nothing.
        let percent = Int((Double(part) / Double(whole) * 100).rounded())
        return "\(part == 0 ? 0 : part == whole ? 100 : min(99, max(1, percent))) %"
    }
}
