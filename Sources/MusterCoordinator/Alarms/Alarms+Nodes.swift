import MusterCatalog
import MusterModel

/// What is wrong with nodes.
extension Coordinator {
    private static let clockTolerance = Duration.seconds(300)
    /// A certificate is renewed at half its life; a quarter later somebody should look why it was not.
    private static let certificateMargin = Authority.nodeLifetime / 4

    func alarms(of node: Catalog.NodeOutline, in scene: FleetScene) -> [FleetAlarm] {
        var alarms: [FleetAlarm] = []
        if let since = scene.silences[node.id]?.since {
            alarms.append(
                FleetAlarm(
                    .silent, "node '\(node.name)' has not reported since \(since)",
                    hint: "Check that its agent runs and reaches the coordinator.", since: since))
        } else if let end = node.certificateExpiresAt, end - scene.now < Self.certificateMargin {
            // A silent node renews when it is back.
            alarms.append(
                FleetAlarm(
                    .certificate, severity: Self.severity(ofCertificateUntil: end, now: scene.now),
                    "the certificate of node '\(node.name)' runs out at \(end) and was not renewed",
                    hint: "Look at the log of its agent: it renews by itself at half the certificate's life."))
        }
        if let offset = node.clockOffset, abs(offset.microseconds) > Self.clockTolerance.microseconds {
            alarms.append(
                FleetAlarm(
                    .clock, "the clock of node '\(node.name)' is \(Int(offset.inSeconds)) seconds off",
                    hint: "Set the node's clock; capture times are wrong, receipt times are not."))
        }
        if let free = node.freeBytes, let severity = settings.alarms.severity(ofFreeBytes: free) {
            alarms.append(
                FleetAlarm(
                    .disk, severity: severity,
                    "the state directory of node '\(node.name)' has \(free.mebibytes) MiB left",
                    hint: "Make room on the node, or make 'cache_bytes' in its agent.yaml smaller."))
        }
        if let alarm = quotaAlarm(of: node) { alarms.append(alarm) }
        return alarms.map { $0.of(node) }
    }

    /// Before no snapshot is taken any more.
    private func quotaAlarm(of node: Catalog.NodeOutline) -> FleetAlarm? {
        let quota = settings.quota.bytes(ofNode: node.name)
        guard node.packBytes >= quota / 10 * 9 else { return nil }
        return FleetAlarm(
            .quota, severity: node.packBytes >= quota / 100 * 98 ? .critical : .warning,
            "node '\(node.name)' has \(node.packBytes >> 20) of the \(quota >> 20) MiB in the stores that it may have",
            hint: "'muster snapshot list --node \(node.name)' tells what each snapshot stored; keep fewer of them, or "
                + "give the node more: 'quota' in coordinator.yaml.")
    }

    /// One for each node, not one for each database: an old library is in all programs of a machine. Only a database
    /// in WAL mode can be hit (sqlite.org/wal.html#walresetbug); an agent that does not tell the mode may have any.
    static func writerAlarms(in scene: FleetScene) -> [FleetAlarm] {
        var hits: [Int64: (count: Int, release: SQLiteRelease)] = [:]
        for group in scene.groups where !group.facts.isRemoved {
            let release = SQLiteRelease(group.writerVersion)
            guard release.hasWALResetBug else { continue }
            let hit = hits[group.node] ?? (0, release)
            hits[group.node] = (hit.count + group.count, min(hit.release, release))
        }
        return scene.nodes.filter { $0.state == .active }.compactMap { node -> FleetAlarm? in
            guard let hit = hits[node.number] else { return nil }
            return FleetAlarm(
                .walReset,
                "\(hit.count) database\(hit.count == 1 ? "" : "s") of node '\(node.name)' "
                    + "\(hit.count == 1 ? "was" : "were") last written by SQLite \(hit.release)"
                    + "\(hit.count == 1 ? "" : " or another release") with the WAL-reset bug",
                hint: "Update the application's SQLite to 3.51.3 or later (sqlite.org/wal.html, the WAL-reset bug)."
            ).of(node)
        }
    }
}
