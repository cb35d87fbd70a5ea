import Foundation
import MusterAPI
import MusterAgent
import MusterEngine
import MusterFormat
import MusterModel
import MusterSQLite

/// Rebuilds snapshots here, with a key at hand, and inspects them.
struct VerifyHere {
    let ids: [String]
    let isDrill: Bool
    let key: KeyOptions
    let known: KnownNodes
    /// Nil for the system's temporary folder.
    let scratch: String?

    func report(_ origin: any SnapshotOrigin) async throws -> InspectionReport {
        let folder = try ScratchFolder(in: scratch)
        defer { folder.remove() }
        var failed: [InspectionReport.Failed] = []
        var refused: [InspectionReport.Failed] = []
        var passed = 0
        var asked: [(id: String, snapshot: Muster_V1_Snapshot)] = []
        for id in ids { asked.append((id, try await origin.snapshot(id))) }
        let nodes = Set(asked.map(\.snapshot.node))
        for (id, snapshot) in asked {
            let fingerprint = try key.fingerprint(of: snapshot.node, among: nodes)
            let target = folder.path + "/" + snapshot.id + ".db"
            if let reason = try folder.lacks(snapshot.sizeBytes) {
                failed.append(
                    .init(
                        snapshot: snapshot.id, store: "", object: "", reason: reason, node: snapshot.node,
                        database: snapshot.database))
                continue
            }
            let outcome = try await prove(snapshot, named: id, origin, fingerprint, at: target)
            // Here a person with the key looks: they may see what the database itself has to say.
            for detail in outcome.details.prefix(20) { Console.note("note: \(detail)") }
            if isDrill { tell(outcome) }
            refused += outcome.refused.map(InspectionReport.Failed.init)
            failed += outcome.failed.map(InspectionReport.Failed.init)
            if outcome.failed.isEmpty { passed += 1 }
            if FileManager.default.fileExists(atPath: target) { try FileManager.default.removeItem(atPath: target) }
        }
        return InspectionReport(run: "", passed: passed, total: ids.count, failed: failed, refused: refused)
    }

    private func prove(
        _ snapshot: Muster_V1_Snapshot, named id: String, _ origin: any SnapshotOrigin, _ fingerprint: String?,
        at target: String
    ) async throws -> ProofOutcome {
        guard let snapshotID = SnapshotID(snapshot.id) else { throw UnreadableSnapshot(id: snapshot.id) }
        let keys = try await key.keys(of: snapshot.nodeID, origin, known: known, fingerprint: fingerprint)
        let restore = SnapshotRestore(
            source: origin.source, keys: keys.keys, verifyingKey: keys.verifyingKey, lanes: Surroundings.cores,
            random: Surroundings.random)
        var order = SnapshotProof.Order(snapshotID, isDrill: isDrill)
        if isDrill { order.expectations = try expectations(of: snapshot.databaseID) }
        let proof = SnapshotProof(
            restore: restore, inspector: DrillCheckProcess(monotonic: Surroundings.monotonic),
            monotonic: Surroundings.monotonic)
        return try await proof.run(order, to: target, store: origin.source.name) { plan in
            try AnswerCheck(id: id).check(snapshot, plan.publicPart, nodeName: keys.nodeName)
        }
    }

    /// What the owner wrote stands in the agent's directory; elsewhere nothing is known of it.
    private func expectations(of database: String) throws -> DrillExpectations {
        guard let dir = key.agentDir else { return DrillExpectations() }
        let listed = try AgentDirectory(path: dir).databases().first { $0.database.id.description == database }
        return listed?.database.expectations ?? DrillExpectations()
    }

    private func tell(_ outcome: ProofOutcome) {
        Console.note(
            """
            restored \(Quantity.bytes(outcome.restoredBytes)) in \(Quantity.seconds(outcome.restoreSeconds)), inspected \
            in \(Quantity.seconds(outcome.checkSeconds))
            """)
        guard let drill = outcome.drill else { return }
        let all = drill.tablesPresent > drill.rows.count ? " of \(drill.tablesPresent)" : ""
        Console.note("\(drill.rows.count)\(all) tables with \(drill.rowCount) rows")
        for assertion in drill.assertions {
            let value = assertion.value.map { " (\($0))" } ?? ""
            let word = assertion.passed ? "holds" : "fails: \(assertion.reason)"
            Console.note("assertion '\(assertion.name)'\(value) \(word)")
        }
    }
}
