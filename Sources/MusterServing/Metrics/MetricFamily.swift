/// A set of values that is known when the program is built: only such may label a metric.
package protocol MetricLabel: RawRepresentable, CaseIterable, Hashable, Sendable where RawValue == String {}

/// What a metric is called, and what it says.
///
/// Names are `muster_<noun>_<unit>`, with `_total` where they only ever grow.
package struct MetricName: Hashable, Sendable {
    package enum Kind: String, Sendable { case counter, gauge, histogram }

    package let text: String
    package let kind: Kind
    package let help: String

    package init(_ text: String, _ kind: Kind, _ help: String) {
        (self.text, self.kind, self.help) = (text, kind, help)
    }
}

/// One metric with all its series, as it is at this moment.
package struct MetricFamily: Sendable {
    package struct Sample: Sendable {
        /// Of a histogram: `_bucket`, `_sum` or `_count`; "" otherwise.
        var suffix = ""
        var labels: [(name: String, value: String)] = []
        var value: Double
    }

    package let name: MetricName
    package private(set) var samples: [Sample] = []

    package init(_ name: MetricName, _ value: Double) {
        self.name = name
        samples = [Sample(value: value)]
    }

    /// One series for each value of the label, those that are missing with 0.
    package init<Label: MetricLabel>(_ name: MetricName, by label: String, _ values: [Label: Double]) {
        self.name = name
        samples = Label.allCases.map { Sample(labels: [(label, $0.rawValue)], value: values[$0] ?? 0) }
    }

    /// One series for each thing that an operator named; at most so many, as names are not in any type.
    package init(_ name: MetricName, by label: String, named values: [(name: String, value: Double)]) {
        self.name = name
        samples = values.prefix(Self.mostNamed).map { Sample(labels: [(label, $0.name)], value: $0.value) }
    }

    init(_ name: MetricName, samples: [Sample]) { (self.name, self.samples) = (name, samples) }

    package static let mostNamed = 64
}

/// The text exposition format 0.0.4 of Prometheus.
package enum PrometheusText {
    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    package static func render(_ families: [MetricFamily]) -> String {
        var text = ""
        for family in families where !family.samples.isEmpty {
            let name = family.name.text
            text += "# HELP \(name) \(escaped(family.name.help, quotes: false))\n"
            text += "# TYPE \(name) \(family.name.kind.rawValue)\n"
            for sample in family.samples {
                text += name + sample.suffix
                if !sample.labels.isEmpty {
                    let labels = sample.labels.map { "\($0.name)=\"\(escaped($0.value, quotes: true))\"" }
                    text += "{" + labels.joined(separator: ",") + "}"
                }
                text += " \(number(sample.value))\n"
            }
        }
        return text
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where quotes: escaped += "\\\""
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        return value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
    }
}
