import MusterCatalog
import MusterModel

/// What is wrong with databases, as far as their rows tell. However many it is, a bounded number is read: of each node the
/// first few, and how many more there are.
extension Coordinator {
    private typealias Words = (_ database: Catalog.Database, _ since: Timestamp?) -> FleetAlarm

    /// So many are read of one kind.
    private static let mostRead = (AlarmBoard.mostOfAKind + 1) * Catalog.alarmsOfANode

    /// What the policy may want inspected, with the word for it.
    static let inspectionAlarms: [(level: VerificationLevel, kind: AlarmKind, done: String)] = [
        (.verify, .verifyOverdue, "verified"), (.drill, .drillOverdue, "drilled"),
    ]

    /// What the policy wants inspected, and was not for so long.
    func overdueAlarms(in scene: FleetScene) async throws -> [FleetAlarm] {
        var alarms: [FleetAlarm] = []
        for (level, kind, done) in Self.inspectionAlarms {
            guard let every = settings.verification.every(level) else { continue }
            let matter = Catalog.Matter.uninspected(level, since: scene.now - every)
            alarms += try await self.alarms(kind, matter, in: scene) { database, passedAt in
                FleetAlarm(
                    kind,
                    "no snapshot of database '\(database.name)' was \(done) with success "
                        + (passedAt.map { "since \($0)" } ?? "yet"),
                    hint: "Run 'muster verify --node \(database.nodeName) --level \(level.rawValue) --wait', "
                        + "and see that the node is there to do it.",
                    since: passedAt.map { $0 + every })
            }
        }
        return alarms
    }

    /// Databases that no snapshot can be taken of, and those whose changes wait for a receipt.
    func troubleAlarms(in scene: FleetScene) async throws -> [FleetAlarm] {
        try await alarms(.failing, .failing, in: scene) { database, since in
            FleetAlarm(
                .failing,
                database.errorSummary.isEmpty
                    ? "database '\(database.name)' is not backed up" : database.errorSummary,
                hint: database.errorHint, since: since)
        }
            + alarms(.stuck, .stuck(scene.patience), in: scene) { database, since in
                FleetAlarm(
                    .stuck,
                    "database '\(database.name)' has had changes without a receipt"
                        + (since.map { " since \($0)" } ?? ""),
                    hint: "Look at the log of the agent on node '\(database.nodeName)', "
                        + "and run 'muster doctor --agent-dir' there.",
                    since: since)
            }
    }

    /// Keys of what was told before and stands still, be it among those that are read or not.
    func standingKeys(in scene: FleetScene) async throws -> Set<String> {
        var matters: [(AlarmKind, Catalog.Matter)] = [(.failing, .failing), (.stuck, .stuck(scene.patience))]
        for (level, kind, _) in Self.inspectionAlarms {
            guard let every = settings.verification.every(level) else { continue }
            matters.append((kind, .uninspected(level, since: scene.now - every)))
        }
        var keys = Set(try await catalog.toldAlarms(now: scene.now))
        for (kind, matter) in matters {
            keys.formUnion(try await catalog.toldConcerns(matter, as: kind).map { FleetAlarm.key(kind, $0, nil) })
        }
        return keys
    }

    /// One for each that is read, one for what is more of a node, and one for all that is of nodes not read.
    private func alarms(
        _ kind: AlarmKind, _ matter: Catalog.Matter, in scene: FleetScene, words: Words
    ) async throws -> [FleetAlarm] {
        let concerns = try await catalog.concerns(matter, limit: Self.mostRead)
        guard let first = concerns.first else { return [] }
        let told = concerns.map { words($0.database, $0.since).of($0.database) }
        var (alarms, accounted) = (told, 0)
        for (node, group) in Dictionary(grouping: concerns, by: \.database.node) {
            accounted += group[0].ofNode
            guard group[0].ofNode > group.count else { continue }
            let example = told.first { $0.nodeID == node }
            alarms.append(Self.sum(kind, group[0].ofNode - group.count, like: example, of: scene.node(node)))
        }
        if first.ofFleet > accounted {
            alarms.append(Self.sum(kind, first.ofFleet - accounted, like: told.last))
        }
        return alarms
    }
}
