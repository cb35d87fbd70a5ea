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
    /// How many more of its kind it stands for; then of a node as a whole, or of nobody in particular.
    var more = 0

    init(
        _ kind: AlarmKind, severity: AlarmSeverity? = nil, _ summary: String, hint: String, since: Timestamp? = nil
    ) {
        (self.kind, self.severity) = (kind, severity ?? kind.severity)
        (self.summary, self.hint, self.since) = (summary, hint, since)
    }

    func of(_ node: Catalog.NodeOutline) -> Self {
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

    /// Of something that is no node, database or store, which the summary names.
    func about(_ thing: String) -> Self {
        var alarm = self
        alarm.aspect = thing
        return alarm
    }

    /// What others of its kind come to, told as one.
    ///
    /// - Parameter isOfItsNode: whether all of them are of the node that the first one is of.
    init(sumOf others: [FleetAlarm], like first: FleetAlarm, isOfItsNode: Bool) {
        let count = others.reduce(0) { $0 + max(1, $1.more) }
        let example = others.first { $0.more == 0 }?.summary ?? others.first?.summary ?? ""
        let whose = isOfItsNode ? " of node '\(first.node)'" : ""
        self.init(
            first.kind, severity: others.map(\.severity).max(), "and \(count.grouped) more\(whose): \(example)",
            hint: first.hint, since: others.compactMap(\.since).min())
        more = count
        if isOfItsNode { (node, nodeID) = (first.node, first.nodeID) }
    }

    /// The same for the same trouble as long as it lasts, whatever is said of it.
    var key: String {
        guard more > 0 else {
            return Self.key(kind, databaseID, nodeID, store: store) + (aspect.isEmpty ? "" : "/\(aspect)")
        }
        return (nodeID == nil ? kind.rawValue : Self.key(kind, nil, nodeID)) + "/more"
    }

    static func key(_ kind: AlarmKind, _ database: DatabaseID?, _ node: NodeID?, store: String = "") -> String {
        "\(kind.rawValue)/\(database.map(\.description) ?? node.map(\.description) ?? store)"
    }
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
