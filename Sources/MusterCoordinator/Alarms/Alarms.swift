import MusterAPI
import MusterCatalog
import MusterModel
import MusterStore

/// All alarms of the fleet: the only place where they are computed.
///
/// `status`, the page, the metrics and the webhooks take them from here. Some stand in the catalog until a person
/// clears them; all others are what the scene comes to, and end with their cause.
extension Coordinator {
    func alarms(in scene: FleetScene) async throws -> AlarmBoard {
        async let stores = storeAlarms(scene.stores, now: scene.now)
        async let ownAlarms = successionAlarms() + collectionAlarms() + webhookAlarms()
        async let people = personCertificateAlarms(now: scene.now)
        async let damage = damageAlarms() + keyAlarms(in: scene)
        async let overdue = overdueAlarms(in: scene)
        async let troubles = troubleAlarms(in: scene)
        async let standing = standingAlarms(in: scene)
        var alarms = try await ownAlarms + stores + damage + overdue + troubles + people + standing
        alarms += scene.nodes.filter { $0.state == .active }.flatMap { self.alarms(of: $0, in: scene) }
        alarms += Self.writerAlarms(in: scene)
        alarms += ownCertificateAlarms(now: scene.now) + denialAlarms(now: scene.now) + catalogAlarms()
        return AlarmBoard(alarms)
    }

    /// Those that wait for a person; where a node has very many, most of them as a sum.
    private func standingAlarms(in scene: FleetScene) async throws -> [FleetAlarm] {
        let (listed, shares) = (
            try await catalog.alarms(now: scene.now), try await catalog.alarmShares(now: scene.now)
        )
        let databases = try await databases(Set(listed.compactMap(\.database)))
        var alarms = listed.map { standing in
            let alarm = FleetAlarm(standing.kind, standing.summary, hint: standing.hint, since: standing.since)
            if let database = standing.database.flatMap({ databases[$0] }) { return alarm.of(database) }
            return standing.node.flatMap(scene.node).map(alarm.of) ?? alarm
        }
        var read: [AlarmKind: [NodeID?: Int]] = [:]
        for alarm in listed { read[alarm.kind, default: [:]][alarm.node, default: 0] += 1 }
        for share in shares {
            let rest = share.count - (read[share.kind]?[share.node] ?? 0)
            guard rest > 0 else { continue }
            let example = alarms.first { $0.kind == share.kind && $0.nodeID == share.node }
            alarms.append(Self.sum(share.kind, rest, like: example, of: share.node.flatMap(scene.node)))
        }
        return alarms
    }

    /// What stands for so many that are not read one by one.
    static func sum(
        _ kind: AlarmKind, _ count: Int, like example: FleetAlarm?, of node: Catalog.NodeOutline? = nil
    ) -> FleetAlarm {
        let hint = example?.hint ?? "Look at 'muster status' again when these are cleared."
        var sum = FleetAlarm(kind, example?.summary ?? "", hint: hint, since: example?.since)
        sum.more = count
        return node.map(sum.of) ?? sum
    }

    func databases(_ ids: Set<DatabaseID>) async throws -> [DatabaseID: Catalog.Database] {
        Dictionary(try await catalog.databases(ids).map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    }
}
