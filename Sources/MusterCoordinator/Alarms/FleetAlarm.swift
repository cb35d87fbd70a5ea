import MusterAPI
import MusterCatalog
import MusterModel

/// Something that a person should look at, and of whom.
struct FleetAlarm: Hashable, Sendable {
    let kind: AlarmKind
    var severity: AlarmSeverity
    /// Names, for people; "" where it is of none.
    var node = ""
    var database = ""
    var store = ""
    /// Tells apart what may stand beside each other of one subject.
    private(set) var aspect = ""
    var nodeID: NodeID?
    var databaseID: DatabaseID?
    let summary: String
    let hint: String
    var since: Timestamp?
    /// How many more of its kind it stands for; of nobody in particular then.
    var more = 0

    init(
        _ kind: AlarmKind, severity: AlarmSeverity? = nil, _ summary: String, hint: String, since: Timestamp? = nil
    ) {
        (self.kind, self.severity) = (kind, severity ?? kind.severity)
        (self.summary, self.hint, self.since) = (summary, hint, since)
    }

    func of(_ node: Catalog.Node) -> Self {
        var alarm = self
        (alarm.node, alarm.nodeID) = (node.name, node.id)
        return alarm
    }

    func of(_ database: Catalog.Database) -> Self {
        var alarm = self
        (alarm.node, alarm.nodeID) = (database.nodeName, database.node)
        (alarm.database, alarm.databaseID) = (database.name, database.id)
        return alarm
    }

    func of(store: String, aspect: String = "") -> Self {
        var alarm = self
        (alarm.store, alarm.aspect) = (store, aspect)
        return alarm
    }

    /// The same for the same trouble as long as it lasts, whatever is said of it.
    var key: String {
        let subject = databaseID.map(\.description) ?? nodeID.map(\.description) ?? store
        return "\(kind.rawValue)/\(more > 0 ? "more" : subject)" + (aspect.isEmpty ? "" : "/\(aspect)")
    }

    /// At most so many of each kind are told one by one.
    static let mostOfAKind = 50

    /// The worst first, then by kind, the oldest first; of each kind a bounded number, and how many more there are.
    static func bounded(_ alarms: [FleetAlarm]) -> [FleetAlarm] {
        let groups = Dictionary(grouping: alarms, by: \.kind)
        let bounded = AlarmKind.allCases.flatMap { kind -> [FleetAlarm] in
            let group = (groups[kind] ?? []).sorted { a, b in
                (b.severity, a.since ?? .distantFuture, a.key) < (a.severity, b.since ?? .distantFuture, b.key)
            }
            guard group.count > mostOfAKind else { return group }
            let rest = group.dropFirst(mostOfAKind)
            var sum = FleetAlarm(
                kind, severity: rest.map(\.severity).max(),
                "and \(rest.count.grouped) more: \(rest.first?.summary ?? "")",
                hint: group[0].hint, since: rest.compactMap(\.since).min())
            sum.more = rest.count
            return group.prefix(mostOfAKind) + [sum]
        }
        // Stable, as the kinds are in order already.
        return AlarmSeverity.allCases.reversed().flatMap { severity in bounded.filter { $0.severity == severity } }
    }

    /// How many stand, those that are not told one by one included.
    static func counts(_ alarms: [FleetAlarm]) -> [AlarmKind: Int] {
        alarms.reduce(into: [:]) { counts, alarm in counts[alarm.kind, default: 0] += max(1, alarm.more) }
    }
}

extension Timestamp {
    fileprivate static let distantFuture = Timestamp(microseconds: .max)
}

extension Int {
    /// With a comma between thousands.
    fileprivate var grouped: String {
        var digits = Array(String(self))
        for place in stride(from: digits.count - 3, to: 0, by: -3) { digits.insert(",", at: place) }
        return String(digits)
    }
}

extension Muster_V1_Alarm {
    init(_ alarm: FleetAlarm) {
        self.init()
        (kind, severity) = (alarm.kind.rawValue, alarm.severity.rawValue)
        (node, database, store) = (alarm.node, alarm.database, alarm.store)
        (summary, hint, since) = (alarm.summary, alarm.hint, alarm.since?.description ?? "")
        more = UInt64(alarm.more)
    }
}
