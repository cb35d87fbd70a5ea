import Hummingbird
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import MusterStore

/// The fleet at a glance, and what a person should look at.
extension Coordinator {
    private static let clockTolerance = Duration.seconds(300)
    /// For a day.
    private static let replacementIsNews = Duration.seconds(86_400)
    private static let namedLosses = 20

    func status(_ call: Call) async throws -> Response {
        let now = clock.now()
        async let everyDatabase = catalog.databases()
        async let everyNode = catalog.nodes()
        let totals = try await catalog.totals()
        let (databases, nodes) = try await (everyDatabase, everyNode)
        let silences = silences(of: nodes, now: now)
        var answer = Muster_V1_Status()
        answer.version = Self.version
        answer.now = now.description
        answer.startedAt = startedAt.description
        answer.epoch = epoch
        answer.nodeCount = UInt32(totals.nodes)
        answer.databaseCount = UInt32(totals.databases)
        answer.snapshotCount = UInt64(totals.snapshots)
        answer.storedBytes = UInt64(totals.storedBytes)
        async let nodeMessages = messages(of: nodes)
        answer.databases = Self.messages(of: databases, silences, now: now)
        answer.stores = try await storeStatuses()
        answer.alarms = try await alarms(databases, nodes, silences, now: now)
        answer.nodes = try await nodeMessages
        answer.receiptKey = Hex.encode(receiptKey.verifyingKey.bytes)
        return try call.answer(answer)
    }

    /// Databases with how fresh their snapshots are.
    func messages(
        of databases: [Catalog.Database], nodes: [Catalog.Node], now: Timestamp
    ) -> [Muster_V1_Database] {
        Self.messages(of: databases, silences(of: nodes, now: now), now: now)
    }

    private static func messages(
        of databases: [Catalog.Database], _ silences: [NodeID: NodeSilence], now: Timestamp
    ) -> [Muster_V1_Database] {
        databases.compactMap { database in
            guard let node = silences[database.node] else { return nil }
            return Muster_V1_Database(
                database, Freshness(database, of: node, now: now), silentSince: node.since)
        }
    }

    private func silences(of nodes: [Catalog.Node], now: Timestamp) -> [NodeID: NodeSilence] {
        let tolerance = Duration.seconds(settings.limits.alarmToleranceSeconds)
        return Dictionary(
            nodes.map { node in
                let standing = reports.standing(of: node.id)
                return (
                    node.id, NodeSilence(node, standing, startedAt: startedAt, tolerance: tolerance, now: now)
                )
            }, uniquingKeysWith: { first, _ in first })
    }

    private func alarms(
        _ databases: [Catalog.Database], _ nodes: [Catalog.Node], _ silences: [NodeID: NodeSilence], now: Timestamp
    ) async throws -> [Muster_V1_Alarm] {
        let nodeNames = Dictionary(nodes.map { ($0.id, $0.name) }, uniquingKeysWith: { first, _ in first })
        let byID = Dictionary(databases.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        var alarms: [Muster_V1_Alarm] = []
        let standing = try await catalog.alarms(newsSince: now - Self.replacementIsNews)
        for alarm in try await successionAlarms() + collectionAlarms() + standing {
            alarms.append(
                Self.alarm(
                    alarm.kind, node: alarm.node.flatMap { nodeNames[$0] },
                    database: alarm.database.flatMap { byID[$0]?.name },
                    alarm.summary, alarm.hint, since: alarm.since))
        }
        alarms += databases.compactMap(Self.failing)
        alarms += databases.compactMap { database in
            silences[database.node].flatMap { Self.stuck(database, Freshness(database, of: $0, now: now)) }
        }
        alarms += nodes.filter { $0.state == .active }.flatMap { Self.alarms(of: $0, silences[$0.id]?.since) }
        for damaged in try await catalog.damagedDatabases() {
            guard let database = byID[damaged.database] else { continue }
            alarms.append(
                Self.alarm(
                    "damaged", node: database.nodeName, database: database.name,
                    "snapshot \(damaged.snapshot) failed verification, and none as deep has passed since",
                    "Run 'muster verify \(damaged.snapshot) --level scrub' to see which object is hit, and put it back.",
                    since: nil))
        }
        for loss in try await catalog.losses(limit: Self.namedLosses) {
            guard let database = byID[loss.database] else { continue }
            alarms.append(Self.alarm(loss, of: database))
        }
        return alarms
    }

    private static func alarm(_ loss: Catalog.Loss, of database: Catalog.Database) -> Muster_V1_Alarm {
        let count = loss.snapshotCount
        return alarm(
            "lost", node: database.nodeName, database: database.name,
            "pack \(loss.pack) is good in no store: \(count) snapshot\(count == 1 ? "" : "s") of it, "
                + "\(loss.newest) the newest, cannot be restored",
            "The node is asked for it, and the next snapshot sends again what is still current. "
                + "Bring back a store that is away, if one has it.",
            since: nil)
    }

    private static func failing(_ database: Catalog.Database) -> Muster_V1_Alarm? {
        guard database.state == "failing" || database.state == "unsupported" else { return nil }
        return alarm(
            "failing", node: database.nodeName, database: database.name,
            database.errorSummary.isEmpty ? "database '\(database.name)' is not backed up" : database.errorSummary,
            database.errorHint, since: database.attemptedAt)
    }

    private static func stuck(_ database: Catalog.Database, _ freshness: Freshness) -> Muster_V1_Alarm? {
        guard let since = freshness.stuckSince else { return nil }
        return alarm(
            "stuck", node: database.nodeName, database: database.name,
            "database '\(database.name)' has had changes without a receipt since \(since)",
            "Look at the log of the agent on node '\(database.nodeName)', and run 'muster doctor --agent-dir' there.",
            since: since)
    }

    private static func alarms(of node: Catalog.Node, _ silentSince: Timestamp?) -> [Muster_V1_Alarm] {
        var alarms: [Muster_V1_Alarm] = []
        if let silentSince {
            alarms.append(
                alarm(
                    "silent", node: node.name, database: nil,
                    "node '\(node.name)' has not reported since \(silentSince)",
                    "Check that its agent runs and reaches the coordinator.", since: silentSince))
        }
        if let offset = node.clockOffset, abs(offset.microseconds) > clockTolerance.microseconds {
            alarms.append(
                alarm(
                    "clock", node: node.name, database: nil,
                    "the clock of node '\(node.name)' is \(Int(offset.inSeconds)) seconds off",
                    "Set the node's clock; capture times are wrong, receipt times are not.", since: nil))
        }
        return alarms
    }

    private static func alarm(
        _ kind: String, node: String?, database: String?, _ summary: String, _ hint: String, since: Timestamp?
    ) -> Muster_V1_Alarm {
        var alarm = Muster_V1_Alarm()
        (alarm.kind, alarm.node, alarm.database) = (kind, node ?? "", database ?? "")
        (alarm.summary, alarm.hint, alarm.since) = (summary, hint, since?.description ?? "")
        return alarm
    }
}
