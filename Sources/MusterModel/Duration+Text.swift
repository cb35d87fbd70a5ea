extension Duration {
    /// Parses `90s`, `5m`, `1h30m`, `2d`, `250ms`: whole numbers with units, largest first by custom.
    ///
    /// - Returns: nil for anything else, and for spans beyond ten years.
    package init?(text: String) {
        let units: [(suffix: String, milliseconds: Int64)] = [
            ("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000),
        ]
        var rest = Substring(text)
        var total: Int64 = 0
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            guard digits.count <= 9, let count = Int64(digits) else { return nil }
            rest = rest.dropFirst(digits.count)
            guard let unit = units.first(where: { rest.hasPrefix($0.suffix) }) else { return nil }
            rest = rest.dropFirst(unit.suffix.count)
            total += count * unit.milliseconds
            guard total <= 3650 * 86_400_000 else { return nil }
        }
        self = .milliseconds(total)
    }

    /// The shortest text that `init(text:)` takes back, to the millisecond: `1h30m`, `250ms`.
    package var text: String {
        var milliseconds = microseconds / 1000
        guard milliseconds > 0 else { return "0s" }
        var text = ""
        for (suffix, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)]
            as [(String, Int64)]
        {
            let count = milliseconds / size
            if count > 0 { text += "\(count)\(suffix)" }
            milliseconds -= count * size
        }
        return text
    }
}
