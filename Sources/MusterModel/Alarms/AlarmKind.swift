/// How bad it is. What is only `info` fails no check.
package enum AlarmSeverity: String, Sendable, CaseIterable, Comparable {
    case info, warning, critical

    package static func < (a: Self, b: Self) -> Bool { a.rank < b.rank }

    private var rank: Int { self == .info ? 0 : self == .warning ? 1 : 2 }
}

/// What there are alarms for. Each has its line in the runbook's table, which says what to do.
///
/// The names are a contract: monitors, webhooks and metrics go by them.
package enum AlarmKind: String, Sendable, CaseIterable {
    // What is lost, or about to be.
    case damaged, lost, stuck, failing, superseded, unscanned, catalog
    // What may be an attack: retention waits for a person.
    case fork, flood, size, entropy
    // Two agents that run as one node.
    case twins
    // What is behind.
    case silent, debt
    case verifyOverdue = "verify_overdue"
    case drillOverdue = "drill_overdue"
    case scrubOverdue = "scrub_overdue"
    case backupOverdue = "backup_overdue"
    // What runs out.
    case store, disk, quota, certificate
    // What does not work as it should.
    case gc, clock, webhook, denied
    // What is news, or good to know.
    case replaced, schema, schedule
    case walReset = "wal_reset"

    /// Of an alarm that has no reason to be more or less than usual.
    package var severity: AlarmSeverity {
        switch self {
        case .damaged, .lost, .stuck, .failing, .superseded, .unscanned, .catalog, .fork, .flood, .size, .entropy,
            .twins, .store:
            .critical
        case .silent, .debt, .verifyOverdue, .drillOverdue, .scrubOverdue, .backupOverdue, .disk, .quota, .certificate,
            .gc, .clock, .webhook, .denied, .replaced, .schedule:
            .warning
        case .schema, .walReset: .info
        }
    }

    /// While one of these stands, nothing of its database is given up.
    package static let freezing: [AlarmKind] = [.flood, .size, .entropy, .fork]
    /// These tell of a moment, not of a state: with this age they are no news any more.
    package static let news: [AlarmKind: Duration] = [
        .replaced: .seconds(86_400), .schema: .seconds(7 * 86_400), .schedule: .seconds(7 * 86_400),
    ]
    /// What a person may clear; all others end by themselves.
    package static let clearable: [AlarmKind] = freezing + [.twins, .replaced, .schema, .schedule]
}
