/// Columns padded with spaces, no colours, no lines: easy to read and to cut.
enum Table {
    static func text(columns: [String], rows: [[String]]) -> String {
        let all = [columns.map { $0.uppercased() }] + rows.map { $0.map(oneLine) }
        let widths = columns.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                line += cell
                if column < row.count - 1 { line += String(repeating: " ", count: widths[column] - cell.count + 2) }
            }
            return line
        }.joined(separator: "\n")
    }

    /// Names may hold newlines and control characters; a cell may not.
    private static func oneLine(_ cell: String) -> String {
        guard !cell.isEmpty else { return "-" }
        var line = ""
        for scalar in cell.unicodeScalars {
            if scalar.value < 0x20 || (0x7f..<0xa0).contains(scalar.value) {
                line += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                line.unicodeScalars.append(scalar)
            }
        }
        return line
    }
}

enum Quantity {
    /// `1.5 GiB`; exact below 1 KiB.
    static func bytes(_ count: UInt64) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
        var value = Double(count)
        var unit = 0
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return unit == 0 ? "\(count) B" : "\(tenths(value)) \(units[unit])"
    }

    static func seconds(_ seconds: Double) -> String { "\(tenths(seconds)) s" }

    /// `12.5 s`, `3 min`, `2 h`, `9 d`: never less than it is by more than a tenth.
    static func age(_ seconds: Double) -> String {
        switch seconds {
        case ..<120: Self.seconds(seconds)
        case ..<7200: "\(Int((seconds / 60).rounded(.up))) min"
        case ..<172_800: "\(Int((seconds / 3600).rounded(.up))) h"
        default: "\(Int((seconds / 86_400).rounded(.up))) d"
        }
    }

    private static func tenths(_ value: Double) -> String {
        let tenths = Int((min(max(value, 0), 1e15) * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}
