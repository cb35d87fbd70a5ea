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

    private typealias Made = (order: RestoreOrder, grant: RestoreGrant)

    /// What the coordinator took, and what is not restored.
    private struct Begun {
        var runs: [Muster_V1_RestoreRun] = []
        var failed: [InspectionReport.Failed]
        /// Orders that the coordinator refused one by one; they are in `failed`.
        var refused: [String] = []
    }

    /// Sources and targets, as they were written.
    private var pairs: [[String]] {
        (map ?? "").split(separator: ",").map {
            $0.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
        }
    }

    func validateOnto() throws {
        guard let target, !inPlace else {
            throw ValidationError("--on and --map go with --to PATH: a path on that node")
        }
        guard Self.plain(target, isFolder: map != nil) != nil else {
            throw ValidationError("--to wants a plain absolute path on that node, without '//', '.' and '..'")
        }
        guard stores.store == nil, key.agentDir == nil else {
            throw ValidationError("--on and --map ask the coordinator: neither --store nor --agent-dir goes with them")
        }
        guard map == nil || fleetSnapshot != nil && !pairs.isEmpty, on == nil || fleetSnapshot == nil else {
            throw ValidationError("--map goes with --fleet-snapshot, and --on with a single snapshot")
        }
        guard integrityCheck else { throw ValidationError("--no-integrity-check does not go with --on and --map") }
        guard let life, (.seconds(10)...RestoreGrant.longestLife).contains(life) else {
            throw ValidationError("--within wants a span from 10s to 24h, such as 2h")
        }
        for pair in pairs where pair.count != 2 || pair.contains("") {
            throw ValidationError("--map wants SOURCE=TARGET, and '\(pair.joined(separator: "="))' is not")
        }
        _ = (try targetFingerprints(), try sourceFingerprints())
    }

    private var life: Duration? { within.map { Duration(text: $0) } ?? RestoreGrant.longestLife }

    private func targetFingerprints() throws -> GivenFingerprints {
        try GivenFingerprints(
            fingerprint, flag: "--fingerprint", names: Set(on.map { [$0] } ?? pairs.map { $0[1] }))
    }

    private func sourceFingerprints() throws -> GivenFingerprints {
        try GivenFingerprints(
            key.sourceFingerprint, flag: "--source-fingerprint",
            names: Set(on == nil ? pairs.map { $0[0] } : [node ?? ""]))
    }

    /// - Parameter isFolder: a slash at its end says the same then.
    /// - Returns: nil where it could mean more than one place.
    private static func plain(_ path: String, isFolder: Bool) -> String? {
        guard path.hasPrefix("/") else { return nil }
        var segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        if isFolder, segments.last == "" { segments.removeLast() }
        guard !segments.isEmpty, segments.allSatisfy({ !["", ".", ".."].contains($0) }) else { return nil }
        return "/" + segments.joined(separator: "/")
    }

    /// One snapshot onto one node.
    func restoreOnto(_ node: String) async throws {
        let coordinator = try admin.coordinator()
        let snapshot = try await chosen(CoordinatorOrigin(coordinator: coordinator))
        let order = RestoreOrder(
            snapshot: snapshot, target: try await Self.target(node, coordinator), path: target ?? "", asked: check,
            askedTarget: node, askedSource: self.node, targetFingerprint: try targetFingerprints()[node],
            sourceFingerprint: try sourceFingerprints()[self.node ?? ""])
        try await carryOut(Mapped(orders: [order]), coordinator)
    }

    /// The members of a fleet snapshot whose nodes the map names, each to a file of its own.
    func restoreMapped(_ name: String) async throws {
        let coordinator = try admin.coordinator()
        let fleet = try await coordinator.fleetSnapshot(name)
        try await carryOut(try await mapped(fleet, coordinator), coordinator)
    }

    /// - Parameter asked: a name or an id; the answer is held to it.
    private static func target(_ asked: String, _ coordinator: CoordinatorClient) async throws -> Muster_V1_Node {
        let answer = try await coordinator.node(asked)
        guard answer.name == asked || answer.id == asked else {
            throw CoordinatorError.unreadable(
                path: "/v1/nodes", reason: "asked for node '\(asked)', it tells of '\(answer.name)' \(answer.id)")
        }
        return answer
    }

    private func mapped(
        _ fleet: Muster_V1_FleetSnapshot, _ coordinator: CoordinatorClient
    ) async throws -> Mapped {
        let (fingerprints, sources) = (try targetFingerprints(), try sourceFingerprints())
        var targets: [String: (names: [String], node: Muster_V1_Node)] = [:]
        for names in pairs {
            let members = Set(fleet.items.filter { [$0.node, $0.nodeID].contains(names[0]) }.map(\.nodeID))
            guard members.count == 1, let member = members.first else {
                throw NamedThingMissing(
                    summary:
                        "\(members.isEmpty ? "no node" : "more than one node") '\(names[0])' is in the fleet snapshot",
                    hint: "See 'muster fleet-snapshot show \(fleet.name)'; where two share a name, give the id.")
            }
            guard targets[member] == nil else { throw ValidationError("--map names node '\(names[0])' twice") }
            targets[member] = (names, try await Self.target(names[1], coordinator))
        }
        var mapped = Mapped()
        for step in Self.steps(fleet, in: target.flatMap { Self.plain($0, isFolder: true) } ?? "") {
            guard let (names, node) = targets[step.item.nodeID] else { continue }
            do {
                guard step.item.state == "done" else { throw NotInFleetSnapshot(reason: step.item.reason) }
                mapped.orders.append(
                    RestoreOrder(
                        snapshot: try await coordinator.snapshot(step.item.snapshotID), target: node,
                        path: step.target,
                        asked: AnswerCheck(
                            id: step.item.snapshotID, node: step.item.nodeID, database: step.item.databaseID),
                        askedTarget: names[1], askedSource: names[0], targetFingerprint: fingerprints[names[1]],
                        sourceFingerprint: sources[names[0]]))
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
            known: KnownNodes(besideContext: admin.contextPath), life: life ?? RestoreGrant.longestLife)
        guard !dryRun else { return try showPlan(mapped, orders) }
        var begun = Begun(failed: mapped.failed)
        var made: [Made] = []
        for order in mapped.orders {
            do {
                made.append((order, try await orders.grant(order)))
            } catch {
                // Of a single one the error itself is the answer.
                guard fleetSnapshot != nil else { throw error }
                begun.failed.append(Self.failure(of: order, error))
            }
        }
        do {
            for part in stride(from: 0, to: made.count, by: Self.mostOrders) {
                try await begin(made[part..<min(part + Self.mostOrders, made.count)], &begun, coordinator)
            }
        } catch {
            guard !begun.runs.isEmpty else { throw error }
            // What has begun goes on, and is told with the rest.
            let taken = Set(begun.runs.flatMap(\.items).map(\.grant) + begun.refused)
            begun.failed += made.filter { !taken.contains($0.grant.terms.id.description) }
                .map { Self.failure(of: $0.order, error) }
        }
        try await finish(begun, coordinator, total: mapped.orders.count + mapped.failed.count)
    }

    /// The coordinator takes all orders of a run or none: where it refuses one, the others go by themselves.
    private func begin(
        _ some: ArraySlice<Made>, _ begun: inout Begun, _ coordinator: CoordinatorClient
    ) async throws {
        do {
            let run = try await coordinator.restore(
                some.map(\.grant.bytes), isForeign: some.contains { !$0.order.isOwn })
            // At once: whoever interrupts the wait, or loses this machine, finds it again by its id.
            Console.note("run \(run.run) has begun: 'muster restore show \(run.run)' tells how far it is")
            begun.runs.append(run)
        } catch {
            guard fleetSnapshot != nil, case .refused(let status, _, _) = error, [400, 404, 409].contains(status),
                !error.isTransient
            else { throw error }
            guard some.count > 1 else {
                begun.failed += some.map { Self.failure(of: $0.order, error) }
                begun.refused += some.map(\.grant.terms.id.description)
                return
            }
            let middle = some.startIndex + some.count / 2
            try await begin(some[..<middle], &begun, coordinator)
            try await begin(some[middle...], &begun, coordinator)
        }
    }

    private func finish(_ begun: Begun, _ coordinator: CoordinatorClient, total: Int) async throws {
        var runs = begun.runs
        for failed in begun.failed { Console.note("\(failed.reason)") }
        guard wait else {
            try RestoreRunOutput.show(runs, refused: begun.failed, admin.format)
            if !begun.failed.isEmpty { throw runs.isEmpty ? Outcome.failed : Outcome.partly }
            return
        }
        var unknown: [InspectionReport.Failed] = []
        for index in runs.indices {
            do {
                try await RestoreRunOutput.wait(for: &runs[index], coordinator)
            } catch {
                // n of m as far as it is known is worth more than the error alone.
                unknown += RestoreRunOutput.unknown(in: runs[index], because: error)
            }
        }
        unknown.forEach { Console.note($0.reason) }
        runs.forEach(RestoreRunOutput.explain)
        let report = InspectionReport(
            run: runs.map(\.run).joined(separator: " "), passed: runs.reduce(0) { $0 + Int($1.passed) },
            total: total, failed: begun.failed + runs.flatMap(RestoreRunOutput.failures) + unknown)
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
