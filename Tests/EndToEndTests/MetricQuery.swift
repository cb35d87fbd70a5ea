/// Metrics as programs tell them: which labels each has, and with which values.
struct ToldMetrics {
    private(set) var labels: [String: [String: Set<String>]] = [:]

    /// - Parameter text: the exposition format, of any number of programs.
    init(text: String) {
        for line in text.split(separator: "\n") {
            guard let sample = line.firstMatch(of: #/^([a-z_]+)(?:\{(.*)\})? [^ ]+$/#) else { continue }
            let name = String(sample.1)
            labels[name] = labels[name] ?? [:]
            for label in (sample.2 ?? "").matches(of: #/([a-z_]+)="((?:[^"\\]|\\.)*)"/#) {
                labels[name, default: [:]][String(label.1), default: []].insert(String(label.2))
            }
        }
    }

    var names: Set<String> { Set(labels.keys) }

    /// Takes in what a program may tell as well: of metrics that are told, labels that are told.
    mutating func add(possible: [String: [String: Set<String>]]) {
        for (name, told) in labels {
            let values = possible[String(name.trimmingSuffix("_bucket"))] ?? [:]
            for label in told.keys { labels[name]?[label]?.formUnion(values[label] ?? []) }
        }
    }
}

extension String {
    fileprivate func trimmingSuffix(_ suffix: String) -> Substring {
        hasSuffix(suffix) ? dropLast(suffix.count) : self[...]
    }
}

/// What an expression of `deploy/monitoring` asks of metrics, as far as it can be compared with what is told.
struct MetricQuery {
    /// What Prometheus itself adds to each series.
    private static let added: Set<String> = ["instance", "job"]
    /// Labels whose values are an operator's words.
    private static let open: Set<String> = ["store", "instance"]

    let expression: String
    /// Labels that a legend or an annotation shows of the result.
    var shown: [String] = []

    /// The series that are asked for; `up` is Prometheus' own.
    private var selectors: [(name: String, matchers: String)] {
        expression.matches(of: #/\b(muster_[a-z_]+|up)\b(?:\{([^}]*)\})?/#).map {
            (String($0.1), String($0.2 ?? ""))
        }
    }

    var metrics: Set<String> { Set(selectors.map(\.name)).subtracting(["up"]) }

    private func labels(after words: Regex<(Substring, Substring)>) -> [String] {
        expression.matches(of: words).flatMap { $0.1.split(separator: ",").map { $0.filter { $0 != " " } } }
    }

    /// What cannot be answered, or would be answered with nothing.
    ///
    /// - Parameter jobs: names of the scrape configuration.
    func faults(in told: ToldMetrics, jobs: Set<String>) -> [String] {
        let joined = labels(after: #/\b(?:on|ignoring|group_left|group_right)\s*\(([^)]*)\)/#)
        let kept = labels(after: #/\bby\s*\(([^)]*)\)/#)
        var faults: [String] = []
        for (name, matchers) in selectors {
            guard let labels = name == "up" ? [:] : told.labels[name] else {
                faults.append("no metric \(name)")
                continue
            }
            var wanted = joined + kept
            for matcher in matchers.matches(of: #/([a-z_]+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"/#) {
                let label = String(matcher.1)
                wanted.append(label)
                guard !Self.open.contains(label) else { continue }
                let known = label == "job" ? jobs : labels[label] ?? []
                faults += matcher.2.split(separator: "|").filter { !known.contains(String($0)) }.map {
                    "\(name) has no \(label) '\($0)'"
                }
            }
            if !isAggregated { wanted += shown }
            let missing = Set(wanted).subtracting(labels.keys).subtracting(Self.added)
            faults += missing.sorted().map { "\(name) has no label \($0)" }
        }
        if isAggregated {
            faults += shown.filter { !kept.contains($0) }.map { "nothing is left of label \($0)" }
        }
        return faults.map { "\($0): \(expression)" }
    }

    /// Of an aggregation only the labels that it is by are left.
    private var isAggregated: Bool {
        expression.contains(#/\b(?:sum|min|max|avg|count|topk|bottomk|quantile|stddev)\b\s*(?:by\b|\()/#)
    }
}
