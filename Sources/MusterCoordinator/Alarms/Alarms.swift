import MusterCatalog
import MusterModel
import MusterStore

/// All alarms of the fleet: the only place where they are computed.
///
/// `status`, the page, the metrics and the webhooks take them from here. Some stand in the catalog until a person
/// clears them; all others are what the scene comes to, and end with their cause.
extension Coordinator {
    private static let namedLosses = FleetAlarm.mostOfAKind + 1

    /// - Returns: the worst first; of each kind a bounded number one by one. See `FleetAlarm.bounded`.
    func alarms(in scene: FleetScene) async throws -> [FleetAlarm] {
        async let standing = catalog.alarms(now: scene.now)
        async let stores = storeAlarms(scene.stores, now: scene.now)
        async let ownAlarms = successionAlarms() + collectionAlarms() + webhookAlarms()
        async let damage = damageAlarms(in: scene)
        async let overdue = overdueAlarms(in: scene)
        var alarms = try await ownAlarms + stores + damage + overdue
        alarms += Self.standing(try await standing, in: scene)
        alarms += scene.databases.flatMap { Self.alarms(of: $0, in: scene) }
        alarms += scene.nodes.filter { $0.state == .active }.flatMap { self.alarms(of: $0, in: scene) }
        alarms += Self.writerAlarms(in: scene)
        alarms += ownCertificateAlarms(now: scene.now) + denialAlarms(now: scene.now)
        return FleetAlarm.bounded(alarms)
    }

    private static func standing(_ alarms: [Catalog.Alarm], in scene: FleetScene) -> [FleetAlarm] {
        let nodes = Dictionary(scene.nodes.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        let databases = Dictionary(scene.databases.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        return alarms.map { standing in
            let alarm = FleetAlarm(standing.kind, standing.summary, hint: standing.hint, since: standing.since)
            if let database = standing.database.flatMap({ databases[$0] }) { return alarm.of(database) }
            return standing.node.flatMap { nodes[$0] }.map(alarm.of) ?? alarm
        }
    }

    private func damageAlarms(in scene: FleetScene) async throws -> [FleetAlarm] {
        let (damage, losses) = (
            try await catalog.damagedDatabases(), try await catalog.losses(limit: Self.namedLosses)
        )
        guard !damage.isEmpty || !losses.isEmpty else { return [] }
        let databases = Dictionary(scene.databases.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
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

    /// What the policy wants inspected, and was not for so long.
    private func overdueAlarms(in scene: FleetScene) async throws -> [FleetAlarm] {
        let databases = Dictionary(scene.databases.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        var alarms: [FleetAlarm] = []
        for (level, kind, done) in [
            (VerificationLevel.verify, AlarmKind.verifyOverdue, "verified"), (.drill, .drillOverdue, "drilled"),
        ] {
            guard let every = settings.verification.every(level) else { continue }
            let waiting = try await catalog.uninspected(
                level, since: scene.now - every, count: FleetAlarm.mostOfAKind + 1)
            alarms += waiting.compactMap { waiting in
                guard let database = databases[waiting.database] else { return nil }
                let last = waiting.passedAt.map { "since \($0)" } ?? "yet"
                return FleetAlarm(
                    kind, "no snapshot of database '\(database.name)' was \(done) with success \(last)",
                    hint: "Run 'muster verify --node \(database.nodeName) --level \(level.rawValue) --wait', "
                        + "and see that the node is there to do it.",
                    since: waiting.passedAt.map { $0 + every }
                ).of(database)
            }
        }
        return alarms
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
