import Hummingbird
import Logging
import MusterAPI
import MusterCatalog
import MusterFormat
import MusterModel
import Synchronization

/// Restores that other machines do: who orders them, what the nodes may read for them, how they end.
///
/// The orders are made and sealed elsewhere. Here they are held to what the catalog knows, and while one is open its
/// node may read the manifests and packs of that one snapshot. By default a node may read nothing of another.
extension Coordinator {
    private static let mostGrants = 1000
    private static let clockTolerance = Duration.seconds(300)

    /// Also called for orders among which are those for other nodes' snapshots: that is another route, for admins.
    func restore(_ call: Call) async throws -> Response {
        let request: Muster_V1_RestoreRequest = try await call.message()
        guard (1...Self.mostGrants).contains(request.grants.count) else {
            throw Refusal.invalid(
                "a run is over 1 to \(Self.mostGrants) restores", hint: "Restore the others in another run.")
        }
        let run = RunID(from: random)
        var (restores, lines): ([Catalog.NewRestore], [String]) = ([], [])
        for bytes in request.grants {
            let (restore, line) = try await checked(try Self.grant(Array(bytes)), call)
            guard !restores.contains(where: { $0.grant == restore.grant }) else { throw Self.spent(restore.grant) }
            restores.append(restore)
            lines.append(line)
        }
        // Before any of it can be acted on.
        for line in lines { try await audit(call, "restore", "run \(run): \(line)") }
        switch try await catalog.begin(restores, run: run, actor: call.caller.name, now: clock.now()) {
        case .begun: break
        case .spent(let grant): throw Self.spent(grant)
        case .noTarget(let node): throw Self.ended(node.description)
        case .noSnapshot(let snapshot): throw Refusal.notFound("snapshot \(snapshot)")
        }
        for target in Set(restores.map(\.target)) { await work.ring(target) }
        return try call.answer(try await restoreRun(run))
    }

    func showRestore(_ call: Call) async throws -> Response {
        guard let run = RunID(call.parameters[0]) else {
            throw Refusal.notFound("restore '\(call.parameters[0].cut(255))'")
        }
        return try call.answer(try await restoreRun(run))
    }

    /// Takes a run back, as far as it is open, or one of its orders. Once more is no change and no error.
    func cancelRestore(_ call: Call) async throws -> Response {
        let text = call.parameters[0]
        guard let id = GrantID(text),
            let (run, cancelled) = try await catalog.cancelRestores(id, by: call.caller.name, now: clock.now())
        else { throw Refusal.notFound("restore '\(text.cut(255))'") }
        // Their rows went with the change, one for each order.
        call.trail.note()
        for restore in cancelled {
            restorations.forget(restore.grant)
            // The next one may be waiting.
            await work.ring(restore.target)
        }
        return try call.answer(try await restoreRun(run))
    }

    private func restoreRun(_ run: RunID) async throws -> Muster_V1_RestoreRun {
        let restores = try await catalog.restores(in: run)
        guard !restores.isEmpty else { throw Refusal.notFound("restore '\(run)'") }
        return Muster_V1_RestoreRun(restores) { restorations[$0] }
    }

    // MARK: - Holding an order to what is known

    private static func grant(_ bytes: [UInt8]) throws -> RestoreGrant {
        do { return try RestoreGrant.parse(bytes) } catch { throw Refusal.malformed(error.summary) }
    }

    /// - Returns: what to record, and how the audit tells it.
    private func checked(_ grant: RestoreGrant, _ call: Call) async throws -> (Catalog.NewRestore, String) {
        let (terms, now) = (grant.terms, clock.now())
        guard terms.expiresAt > now, terms.issuedAt <= now + Self.clockTolerance else {
            throw Refusal(
                .badRequest, "clock",
                "the order was given at \(terms.issuedAt) until \(terms.expiresAt), and now is \(now)",
                hint: "Set the clocks of both machines, and restore again.")
        }
        guard let snapshot = try await catalog.snapshot(terms.snapshot), !snapshot.isForgotten else {
            throw Refusal.notFound("snapshot \(terms.snapshot)")
        }
        guard let source = try await catalog.node(terms.sourceNode), snapshot.node == source.id,
            source.scope == terms.scope, source.signingKey == terms.sourceKey.bytes,
            snapshot.contentRoot == terms.contentRoot
        else { throw Refusal.invalid("the order does not fit snapshot \(snapshot.id)", hint: Self.again) }
        guard let target = try await catalog.node(terms.targetNode) else {
            throw Refusal.notFound("node \(terms.targetNode)")
        }
        guard target.state == .active else { throw Self.ended(target.name) }
        try await check(grant.seal, for: target, call)
        let restore = Catalog.NewRestore(
            grant: terms.id, snapshot: snapshot.id, target: target.id, targetPath: terms.targetPath,
            bytes: grant.bytes, expiresAt: min(terms.expiresAt, now + RestoreGrant.longestLife))
        let line =
            "snapshot \(snapshot.id) of \(source.name)/\(snapshot.databaseName) onto node \(target.name) \(target.id) "
            + "at \(terms.targetPath.cut(1024)) until \(restore.expiresAt), grant \(terms.id)"
        return (restore, line)
    }

