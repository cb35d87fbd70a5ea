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
        async let damage = damageAlarms()
        async let overdue = overdueAlarms(in: scene)
        async let standing = standingAlarms(in: scene)
        let (stood, untold) = try await standing
        var alarms = try await ownAlarms + stores + damage + overdue + people
        alarms += stood
        alarms += scene.troubled.flatMap { Self.alarms(of: $0, in: scene) }
        alarms += scene.nodes.filter { $0.state == .active }.flatMap { self.alarms(of: $0, in: scene) }
        alarms += Self.writerAlarms(in: scene)
        alarms += ownCertificateAlarms(now: scene.now) + denialAlarms(now: scene.now)
        return AlarmBoard(alarms, untold: untold)
    }

    /// Those that wait for a person; where a node has very many, most of them as a sum.
    private func standingAlarms(in scene: FleetScene) async throws -> (alarms: [FleetAlarm], untold: Set<String>) {
        let (listed, subjects) = (
            try await catalog.alarms(now: scene.now), try await catalog.alarmSubjects(now: scene.now)
        )
        let nodes = Dictionary(scene.nodes.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        let databases = try await databases(Set(listed.compactMap(\.database)))
        var alarms = listed.map { standing in
            let alarm = FleetAlarm(standing.kind, standing.summary, hint: standing.hint, since: standing.since)
            if let database = standing.database.flatMap({ databases[$0] }) { return alarm.of(database) }
            return standing.node.flatMap { nodes[$0] }.map(alarm.of) ?? alarm
        }
        guard subjects.count > listed.count else { return (alarms, []) }
        struct Share: Hashable {
            let kind: AlarmKind
            let node: NodeID?
        }
        var rest: [Share: Int] = [:]
        for subject in subjects { rest[Share(kind: subject.kind, node: subject.node), default: 0] += 1 }
        for alarm in listed { rest[Share(kind: alarm.kind, node: alarm.node), default: 0] -= 1 }
        for (share, count) in rest where count > 0 {
            let example = alarms.first { $0.kind == share.kind && $0.nodeID == share.node }
            alarms.append(Self.sum(share.kind, count, like: example, of: share.node.flatMap { nodes[$0] }))
        }
        return (alarms, Set(subjects.map { FleetAlarm.key($0.kind, $0.database, $0.node) }))
    }

    /// What stands for so many that are not read one by one.
    private static func sum(
        _ kind: AlarmKind, _ count: Int, like example: FleetAlarm?, of node: Catalog.Node? = nil
    ) -> FleetAlarm {
        let hint = example?.hint ?? "Look at 'muster status' again when these are cleared."
        var sum = FleetAlarm(kind, example?.summary ?? "", hint: hint, since: example?.since)
        sum.more = count
        return node.map(sum.of) ?? sum
    }

    private func databases(_ ids: Set<DatabaseID>) async throws -> [DatabaseID: Catalog.Database] {
        Dictionary(try await catalog.databases(ids).map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    }

    private func damageAlarms() async throws -> [FleetAlarm] {
        let (damage, losses) = (
            try await catalog.damagedDatabases(), try await catalog.losses(limit: AlarmBoard.mostOfAKind + 1)
        )
        guard !damage.isEmpty || !losses.isEmpty else { return [] }
        let databases = try await databases(Set(damage.map(\.database) + losses.map(\.database)))
        return damage.compactMap { damaged in
            databases[damaged.database].map { database in
                FleetAlarm(
                    .damaged, "snapshot \(damaged.snapshot) failed verification, and none as deep has passed since",
                    hint: "See which object is hit, and put it back if it is not healed by itself. "
                        + "'muster verify \(damaged.snapshot) --level \(max(.scrub, damaged.level).rawValue) --wait' "
                        + "ends the alarm once it passes."
                ).of(database)
            }
        }
            + losses.compactMap { loss in
                databases[loss.database].map { Self.alarm(loss).of($0) }
            }
    }

    /// What the policy may want inspected, with the word for it.
    static let inspectionAlarms: [(level: VerificationLevel, kind: AlarmKind, done: String)] = [
        (.verify, .verifyOverdue, "verified"), (.drill, .drillOverdue, "drilled"),
    ]

    /// What the policy wants inspected, and was not for so long.
    private func overdueAlarms(in scene: FleetScene) async throws -> [FleetAlarm] {
        let nodes = Dictionary(scene.nodes.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        let limit = (AlarmBoard.mostOfAKind + 1) * Catalog.alarmsOfANode
        var alarms: [FleetAlarm] = []
        for (level, kind, done) in Self.inspectionAlarms {
            guard let every = settings.verification.every(level) else { continue }
            let waiting = try await catalog.uninspected(level, since: scene.now - every, limit: limit)
            let databases = try await databases(Set(waiting.map(\.database)))
            let told = waiting.compactMap { waiting in
                databases[waiting.database].map { database in
                    let last = waiting.passedAt.map { "since \($0)" } ?? "yet"
                    return FleetAlarm(
                        kind, "no snapshot of database '\(database.name)' was \(done) with success \(last)",
                        hint: "Run 'muster verify --node \(database.nodeName) --level \(level.rawValue) --wait', "
                            + "and see that the node is there to do it.",
                        since: waiting.passedAt.map { $0 + every }
                    ).of(database)
                }
            }
            alarms += told
            var accounted = 0
            for (node, group) in Dictionary(grouping: waiting, by: \.node) {
                accounted += group[0].ofNode
                guard group[0].ofNode > group.count else { continue }
                let example = told.first { $0.nodeID == node }
                alarms.append(Self.sum(kind, group[0].ofNode - group.count, like: example, of: nodes[node]))
            }
            if let whole = waiting.first?.ofFleet, whole > accounted {
                alarms.append(Self.sum(kind, whole - accounted, like: told.last))
            }
        }
        return alarms
    }

    /// Keys of what was told before and is overdue still, be it among those that are read or not.
    func overdueKeys(now: Timestamp) async throws -> Set<String> {
        var keys: Set<String> = []
        for (level, kind, _) in Self.inspectionAlarms {
            guard let every = settings.verification.every(level) else { continue }
            let told = try await catalog.toldUninspected(level, since: now - every, as: kind)
            keys.formUnion(told.map { FleetAlarm.key(kind, $0, nil) })
        }
        return keys
    }

    private static func alarm(_ loss: Catalog.Loss) -> FleetAlarm {
        let count = loss.snapshotCount
        return FleetAlarm(
            .lost,
            "pack \(loss.pack) is good in no store: \(count) snapshot\(count == 1 ? "" : "s") of it, "
                + "\(loss.newest) the newest, cannot be restored",
            hint: "The node is asked for it, and the next snapshot sends again what is still current. "
                + "Bring back a store that is away, if one has it.")
    }

    private static func alarms(of database: Catalog.Database, in scene: FleetScene) -> [FleetAlarm] {
        var alarms: [FleetAlarm] = []
        if database.state == "failing" || database.state == "unsupported" {
            alarms.append(
                FleetAlarm(
                    .failing,
                    database.errorSummary.isEmpty
                        ? "database '\(database.name)' is not backed up" : database.errorSummary,
                    hint: database.errorHint, since: database.attemptedAt
                ).of(database))
        }
        if let since = scene.freshness(of: database)?.stuckSince {
            alarms.append(
                FleetAlarm(
                    .stuck, "database '\(database.name)' has had changes without a receipt since \(since)",
                    hint: "Look at the log of the agent on node '\(database.nodeName)', "
                        + "and run 'muster doctor --agent-dir' there.",
                    since: since
                ).of(database))
        }
        return alarms
    }
}
