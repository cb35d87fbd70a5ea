package import CoreMetrics
import Synchronization

/// Keeps what swift-metrics counts, and tells it as families.
///
/// It is handed on as a factory, never installed for the whole process: tests run several roles in one. Counting is an
/// atomic addition; the lock is for making series and for telling them. The number of series is bounded whatever
/// is asked for: what comes later counts nowhere, and that is counted.
package final class MetricsRegistry: MetricsFactory, Sendable {
    package static let mostSeries = 4096
    package static let dropped = MetricName(
        "muster_metrics_dropped_total", .counter, "Series that were not made, as there are too many.")

    private struct Series {
        let labels: [(name: String, value: String)]
        let cell: any MetricCell
    }

    private struct Family {
        var name: MetricName
        var series: [String: Series] = [:]
    }

    private struct State {
        var families: [String: Family] = [:]
        var seriesCount = 0
        var dropped = 0
    }

    private let state = Mutex(State())
    private let names: [String: MetricName]

    /// - Parameter names: what the metrics say; others have no help text.
    package init(_ names: [MetricName]) {
        self.names = Dictionary(names.map { ($0.text, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// In the order of their names. A series with labels is told once it counted something.
    package var families: [MetricFamily] {
        state.withLock { state in
            let families = state.families.values.sorted { $0.name.text < $1.name.text }.map { family in
                let series = family.series.sorted { $0.key < $1.key }.map(\.value)
                return MetricFamily(
                    family.name,
                    samples: series.filter { $0.labels.isEmpty || $0.cell.isTouched }.flatMap { series in
                        series.cell.samples.map { sample in
                            var sample = sample
                            sample.labels = series.labels + sample.labels
                            return sample
                        }
                    })
            }
            return families + [MetricFamily(Self.dropped, Double(state.dropped))]
        }
    }

    /// Of each metric each label with all values that it was made with, counted or not yet.
    var madeLabels: [String: [String: Set<String>]] {
        state.withLock { state in
            state.families.mapValues { family in
                family.series.values.flatMap(\.labels).reduce(into: [:]) { $0[$1.name, default: []].insert($1.value) }
            }
        }
    }

    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        cell(label, .counter, dimensions) { CounterCell() }
    }

    package func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        guard aggregate else { return cell(label, .gauge, dimensions) { GaugeCell() } }
        return cell(label, .histogram, dimensions) { HistogramCell(bounds: HistogramCell.byteBounds) }
    }

    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        cell(label, .histogram, dimensions) { HistogramCell(bounds: HistogramCell.secondBounds) }
    }

    // Whoever makes a series does so once, for the life of the process.
    package func destroyCounter(_ handler: any CounterHandler) {}
    package func destroyRecorder(_ handler: any RecorderHandler) {}
    package func destroyTimer(_ handler: any TimerHandler) {}

    /// The same name and labels give the same cell.
    private func cell<Cell: MetricCell>(
        _ label: String, _ kind: MetricName.Kind, _ dimensions: [(String, String)], make: () -> Cell
    ) -> Cell {
        let labels = dimensions.sorted { $0.0 < $1.0 }.map { (name: $0.0, value: $0.1) }
        let key = labels.map { "\($0.name)\0\($0.value)" }.joined(separator: "\0")
        return state.withLock { state in
            let known = names[label] ?? MetricName(label, kind, "")
            var family = state.families[label] ?? Family(name: known)
            if let cell = family.series[key]?.cell as? Cell { return cell }
            let cell = make()
            guard family.series[key] == nil, family.name.kind == kind, state.seriesCount < Self.mostSeries else {
                state.dropped += 1
                return cell
            }
            family.series[key] = Series(labels: labels, cell: cell)
            state.seriesCount += 1
            state.families[label] = family
            return cell
        }
    }
}

protocol MetricCell: AnyObject, Sendable {
    var isTouched: Bool { get }
    var samples: [MetricFamily.Sample] { get }
}

private final class CounterCell: MetricCell, CounterHandler {
    private let value = Atomic<Int64>(0)

    var isTouched: Bool { value.load(ordering: .relaxed) != 0 }
    var samples: [MetricFamily.Sample] { [.init(value: Double(value.load(ordering: .relaxed)))] }

    func increment(by amount: Int64) { value.wrappingAdd(max(0, amount), ordering: .relaxed) }
    func reset() { value.store(0, ordering: .relaxed) }
}

private final class GaugeCell: MetricCell, RecorderHandler {
    private let bits = Atomic<UInt64>(Double.nan.bitPattern)

    private var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }
    var isTouched: Bool { !value.isNaN }
    var samples: [MetricFamily.Sample] { isTouched ? [.init(value: value)] : [] }

    func record(_ value: Int64) { record(Double(value)) }
    func record(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }
}

/// Fixed buckets. What is told while others count may be a few values apart from its sum.
private final class HistogramCell: MetricCell, TimerHandler, RecorderHandler {
    static let secondBounds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60]
    static let byteBounds = (10...30).map { Double(1 << $0) }

    private final class Bucket: Sendable {
        let count = Atomic<Int64>(0)
    }

    private let bounds: [Double]
    /// One more than bounds: the last has no end.
    private let buckets: [Bucket]
    /// In millionths, so that an addition is one instruction.
    private let sum = Atomic<Int64>(0)

    init(bounds: [Double]) {
        self.bounds = bounds
        buckets = (0...bounds.count).map { _ in Bucket() }
    }

    var isTouched: Bool { buckets.contains { $0.count.load(ordering: .relaxed) > 0 } }

    var samples: [MetricFamily.Sample] {
        var total: Int64 = 0
        var samples: [MetricFamily.Sample] = []
        for (index, bucket) in buckets.enumerated() {
            total += bucket.count.load(ordering: .relaxed)
            let end = index < bounds.count ? PrometheusText.number(bounds[index]) : "+Inf"
            samples.append(.init(suffix: "_bucket", labels: [("le", end)], value: Double(total)))
        }
        samples.append(.init(suffix: "_sum", value: Double(sum.load(ordering: .relaxed)) / 1_000_000))
        samples.append(.init(suffix: "_count", value: Double(total)))
        return samples
    }

    func recordNanoseconds(_ duration: Int64) { count(Double(duration) / 1e9, millionths: duration / 1000) }
    func record(_ value: Int64) {
        count(Double(value), millionths: value.multipliedReportingOverflow(by: 1_000_000).partialValue)
    }
    func record(_ value: Double) { count(value, millionths: Int64(min(max(value, -9e12), 9e12) * 1_000_000)) }

    private func count(_ value: Double, millionths: Int64) {
        buckets[bounds.firstIndex { value <= $0 } ?? bounds.count].count.wrappingAdd(1, ordering: .relaxed)
        sum.wrappingAdd(millionths, ordering: .relaxed)
    }
}
