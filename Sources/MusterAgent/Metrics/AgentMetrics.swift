import CoreMetrics
import MusterModel
import MusterServing
import Synchronization

/// How a try at a snapshot ended.
enum AttemptOutcome: String, MetricLabel { case taken, unchanged, failed }

/// How the changes of a database are seen, or why not.
enum WatchedState: String, MetricLabel { case followed, parked, failing, paused, waiting }

enum ReportOutcome: String, MetricLabel { case delivered, failed }

/// What the agent counts while it works, and how its databases stood at the last report.
final class AgentMetrics: Sendable {
    static let snapshotTotal = MetricName(
        "muster_agent_snapshot_total", .counter, "Tries at a snapshot, by how they ended.")
    static let snapshotSeconds = MetricName(
        "muster_agent_snapshot_seconds", .histogram, "From the begin of a capture to the receipt.")
    static let capturedBytes = MetricName(
        "muster_agent_captured_bytes_total", .counter, "Bytes of databases of which a snapshot was acknowledged.")
    static let sentBytes = MetricName(
        "muster_agent_sent_bytes_total", .counter, "Sealed bytes that snapshots added to the stores.")
    static let reportTotal = MetricName("muster_agent_report_total", .counter, "Reports to the coordinator.")
    static let databases = MetricName("muster_agent_database_count", .gauge, "Databases by how they are seen.")
    static let unprotected = MetricName(
        "muster_agent_unprotected_seconds", .gauge, "How long the oldest change has waited for a receipt.")
    static let receiptAge = MetricName(
        "muster_agent_receipt_age_seconds", .gauge, "Age of the oldest newest receipt of any database that changed.")
    static let queue = MetricName("muster_agent_queue_count", .gauge, "Snapshots that wait for their turn.")
    static let cache = MetricName("muster_agent_cache_bytes", .gauge, "Packs that are kept near.")
    static let held = MetricName(
        "muster_agent_wal_held_bytes", .gauge, "The most that the WAL of a database has grown because it is followed.")
    static let pending = MetricName(
        "muster_agent_pending_bytes", .gauge, "What is kept of commits that the coordinator has not answered.")
    static let free = MetricName("muster_agent_free_bytes", .gauge, "Room on the disk of the agent's state.")
    static let reported = MetricName("muster_agent_reported_seconds", .gauge, "When these were computed, since 1970.")
    static let names = [
        snapshotTotal, snapshotSeconds, capturedBytes, sentBytes, reportTotal, databases, unprotected, receiptAge,
        queue, cache, held, pending, free, reported,
    ]

    let registry = MetricsRegistry(names)
    private let captured, sent: Counter
    private let attempts: [AttemptOutcome: Counter]
    private let reports: [ReportOutcome: Counter]
    private let seconds: CoreMetrics.Timer
    private let standing = Mutex<[MetricFamily]>([])

    init() {
        let registry = registry
        captured = Counter(label: Self.capturedBytes.text, factory: registry)
        sent = Counter(label: Self.sentBytes.text, factory: registry)
        seconds = CoreMetrics.Timer(label: Self.snapshotSeconds.text, factory: registry)
        func each<Label: MetricLabel>(_ name: MetricName) -> [Label: Counter] {
            Dictionary(
                Label.allCases.map { label in
                    (label, Counter(label: name.text, dimensions: [("outcome", label.rawValue)], factory: registry))
                }, uniquingKeysWith: { first, _ in first })
        }
        attempts = each(Self.snapshotTotal)
        reports = each(Self.reportTotal)
    }

    var families: [MetricFamily] { standing.withLock { $0 } + registry.families + ProcessFigures.families }

    func count(_ outcome: AttemptOutcome) { attempts[outcome]?.increment() }
    func count(_ outcome: ReportOutcome) { reports[outcome]?.increment() }

    func countTaken(took: Duration) {
        count(.taken)
        seconds.recordNanoseconds(max(0, took.microseconds) * 1000)
    }

    func countSent(imageBytes: UInt64, addedBytes: UInt64) {
        captured.increment(by: Int64(clamping: imageBytes))
        sent.increment(by: Int64(clamping: addedBytes))
    }

    /// What stands besides the databases.
    struct Standing: Sendable {
        let queue, cacheBytes: Int
        let freeBytes, heldWALBytes, pendingBytes: UInt64
    }

    /// How everything stands at a report.
    func note(_ rows: [DatabaseRow], _ besides: Standing, now: Timestamp) {
        let states = rows.reduce(into: [WatchedState: Double]()) { $0[$1.watchedState, default: 0] += 1 }
        let changed = rows.filter { $0.coverage.uncoveredSince != nil }
        let unprotected = changed.compactMap(\.coverage.uncoveredSince).map { (now - $0).inSeconds }.max()
        let age = changed.compactMap(\.coverage.coveredAt).map { (now - $0).inSeconds }.max()
        let families = [
            MetricFamily(Self.databases, by: "state", states),
            MetricFamily(Self.unprotected, max(0, unprotected ?? 0)),
            MetricFamily(Self.receiptAge, max(0, age ?? 0)),
            MetricFamily(Self.queue, Double(besides.queue)), MetricFamily(Self.cache, Double(besides.cacheBytes)),
            MetricFamily(Self.held, Double(besides.heldWALBytes)),
            MetricFamily(Self.pending, Double(besides.pendingBytes)),
            MetricFamily(Self.free, Double(besides.freeBytes)),
            MetricFamily(Self.reported, Double(now.microseconds) / 1_000_000),
        ]
        standing.withLock { $0 = families }
    }
}
