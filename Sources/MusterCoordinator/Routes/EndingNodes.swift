import Hummingbird
import Logging
import MusterAPI
import MusterCatalog
import MusterModel

/// How a node leaves the fleet, and two agents that are one node.
extension Coordinator {
    /// Ends a node. Whatever it has under way ends too: requests at once, connections a moment later.
    func endNode(_ call: Call, as state: Catalog.Node.State) async throws -> Response {
        let node = try await node(call.parameters[0], for: call.caller)
        let now = clock.now()
        let row = row(call, state == .retired ? "retire" : "revoke", "\(node.name) \(node.id)")
        let outcome =
            state == .retired
            ? try await catalog.retire(node.id, at: now, audit: row)
            : try await catalog.revoke(node.id, at: now, audit: row)
        var (answer, endedRestores) = (Muster_V1_NodeEnded(), [Catalog.Restore]())
        switch outcome {
        case .ended(let closedJobs, let lostStores, let restores)?:
            endedRestores = restores
            answer.closedJobs = UInt32(clamping: closedJobs)
            answer.lostStores = stores.giveUp(Set(lostStores))
        case .keepsStores(let names)?: throw Self.keepsStores(node, names)
        case .notActive?, nil:
            throw Refusal(
                .conflict, "node_ended", "node '\(node.name)' is \(node.state.rawValue) already",
                hint: "Its certificates have ended; look at it with 'muster node show \(node.id)'.")
        }
        await endConnections(of: node.id)
        logger.notice("node ended", metadata: ["node": "\(node.name)", "state": "\(state.rawValue)"])
        if !answer.lostStores.isEmpty { try await beginPlacementWalk() }
        for restore in endedRestores { restorations.forget(restore.grant) }
        try await keepChange()
        guard let ended = try await catalog.node(node.id) else { throw Refusal.notFound("node '\(node.id)'") }
        answer.node = Muster_V1_Node(ended)
        return try call.answer(answer)
    }

    private static func keepsStores(_ node: Catalog.Node, _ names: [String]) -> Refusal {
        let list = names.map { "'\($0)'" }.joined(separator: ", ")
        return Refusal(
            .conflict, "keeps_stores", "node '\(node.name)' keeps store \(list) for the fleet",
            hint: "Let it drain: 'muster store place \(names.first ?? "STORE") draining'. Wait until 'muster status' "
                + "names no copy that is wanted, give it up with 'lost', then retire the node.")
    }

    /// What the node had under way is answered with a refusal, and then cut off.
    private func endConnections(of node: NodeID) async {
        callers.forget()
        twins.forget(node)
        reports.lose(node)
        await work.ring(node)
        await endings.ring(node)
        connections.end(node)
    }

    /// For what slipped through: a request whose certificate was looked up a moment before its node ended.
    func endLeftConnections() async throws {
        for node in connections.nodes where try await !catalog.isActive(node) { connections.end(node) }
    }

    // MARK: - Twins

    /// Raises the alarm where two agents take turns.
    func tellTwinsApart(
        _ sight: TwinBook.Sight, of node: NodeID, in series: TwinBook.Series, now: Timestamp
    ) async throws {
        guard let (one, other) = twins.see(sight, of: node, in: series, now: now) else { return }
        guard let name = try await catalog.node(node)?.name else { return }
        let isOneMachine = !one.machine.isEmpty && one.machine == other.machine
        try await catalog.raise(
            Catalog.Alarm(
                kind: .twins, node: node, database: nil,
                summary: "two agents run as node '\(name)': \(Self.text(one)); and \(Self.text(other))"
                    + (isOneMachine ? "; both say they are on one machine" : ""),
                hint: "Find out which of them is the copy, stop it, remove its directory and let it join under a name "
                    + "of its own; if nobody copied anything, revoke the node. "
                    + "Then 'muster alarm clear twins --node \(name)'.",
                since: now), ofNode: node)
        logger.warning("two agents run as one node", metadata: ["node": "\(name)"])
    }

    private static func text(_ sight: TwinBook.Sight) -> String {
        let machine = sight.machine.isEmpty ? "unknown machine" : "machine \(sight.machine.prefix(16))"
        let version = sight.version.isEmpty ? "unknown version" : "version \(sight.version)"
        return "life \(sight.life.cut(16)) on \(machine) at \(sight.address), \(version)"
    }

    func clearTwins(_ request: Muster_V1_AlarmClearRequest, _ call: Call) async throws -> Response {
        guard !request.node.isEmpty, request.database.isEmpty else {
            throw Refusal.invalid("alarm 'twins' is of a node", hint: "Name the node, and no database.")
        }
        let node = try await node(request.node, for: call.caller)
        var answer = Muster_V1_AlarmCleared()
        let row = row(call, "alarm-clear", "twins of node \(node.id)")
        answer.count = UInt32(try await catalog.clearAlarms(.twins, ofNode: node.id, now: clock.now(), audit: row))
        guard answer.count > 0 else { throw Refusal.notFound("alarm 'twins' of node '\(node.name)'") }
        twins.forget(node.id)
        return try call.answer(answer)
    }
}
