import MusterCatalog
import MusterModel

/// What cannot be restored, by object, snapshot, database and node.
extension Coordinator {
    func damageAlarms() async throws -> [FleetAlarm] {
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

    /// Nodes whose snapshots nobody else could open.
    func keyAlarms(in scene: FleetScene) async throws -> [FleetAlarm] {
        let lost = try await catalog.lostKeys(limit: AlarmBoard.mostOfAKind + 1)
        return lost.compactMap { lost in scene.node(lost.node).map { Self.alarm(lost, of: $0).of($0) } }
    }

    private static func alarm(_ loss: Catalog.Loss) -> FleetAlarm {
        let snapshots = "\(loss.snapshotCount) snapshot\(loss.snapshotCount == 1 ? "" : "s")"
        switch loss.object {
        case .pack(let pack):
            return FleetAlarm(
                .lost,
                "pack \(pack) is good in no store: \(snapshots) of it, \(loss.newest) the newest, cannot be restored",
                hint: "The node is asked for it, and the next snapshot sends again what is still current. "
                    + "Bring back a store that is away, if one has it.")
        case .manifest(let snapshot):
            return FleetAlarm(
                .lost,
                "the manifest of snapshot \(snapshot) is good in no store: \(snapshots) with it, "
                    + "\(loss.newest) the newest, cannot be restored",
                hint: "A new snapshot is asked for that does without it. Bring back a store that is away, if one has "
                    + "it; else forget the snapshots: the alarm ends with them.")
        }
    }

    private static func alarm(_ lost: Catalog.LostKeys, of node: Catalog.NodeOutline) -> FleetAlarm {
        FleetAlarm(
            .lost,
            "the key record of node '\(node.name)' is good in no store: without the node nobody could open its "
                + "\(lost.snapshotCount) snapshot\(lost.snapshotCount == 1 ? "" : "s")",
            hint: node.state == .active
                ? "The node is asked for it; see that its agent runs. Bring back a store that is away, if one has it."
                : "The node has left the fleet and is asked no more: keep its agent directory, which has the key. "
                    + "Bring back a store that is away, if one has the record.")
    }
}
