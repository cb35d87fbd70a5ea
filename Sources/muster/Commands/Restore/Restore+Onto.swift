import ArgumentParser
import Foundation
import MusterAPI
import MusterEngine
import MusterFormat
import MusterModel

/// Restores that other machines do: this one says what, and seals what they need for it.
extension Restore {
    /// So many orders make one run.
    private static let mostOrders = 1000

    /// The members of a fleet snapshot that are restored, and those that cannot be.
    private struct Mapped {
        var orders: [RestoreOrder] = []
        var failed: [InspectionReport.Failed] = []
    }

    /// Sources and targets, as they were written.
    private var pairs: [[String]] {
        (map ?? "").split(separator: ",").map {
            $0.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
        }
    }

    func validateOnto() throws {
        guard let path = target, !inPlace else {
            throw ValidationError("--on and --map go with --to PATH: a path on that node")
        }
        guard path.hasPrefix("/") else { throw ValidationError("--to wants an absolute path on that node") }
        guard stores.store == nil, key.agentDir == nil else {
            throw ValidationError("--on and --map ask the coordinator: neither --store nor --agent-dir goes with them")
        }
        guard map == nil || fleetSnapshot != nil && !pairs.isEmpty, on == nil || fleetSnapshot == nil else {
            throw ValidationError("--map goes with --fleet-snapshot, and --on with a single snapshot")
        }
        guard fingerprint.allSatisfy(KnownNodes.isFingerprint) else {
            throw ValidationError("--fingerprint wants 32 to 64 lowercase hex digits")
        }
        guard let life = Duration(text: within), (.seconds(10)...RestoreGrant.longestLife).contains(life) else {
            throw ValidationError("--within wants a span from 10s to 24h, such as 2h")
        }
        for pair in pairs where pair.count != 2 || pair.contains("") {
            throw ValidationError("--map wants SOURCE=TARGET, and '\(pair.joined(separator: "="))' is not")
        }
    }

    /// One snapshot onto one node.
    func restoreOnto(_ node: String) async throws {
        let coordinator = try admin.coordinator()
        let snapshot = try await chosen(CoordinatorOrigin(coordinator: coordinator))
        let order = RestoreOrder(
            snapshot: snapshot, target: try await coordinator.node(node), path: target ?? "", asked: check)
        try await carryOut(Mapped(orders: [order]), coordinator)
    }

    /// The members of a fleet snapshot whose nodes the map names, each to a file of its own.
    func restoreMapped(_ name: String) async throws {
        let coordinator = try admin.coordinator()
        let fleet = try await coordinator.fleetSnapshot(name)
        try await carryOut(try await mapped(fleet, coordinator), coordinator)
    }

    private func mapped(
        _ fleet: Muster_V1_FleetSnapshot, _ coordinator: CoordinatorClient
    ) async throws -> Mapped {
        var targets: [String: Muster_V1_Node] = [:]
        for names in pairs {
            let members = Set(fleet.items.filter { [$0.node, $0.nodeID].contains(names[0]) }.map(\.nodeID))
            guard members.count == 1, let member = members.first else {
                throw NamedThingMissing(
                    summary:
                        "\(members.isEmpty ? "no node" : "more than one node") '\(names[0])' is in the fleet snapshot",
                    hint: "See 'muster fleet-snapshot show \(fleet.name)'; where two share a name, give the id.")
            }
            guard targets[member] == nil else { throw ValidationError("--map names node '\(names[0])' twice") }
            targets[member] = try await coordinator.node(names[1])
        }
        var mapped = Mapped()
        for step in Self.steps(fleet, in: target ?? "") {
            guard let node = targets[step.item.nodeID] else { continue }
            do {
                guard step.item.state == "done" else { throw NotInFleetSnapshot(reason: step.item.reason) }
                mapped.orders.append(
                    RestoreOrder(
                        snapshot: try await coordinator.snapshot(step.item.snapshotID), target: node,
                        path: step.target,
                        asked: AnswerCheck(
                            id: step.item.snapshotID, node: step.item.nodeID, database: step.item.databaseID)))
            } catch {
                mapped.failed.append(Self.failure(of: step.item, error))
            }
        }
        let left = Set(fleet.items.map(\.nodeID)).subtracting(targets.keys).count
        if left > 0 { Console.note("note: \(left) nodes of the fleet snapshot are not in the map, and are left out") }
        return mapped
    }

    // MARK: - Carrying it out

