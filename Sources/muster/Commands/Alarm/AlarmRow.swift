import MusterAPI

struct AlarmRow: Row {
    static let columns = ["severity", "alarm", "of", "what", "hint"]
    let kind, severity, node, database, store, summary, hint, since: String
    let more: UInt64

    init(_ alarm: Muster_V1_Alarm) {
        (kind, severity, store, more) = (alarm.kind, alarm.severity, alarm.store, alarm.more)
        (node, database) = (alarm.node, alarm.database)
        (summary, hint, since) = (alarm.summary, alarm.hint, alarm.since)
    }

    var cells: [String] { [severity, kind, subject, summary, hint] }

    /// Of what it is; "" where it is of the whole fleet.
    var subject: String { [node, database, store].filter { !$0.isEmpty }.joined(separator: "/") }
}
