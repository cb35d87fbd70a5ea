import MusterModel

/// The alarms that stand: some told one by one, the rest in sums.
///
/// Nobody can crowd out others: of one kind a node has a few places and one sum for what is more, and the fleet has a
/// bounded number of places for each kind.
struct AlarmBoard: Sendable {
    /// Of each kind at most so many are told one by one.
    static let mostOfAKind = 50
    /// And so many of one node.
    static let mostOfANode = 10

    /// The worst first, then by kind, the oldest first.
    let told: [FleetAlarm]
    /// Keys of what stands all the same, and is told in a sum: none of it has ended.
    let untold: Set<String>

    init(_ alarms: [FleetAlarm]) {
        let groups = Dictionary(grouping: alarms, by: \.kind)
        var rest: Set<String> = []
        let bounded = AlarmKind.allCases.flatMap { kind -> [FleetAlarm] in
            guard let group = groups[kind] else { return [] }
            return Self.bounded(Self.shared(group, &rest), &rest)
        }
        // Stable, as the kinds are in order already.
        let told = AlarmSeverity.allCases.reversed().flatMap { severity in
            bounded.filter { $0.severity == severity }
        }
        self.init(told: told, untold: rest.subtracting(told.map(\.key)))
    }

    private init(told: [FleetAlarm], untold: Set<String>) { (self.told, self.untold) = (told, untold) }

    /// The same, where these stand too.
    func adding(untold keys: Set<String>) -> AlarmBoard {
        AlarmBoard(told: told, untold: untold.union(keys).subtracting(told.map(\.key)))
    }

    /// One kind with no more of any node than its share; what is more of a node is one alarm of it.
    private static func shared(_ group: [FleetAlarm], _ rest: inout Set<String>) -> [FleetAlarm] {
        guard group.count > mostOfANode else { return group }
        return Dictionary(grouping: group, by: \.nodeID).flatMap { node, alarms -> [FleetAlarm] in
            guard node != nil, alarms.count > mostOfANode + 1 || alarms.contains(where: { $0.more > 0 }) else {
                return alarms
            }
            return told(alarms, atMost: mostOfANode, isOfItsNode: true, &rest) { $0.more == 0 }
        }
    }

    private static func bounded(_ group: [FleetAlarm], _ rest: inout Set<String>) -> [FleetAlarm] {
        guard group.count > mostOfAKind || group.contains(where: { $0.more > 0 && $0.nodeID == nil }) else {
            return group.sorted(by: comesFirst)
        }
        return told(group, atMost: mostOfAKind, isOfItsNode: false, &rest) { $0.more == 0 || $0.nodeID != nil }
    }

    /// The first of those that may stand by themselves, and one that stands for all others.
    private static func told(
        _ alarms: [FleetAlarm], atMost most: Int, isOfItsNode: Bool, _ rest: inout Set<String>,
        where mayStand: (FleetAlarm) -> Bool
    ) -> [FleetAlarm] {
        var (kept, others): ([FleetAlarm], [FleetAlarm]) = ([], [])
        for alarm in alarms.sorted(by: comesFirst) {
            if kept.count < most, mayStand(alarm) { kept.append(alarm) } else { others.append(alarm) }
        }
        guard !others.isEmpty else { return kept }
        rest.formUnion(others.map(\.key))
        return kept + [FleetAlarm(sumOf: others, like: kept.first ?? others[0], isOfItsNode: isOfItsNode)]
    }

    private static func comesFirst(_ a: FleetAlarm, _ b: FleetAlarm) -> Bool {
        if a.severity != b.severity { return a.severity > b.severity }
        // Sums stand behind what they are the rest of.
        if (a.more > 0) != (b.more > 0) { return b.more > 0 }
        switch (a.since, b.since) {
        case (let one?, let other?) where one != other: return one < other
        case (.some, nil): return true
        case (nil, .some): return false
        default: return a.key < b.key
        }
    }

    /// How many stand, those that are not told one by one included.
    var counts: [AlarmKind: Int] {
        told.reduce(into: [:]) { counts, alarm in counts[alarm.kind, default: 0] += max(1, alarm.more) }
    }
}