    /// What is sealed goes to a node that would not read it otherwise: the route for that is an admin's.
    private func check(_ seal: RestoreGrant.Seal?, for target: Catalog.Node, _ call: Call) async throws {
        guard let seal else { return }
        guard call.rule.route == .grantRestore else { throw Refusal.forbidden }
        guard recoveryKeys.contains(seal.sealer) else {
            throw Refusal.invalid("the order is sealed with a strange recovery key", hint: "Use this fleet's key.")
        }
        let known = try await catalog.grantKey(of: target.id)
        guard let known, Array(known.prefix(32)) == seal.recipient.bytes else {
            throw Refusal.invalid("the order is sealed to another key than node '\(target.name)' has", hint: Self.again)
        }
    }

    private static let again = "Begin the restore again; if that does not help, compare the versions of both sides."

    private static func spent(_ grant: GrantID) -> Refusal {
        Refusal(
            .conflict, "grant_spent", "an order with id \(grant) was given before",
            hint: "Each order counts once: begin the restore again.")
    }

    private static func ended(_ node: String) -> Refusal {
        Refusal(
            .conflict, "node_ended", "node '\(node)' has left the fleet",
            hint: "Restore onto a node that is active; 'muster node list' shows them.")
    }

    // MARK: - What an open order lets its node read

    /// The order under which a node reads what may be another's; nil where the caller names none.
    private func grantedRestore(_ call: Call) async throws -> Catalog.Restore? {
        guard case .node(let own, _, _) = call.caller, let text = call.query("grant") else { return nil }
        guard let grant = GrantID(text),
            let restore = try await catalog.openRestore(grant, of: own, now: clock.now())
        else { throw Self.notGranted }
        return restore
    }

    /// One answer for an order that never was, that has ended, and that is another node's.
    private static let notGranted = Refusal(
        .forbidden, "not_granted", "no restore of this node is open under that id",
        hint: "It may have ended: see 'muster restore show RUN', and begin another one.")

    /// The snapshot whose manifest is asked for, where the caller may have it.
    func snapshotToRead(_ call: Call) async throws -> Catalog.Snapshot {
        let text = call.parameters[0]
        guard let restore = try await grantedRestore(call) else {
            return try await snapshot(text, for: call.caller, evenIfForgotten: true)
        }
        guard let id = SnapshotID(text), try await catalog.isNeeded(manifestOf: id, by: restore.snapshot),
            let snapshot = try await catalog.snapshot(id)
        else { throw Refusal.notFound("snapshot '\(text.cut(80))'", isAnothers: try await isAnothers(text, call)) }
        return snapshot
    }

    private func isAnothers(_ text: String, _ call: Call) async throws -> Bool {
        guard case .node(let own, _, _) = call.caller, let id = SnapshotID(text) else { return false }
        return try await catalog.snapshot(id).map { $0.node != own } ?? false
    }

    /// The scope in which the caller may read that pack; nil for all.
    func scopeToRead(_ pack: PackID, _ call: Call) async throws -> ScopeID? {
        if let restore = try await grantedRestore(call) {
            guard let scope = try await catalog.scope(of: pack, neededBy: restore.snapshot) else {
                guard case .node(_, let own, _) = call.caller else { throw Refusal.notFound("pack \(pack)") }
                throw Refusal.notFound("pack \(pack)", isAnothers: try await isAnothers(pack, than: own))
            }
            return scope
        }
        if case .node(_, let own, _) = call.caller { return own }
        return nil
    }

    // MARK: - The node at work

    func takeRestores(of node: NodeID, boot: String, _ poll: PollBook.Poll) async throws -> [Muster_V1_Job] {
        let (polls, restorations, now) = (polls, restorations, clock.now())
        let restore = try await catalog.takeRestore(
            of: node, boot: boot, now: now, isNewest: { polls.isNewest(poll) },
            isSilent: { restorations.isSilent($0, now: now) })
        guard let restore else { return [] }
        restorations.hear(of: restore.grant, now: now)
        return [Muster_V1_Job(restore)]
    }

    func noteProgress(_ call: Call) async throws -> Response {
        let (node, _) = try Self.node(call)
        guard let grant = GrantID(call.parameters[0]) else {
            throw Refusal.notFound("job '\(call.parameters[0].cut(80))'")
        }
        var progress: Muster_V1_RestoreProgress = try await call.message()
        progress.waitsFor = progress.waitsFor.cut(Self.maximumTextBytes)
        var answer = Muster_V1_RestoreProgressAccepted()
        answer.open = try await catalog.openRestore(grant, of: node, now: clock.now()) != nil
        if answer.open { restorations.note(progress, of: grant, now: clock.now()) }
        return try call.answer(answer)
    }

