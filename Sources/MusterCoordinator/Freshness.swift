import MusterCatalog
import MusterModel

/// How much of a database would be lost now, as far as can be known here: what it is worth in `status`.
///
/// Zero is claimed only where the node vouched for it, in a report that is not old, and newer than the newest receipt.
/// In all other cases it is the age of the newest receipt's capture. So an agent that is stuck, dead or cut off
/// never looks healthy: what it last said gets old.
struct Freshness {
    /// Without an objective a database may go without a receipt for so often its interval.
    static let intervals = 3

    private let database: Catalog.Database
    private let node: NodeSilence
    private let now: Timestamp

    init(_ database: Catalog.Database, of node: NodeSilence, now: Timestamp) {
        (self.database, self.node, self.now) = (database, node, now)
    }

    /// When the node last vouched for what is known of the database.
    var vouchedAt: Timestamp? {
        guard let reported = database.reportedAt else { return nil }
        guard isProtected, let whole = node.standing else { return reported }
        return max(reported, whole.at)
    }

    /// How long its changes may go without a receipt.
    private var objective: Duration {
        database.freshnessMilliseconds > 0
            ? .milliseconds(database.freshnessMilliseconds) : node.objective ?? database.interval * Self.intervals
    }

    /// nil where there is no snapshot.
    var recoveryPoint: Duration? {
        guard let received = database.newestReceivedAt, let created = database.newestCreatedAt else { return nil }
        if isUnchanged(since: received) { return .zero }
        // Whichever clock says that it is older: the node's may have been set.
        return max(.zero, now - received, now + node.clockOffset - created)
    }

    /// Since when, where its changes are without a receipt for longer than its schedule explains.
    var stuckSince: Timestamp? {
        guard isProtected, database.capture != "paused", let since = database.unprotectedSince else { return nil }
        let patience = objective + node.tolerance
        return now + node.clockOffset - since > patience ? since : nil
    }

    private var isProtected: Bool { database.state != Catalog.removedState }

    private func isUnchanged(since received: Timestamp) -> Bool {
        guard let vouchedAt, vouchedAt >= received, isProtected, database.capture != "paused", !node.isLate else {
            return false
        }
        let validity = max(node.period * 2, database.interval)
        return now - vouchedAt <= validity && !database.hasChanged && database.unprotectedSince == nil
            && database.changeCounter != 0 && database.changeCounter == database.receiptChangeCounter
    }
}

/// Whether a node still speaks, and what its last words are worth.
struct NodeSilence {
    /// Where a node did not say how often it reports.
    private static let usualPeriod = Duration.seconds(30)
    /// A node that has joined and not reported yet: its agent may be started later.
    private static let patienceAtFirst = Duration.seconds(15 * 60)

    let standing: ReportBook.Standing?
    let clockOffset: Duration
    /// For what may be late without a reason to worry.
    let tolerance: Duration
    /// The fleet's, for databases that have none of their own; nil for what their schedules explain.
    let objective: Duration?
    let node: Catalog.NodeOutline
    private let startedAt: Timestamp
    private let now: Timestamp

    /// - Parameter startedAt: of this coordinator, before which nobody could reach it.
    init(
        _ node: Catalog.NodeOutline, _ standing: ReportBook.Standing?, startedAt: Timestamp, tolerance: Duration,
        objective: Duration? = nil, now: Timestamp
    ) {
        (self.tolerance, self.objective) = (tolerance, objective)
        (self.node, self.standing, self.startedAt, self.now) = (node, standing, startedAt, now)
        clockOffset = node.clockOffset ?? .zero
    }

    var period: Duration { standing?.period ?? Self.usualPeriod }

    /// When it last reported, or joined.
    var lastReport: Timestamp {
        [standing?.at, node.reportedAt, node.joinedAt].compactMap { $0 }.max() ?? node.joinedAt
    }

    /// True where its last report is older than any that follows another should be.
    var isLate: Bool { now - lastReport > patience }

    /// When it was last heard of, where that is too long ago.
    var since: Timestamp? {
        guard node.state == .active, now - max(lastReport, startedAt) > patience else { return nil }
        return lastReport
    }

    private var patience: Duration {
        standing == nil && node.reportedAt == nil
            ? Self.patienceAtFirst : period * 2 + tolerance
    }
}

extension Catalog.Database {
    fileprivate var interval: Duration { .milliseconds(intervalMilliseconds) }
}
