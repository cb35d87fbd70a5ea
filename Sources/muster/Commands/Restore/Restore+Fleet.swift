import ArgumentParser
import Foundation
import MusterAPI
import MusterEngine
import MusterFormat
import MusterModel

/// Brings the members of a fleet snapshot back, each into a file of its own under one folder.
extension Restore {
    /// One member, or what is missing.
    struct Step {
        let item: Muster_V1_FleetItem
        let target: String
        /// That was given for its node.
        var fingerprint: String?
    }

    func restoreFleet(_ name: String) async throws {
        let fleet = try await admin.coordinator().fleetSnapshot(name)
        let folder = URL(filePath: target ?? "").standardizedFileURL.path(percentEncoded: false)
        var steps = Self.steps(fleet, in: folder)
        let names = Set(steps.map(\.item.node))
        for index in steps.indices {
            steps[index].fingerprint = try key.fingerprint(of: steps[index].item.node, among: names)
        }
        let origin = try await key.origin(stores, admin)
        if dryRun { return try await showFleetPlan(steps, fleet, origin) }
        var failed: [InspectionReport.Failed] = []
        var passed = 0
        for (index, step) in steps.enumerated() {
            let progress = ProgressLine("restoring \(index + 1) of \(steps.count)")
            defer { progress.finish() }
            do {
                try await restore(step, origin, progress)
                passed += 1
            } catch {
                progress.finish()
                failed.append(Self.failure(of: step.item, error))
                Console.note("\(step.item.node)/\(step.item.database): \(failed[failed.count - 1].reason)")
            }
        }
        let report = InspectionReport(run: "", passed: passed, total: steps.count, failed: failed)
        try admin.format.show(
            report, lines: [("restored", "\(passed) of \(steps.count)"), ("fleet snapshot", name), ("into", folder)])
        if let outcome = report.outcome { throw outcome }
    }

    /// Every file gets a name that no other one has, whatever nodes and databases are called.
    static func steps(_ fleet: Muster_V1_FleetSnapshot, in folder: String) -> [Step] {
        var ids: [String: Set<String>] = [:]
        for item in fleet.items { ids[item.node, default: []].insert(item.nodeID) }
        var taken: Set<String> = []
        return fleet.items.map { item in
            let isAlone = ids[item.node]?.count == 1
            let node = fileName(isAlone ? item.node : "\(item.node)-\(item.nodeID.prefix(8))")
            var target = "\(folder)/\(node)/\(fileName(item.database)).db"
            if !taken.insert(target).inserted {
                target = "\(folder)/\(node)/\(fileName(item.database))-\(item.databaseID).db"
                taken.insert(target)
            }
            return Step(item: item, target: target)
        }
    }

    /// The name comes from a node: it stays one segment of a path.
    private static func fileName(_ text: String) -> String {
        let safe = String(text.map { $0 == "/" || $0 == "\0" ? "_" : $0 }.prefix(100))
        return safe.hasPrefix(".") || safe.isEmpty ? "_" + safe : safe
    }

    private func restore(_ step: Step, _ origin: any SnapshotOrigin, _ progress: ProgressLine) async throws {
        let (snapshot, id, restore, nodeName) = try await prepared(step, origin)
        let plan = try await restore.plan(id)
        try AnswerCheck(id: step.item.snapshotID, node: step.item.nodeID, database: step.item.databaseID).check(
            snapshot, plan.publicPart, nodeName: nodeName)
        try FileManager.default.createDirectory(
            atPath: URL(filePath: step.target).deletingLastPathComponent().path(percentEncoded: false),
            withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let rebuilt = try await restore.run(id, to: step.target, checkIntegrity: integrityCheck) {
            progress.update(done: $0, of: $1)
        }
        try AnswerCheck.check(snapshot, rebuilt: rebuilt.publicPart.contentRoot)
    }

    private func prepared(
        _ step: Step, _ origin: any SnapshotOrigin
    ) async throws -> (Muster_V1_Snapshot, SnapshotID, SnapshotRestore, nodeName: String) {
        guard step.item.state == "done" else { throw NotInFleetSnapshot(reason: step.item.reason) }
        let snapshot = try await origin.snapshot(step.item.snapshotID)
        guard let id = SnapshotID(snapshot.id) else { throw UnreadableSnapshot(id: snapshot.id) }
        let keys = try await key.keys(
            of: snapshot.nodeID, origin, known: KnownNodes(besideContext: admin.contextPath),
            fingerprint: step.fingerprint)
        let restore = SnapshotRestore(
            source: origin.source, keys: keys.keys, verifyingKey: keys.verifyingKey, lanes: Surroundings.cores,
            random: Surroundings.random, inspector: DrillCheckProcess(monotonic: Surroundings.monotonic))
        return (snapshot, id, restore, keys.nodeName)
    }

    static func failure(of item: Muster_V1_FleetItem, _ error: any Error) -> InspectionReport.Failed {
        let failing = (error as? RestoreError)?.failing
        let reason = failing?.reason ?? (error as? any ActionableError)?.summary ?? "\(error)"
        return InspectionReport.Failed(
            snapshot: item.snapshotID, store: failing?.store ?? "", object: failing?.object ?? "",
            reason: "\(item.node)/\(item.database): \(reason)")
    }

    // MARK: - The plan

    private func showFleetPlan(
        _ steps: [Step], _ fleet: Muster_V1_FleetSnapshot, _ origin: any SnapshotOrigin
    ) async throws {
        var rows: [FleetPlanRow] = []
        for step in steps {
            var row = FleetPlanRow(
                node: step.item.node, database: step.item.database, snapshot: step.item.snapshotID,
                target: step.target, sizeBytes: step.item.sizeBytes)
            do {
                let (_, id, restore, _) = try await prepared(step, origin)
                row.sourcePath = try await restore.plan(id).sealedPart.sourcePath
                if Self.isTaken(step.target) { row.conflict = "'\(step.target)' exists" }
            } catch {
                row.conflict = Self.failure(of: step.item, error).reason
            }
            rows.append(row)
        }
        try admin.format.show(rows)
        let good = rows.count { $0.conflict == nil }
        if good < rows.count { throw good == 0 ? Outcome.failed : Outcome.partly }
    }
}

private struct FleetPlanRow: Row {
    static let columns = ["node", "database", "size", "was at", "to", "in the way"]
    let node, database, snapshot, target: String
    let sizeBytes: UInt64
    @Known var sourcePath: String?
    @Known var conflict: String?

    init(node: String, database: String, snapshot: String, target: String, sizeBytes: UInt64) {
        (self.node, self.database, self.snapshot) = (node, database, snapshot)
        (self.target, self.sizeBytes) = (target, sizeBytes)
    }

    var cells: [String] { [node, database, Quantity.bytes(sizeBytes), sourcePath ?? "", target, conflict ?? ""] }
}

struct NotInFleetSnapshot: ActionableError {
    let reason: String
    var summary: String { reason.isEmpty ? "it was not taken yet" : "it is not in the fleet snapshot: \(reason)" }
    var hint: String { "Restore another snapshot of the database by its id." }
    var isTransient: Bool { false }
}