    /// - Returns: nil where the node has no such order.
    func finishRestore(
        _ text: String, of node: NodeID, isDone: Bool, _ outcome: Muster_V1_JobOutcome
    ) async throws -> GrantID? {
        guard let grant = GrantID(text) else { return nil }
        let failing = outcome.failed.first.map { finding in
            Failing(
                snapshot: "", store: finding.store.cut(255), object: finding.object.cut(512),
                reason: finding.reason.cut(Self.maximumTextBytes))
        }
        let ended = try await catalog.finish(
            restore: grant, of: node, isDone: isDone, failing: failing,
            errorSummary: outcome.errorSummary.cut(Self.maximumTextBytes),
            errorHint: outcome.errorHint.cut(Self.maximumTextBytes), now: clock.now())
        guard let ended else { return nil }
        if ended.isNew { restorations.forget(grant) }
        // The next one may be waiting.
        await work.ring(node)
        return grant
    }

    /// Ends orders that are out of time.
    func expireRestores() async throws {
        for restore in try await catalog.expireRestores(now: clock.now()) {
            restorations.forget(restore.grant)
            await work.ring(restore.target)
        }
    }

    /// Keeps what grants for a node are sealed to, where the node's own key says so.
    func keep(grantKey statement: [UInt8], of node: NodeID) async throws {
        guard !statement.isEmpty else { return }
        guard let key = try await catalog.signingKey(of: node).flatMap({ VerifyingKey(bytes: $0) }),
            GrantPublicKey(statement: statement, of: node, signer: key) != nil
        else { throw Refusal.malformed("grant_key is not this node's word") }
        try await catalog.keep(grantKey: statement, of: node)
    }
}

/// How far open restores are, and when that was heard. Not worth writing down: the next word of it comes soon.
final class RestorationBook: Sendable {
    /// An agent at work tells every few seconds how far it is.
    private static let longestSilence = Duration.seconds(60)

    private struct Entry {
        var progress: Muster_V1_RestoreProgress?
        var heardAt: Timestamp
    }

    private let entries = Mutex<[GrantID: Entry]>([:])

    subscript(grant: GrantID) -> Muster_V1_RestoreProgress? { entries.withLock { $0[grant]?.progress } }

    func note(_ message: Muster_V1_RestoreProgress, of grant: GrantID, now: Timestamp) {
        entries.withLock { $0[grant] = Entry(progress: message, heardAt: now) }
    }

    func hear(of grant: GrantID, now: Timestamp) {
        entries.withLock { $0[grant, default: Entry(heardAt: now)].heardAt = now }
    }

    /// Whether nothing was heard for so long that its agent may not know of it. One that was handed out by an earlier
    /// process of the coordinator is listened for from the first question on.
    func isSilent(_ grant: GrantID, now: Timestamp) -> Bool {
        entries.withLock { entries in
            guard let entry = entries[grant] else {
                entries[grant] = Entry(heardAt: now)
                return false
            }
            return now - entry.heardAt >= Self.longestSilence
        }
    }

    func forget(_ grant: GrantID) { entries.withLock { _ = $0.removeValue(forKey: grant) } }
}

extension Muster_V1_Job {
    init(_ restore: Catalog.Restore) {
        self.init()
        (id, kind) = (restore.grant.description, "restore")
        (node, database, snapshotID) = (restore.targetName, restore.databaseName, restore.snapshot.description)
        runID = restore.run.description
        state = "running"
        createdAt = restore.createdAt.description
        grant = .init(restore.bytes)
        again = restore.state == .running
    }
}

extension Muster_V1_RestoreRun {
    init(_ restores: [Catalog.Restore], progress: (GrantID) -> Muster_V1_RestoreProgress?) {
        self.init()
        total = UInt32(clamping: restores.count)
        passed = UInt32(clamping: restores.count { $0.state == .done })
        state = restores.allSatisfy(\.state.isFinal) ? "finished" : "running"
        if let first = restores.first {
            (run, actor, createdAt) = (first.run.description, first.actor, first.createdAt.description)
        }
        items = restores.map { restore in
            var item = Muster_V1_RestoreItem()
            (item.grant, item.snapshotID) = (restore.grant.description, restore.snapshot.description)
            (item.node, item.database) = (restore.sourceName, restore.databaseName)
            (item.targetNode, item.targetPath) = (restore.targetName, restore.targetPath)
            item.state =
                restore.cancelledBy.isEmpty || restore.state == .done ? restore.state.rawValue : "cancelled"
            if let progress = progress(restore.grant) {
                (item.bytesRead, item.bytesTotal) = (progress.bytesRead, progress.bytesTotal)
                item.waitsFor = progress.waitsFor
            }
            (item.errorSummary, item.errorHint) = (restore.errorSummary, restore.errorHint)
            if let failing = restore.failing {
                (item.finding.snapshot, item.finding.store) = (failing.snapshot, failing.store)
                (item.finding.object, item.finding.reason) = (failing.object, failing.reason)
            }
            item.expiresAt = restore.expiresAt.description
            item.finishedAt = restore.finishedAt?.description ?? ""
            return item
        }
    }
}
