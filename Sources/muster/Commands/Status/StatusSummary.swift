import MusterAPI
import MusterModel

/// The fleet in one line, for a monitor.
struct StatusSummary {
    private let status: Muster_V1_Status
    private let counts: [AlarmSeverity: UInt64]

    init(_ status: Muster_V1_Status) {
        self.status = status
        counts = status.alarms.reduce(into: [:]) { counts, alarm in
            // A severity that a later coordinator invented is not to be overlooked.
            counts[AlarmSeverity(rawValue: alarm.severity) ?? .critical, default: 0] += max(1, alarm.more)
        }
    }

    var state: MonitorState { MonitorState(worst: counts.filter { $0.value > 0 }.keys.max()) }

    /// `MUSTER CRITICAL - 2 critical, 1 warning: stuck alpha/shop: ... | nodes=3 databases=7 ...`
    var line: String { state.line(text, figures: figures) }

    private var text: String {
        guard state != .ok, let first = status.alarms.first(where: { $0.severity != AlarmSeverity.info.rawValue })
        else {
            return "\(status.nodeCount) nodes, \(status.databaseCount) databases, no alarm"
                + (count(.info) > 0 ? " but \(count(.info)) info" : "")
        }
        let counted = [AlarmSeverity.critical, .warning].filter { count($0) > 0 }
            .map { "\(count($0)) \($0.rawValue)" }.joined(separator: ", ")
        let row = AlarmRow(first)
        let subject = row.subject.isEmpty ? "" : " \(row.subject)"
        return "\(counted): \(row.kind)\(subject): \(row.summary)"
    }

    /// Label=value[unit], as the guidelines have it; a figure that is not known is left out.
    private var figures: [String] {
        var figures = [
            "nodes=\(status.nodeCount)", "databases=\(status.databaseCount)", "snapshots=\(status.snapshotCount)",
            "stored=\(status.storedBytes)B", "critical=\(count(.critical))", "warning=\(count(.warning))",
            "info=\(count(.info))",
        ]
        if status.hasOldestRpoSeconds {
            figures.append("rpo_max=\(Int64(status.oldestRpoSeconds.rounded(.up)))s")
        }
        return figures
    }

    private func count(_ severity: AlarmSeverity) -> UInt64 { counts[severity, default: 0] }
}