    private func carryOut(_ mapped: Mapped, _ coordinator: CoordinatorClient) async throws {
        let orders = RestoreOrders(
            coordinator, recoveryKey: try key.recoveryKey.map(KeyOptions.recoveryKey(in:)),
            known: try KnownNodes(besideContext: admin.contextPath, fingerprints: fingerprint),
            life: Duration(text: within) ?? RestoreGrant.longestLife)
        guard !dryRun else { return try showPlan(mapped, orders) }
        var failed = mapped.failed
        var grants: [(grant: RestoreGrant, isForeign: Bool)] = []
        for order in mapped.orders {
            do {
                grants.append((try await orders.grant(order), !order.isOwn))
            } catch {
                // Of a single one the error itself is the answer.
                guard fleetSnapshot != nil else { throw error }
                failed.append(Self.failure(of: order, error))
            }
        }
        try await send(grants, failed, coordinator)
    }

    private func send(
        _ grants: [(grant: RestoreGrant, isForeign: Bool)], _ refused: [InspectionReport.Failed],
        _ coordinator: CoordinatorClient
    ) async throws {
        var runs: [Muster_V1_RestoreRun] = []
        for part in stride(from: 0, to: grants.count, by: Self.mostOrders) {
            let some = grants[part..<min(part + Self.mostOrders, grants.count)]
            runs.append(
                try await coordinator.restore(some.map(\.grant.bytes), isForeign: some.contains(where: \.isForeign)))
        }
        for failed in refused { Console.note("\(failed.reason)") }
        guard wait else {
            for run in runs { try RestoreRunOutput.show(run, admin.format) }
            if !refused.isEmpty { throw runs.isEmpty ? Outcome.failed : Outcome.partly }
            return
        }
        for index in runs.indices { runs[index] = try await RestoreRunOutput.finished(runs[index], coordinator) }
        runs.forEach(RestoreRunOutput.explain)
        let report = InspectionReport(
            run: runs.map(\.run).joined(separator: " "), passed: runs.reduce(0) { $0 + Int($1.passed) },
            total: grants.count + refused.count, failed: refused + runs.flatMap(RestoreRunOutput.failures))
        let places = runs.flatMap(\.items).filter { $0.state == "done" }
            .map { ("on \($0.targetNode)", "\($0.node)/\($0.database) is '\($0.targetPath)'") }
        try admin.format.show(
            report,
            lines: [("restored", "\(report.passed) of \(report.total)"), ("run", report.run)] + places)
        if let outcome = report.outcome { throw outcome }
    }

    private static func failure(of order: RestoreOrder, _ error: any Error) -> InspectionReport.Failed {
        let failing = (error as? RestoreError)?.failing
        let reason = failing?.reason ?? (error as? any ActionableError)?.summary ?? "\(error)"
        let what = "\(order.snapshot.node)/\(order.snapshot.database) onto \(order.target.name)"
        return InspectionReport.Failed(
            snapshot: order.snapshot.id, store: failing?.store ?? "", object: failing?.object ?? "",
            reason: "\(what): \(reason)", node: order.snapshot.node, database: order.snapshot.database)
    }

    // MARK: - The plan

    private func showPlan(_ mapped: Mapped, _ orders: RestoreOrders) throws {
        let rows = mapped.orders.map { RestoreOrderRow($0, conflict: orders.obstacle($0)) }
        try admin.format.show(rows)
        for failed in mapped.failed { Console.note(failed.reason) }
        let good = rows.count { $0.conflict == nil }
        if good < rows.count + mapped.failed.count { throw good == 0 ? Outcome.failed : Outcome.partly }
    }
}

private struct RestoreOrderRow: Row {
    static let columns = ["snapshot", "of node", "database", "size", "on", "to", "key", "in the way"]
    let snapshot, node, database, on, target: String
    let sizeBytes: UInt64
    /// "own" or "recovery key".
    let key: String
    /// Of the node that restores, as the coordinator says.
    let fingerprint: String
    @Known var conflict: String?

    init(_ order: RestoreOrder, conflict: String?) {
        (snapshot, node) = (order.snapshot.id, order.snapshot.node)
        (database, sizeBytes) = (order.snapshot.database, order.snapshot.sizeBytes)
        (on, target) = (order.target.name, order.path)
        key = order.isOwn ? "own" : "recovery key"
        // A key that cannot be read is in the way, which says so.
        fingerprint = (try? RestoreOrders.signingKey(of: order.target).id.description) ?? ""
        self.conflict = conflict
    }

    var cells: [String] {
        [
            String(snapshot.prefix(12)), node, database, Quantity.bytes(sizeBytes), on, target, key, conflict ?? "",
        ]
    }
}
