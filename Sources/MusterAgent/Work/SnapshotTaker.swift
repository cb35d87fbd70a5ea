import Logging
import MusterAPI
import MusterEngine
import MusterFormat
import MusterModel
import MusterSQLite

/// Takes one snapshot of one database, from the lock to the receipt.
///
/// The order is what makes a crash harmless: packs are durable on the other side, then
/// the signed manifest is durable here, then it is sent, then the receipt is checked, then
/// the state moves. Whatever is cut off is taken up again by sending the same bytes.
struct SnapshotTaker: Sendable {
    let identity: NodeIdentity
    let receiptKey: VerifyingKey
    let state: AgentState
    let coordinator: CoordinatorClient
    let pipeline: SnapshotPipeline
    let environment: AgentEnvironment

    /// Capture again after the source moved away under it, or after the head turned out to be another one.
    private static let maximumRounds = 4

    /// - Returns: the acknowledged snapshot.
    func take(_ database: ProtectedDatabase, labels: [String: String]) async throws -> SnapshotID {
        try await settlePending(database)
        for round in 1... {
            do {
                let pending = try await prepare(database, labels: labels)
                environment.reach(.packsPut)
                try state.keep(pending)
                environment.reach(.manifestKept)
                return try await commit(pending, database)
            } catch let refusal as HeadMoved where round < Self.maximumRounds {
                try adopt(refusal, database)
            } catch let replaced as FileReplaced where round < Self.maximumRounds {
                environment.logger.warning(
                    "the file was replaced: a new lineage begins",
                    metadata: [
                        "database": "\(database.name)", "before": "\(replaced.before)", "now": "\(replaced.now)",
                    ])
                try state.forgetHead(of: database.id)
            } catch let error as any ActionableError where isWorthAnotherRound(error) && round < Self.maximumRounds {
                environment.logger.warning(
                    "capture starts again", metadata: ["database": "\(database.name)", "reason": "\(error.summary)"])
                try state.dropPending(for: database.id)
                try await environment.sleep(.milliseconds(200))
            }
        }
        preconditionFailure("the last round returns or throws")
    }

    // MARK: - A commit that was cut off

    /// Sends the stored bytes of an unanswered commit again, before anything else.
    func settlePending(_ database: ProtectedDatabase) async throws {
        guard let pending = try state.pending(for: database.id) else { return }
        do {
            let snapshot = try await commit(pending, database)
            environment.logger.info(
                "unanswered commit settled", metadata: ["database": "\(database.name)", "snapshot": "\(snapshot)"])
        } catch is HeadMoved {
            // Somebody else committed in between; the next capture finds out what that means.
            try state.dropPending(for: database.id)
        } catch let error as CoordinatorError where isFinal(error) {
            // It can never be committed: its packs were dropped, or the coordinator does not know its lineage
            // or does not take its form. A fresh capture is tried, and its error is the one to report.
            environment.logger.warning(
                "unanswered commit given up", metadata: ["database": "\(database.name)", "reason": "\(error.summary)"])
            if case .refused(409, _, _) = error {
                try state.forgetHead(of: database.id)
            } else {
                try state.dropPending(for: database.id)
            }
        }
    }

    private func isFinal(_ error: CoordinatorError) -> Bool {
        guard case .refused(let status, _, _) = error else { return false }
        return [400, 409, 412, 413, 422].contains(status)
    }

    // MARK: - A new snapshot

    private func prepare(
        _ database: ProtectedDatabase, labels: [String: String]
    ) async throws -> PendingCommit {
        let head = try state.head(of: database.id)
        let forkedFrom = head == nil ? try state.forkOrigin(of: database.id) : nil
        let parentPacks = try await packs(of: head)
        let request = request(database, after: head, parentPacks, labels: labels, forkedFrom: forkedFrom)
        let prepared = try await pipeline.run(request, sink: CoordinatorSink(coordinator: coordinator))
        if let head, !head.identity.isEmpty, head.identity != prepared.identity {
            throw FileReplaced(before: head.identity, now: prepared.identity)
        }
        return PendingCommit(
            database: database.id, lineage: request.lineage, sequence: request.sequence, snapshot: request.snapshot,
            manifest: prepared.manifest, manifestHash: prepared.manifestHash, packs: prepared.inlinePacks,
            packIDs: prepared.packs, identity: prepared.identity, fingerprint: prepared.fingerprint,
            capturedAt: prepared.capturedAt)
    }

    private func request(
        _ database: ProtectedDatabase, after head: LineageHead?, _ parentPacks: Set<PackID>,
        labels: [String: String], forkedFrom: ForkOrigin?
    ) -> SnapshotRequest {
        SnapshotRequest(
            snapshot: SnapshotID(from: environment.random), node: identity.node, database: database.id,
            databaseName: database.name, path: database.path,
            lineage: head?.lineage ?? LineageID(from: environment.random), sequence: head.map { $0.sequence + 1 } ?? 0,
            parent: head.map { Ancestor(snapshot: $0.snapshot, manifestHash: $0.manifestHash) },
            parentPacks: parentPacks, forkedFrom: forkedFrom, labels: labels)
    }

    /// The coordinator is asked where this agent took a head over without having kept its packs.
    private func packs(of head: LineageHead?) async throws -> Set<PackID> {
        guard let head else { return [] }
        if let packs = head.packs { return packs }
        let bytes = try await coordinator.manifest(of: head.snapshot)
        return try Manifest.parse(bytes).verified(by: identity.signingKey.verifyingKey).publicPart.packs.added
    }

    // MARK: - The commit

    private func commit(_ pending: PendingCommit, _ database: ProtectedDatabase) async throws -> SnapshotID {
        var request = Muster_V1_CommitRequest()
        request.manifest = .init(pending.manifest)
        request.packs = pending.packs.map { .init($0) }
        let answer: Muster_V1_CommitResponse
        do {
            answer = try await coordinator.commit(request)
        } catch {
            throw HeadMoved(error) ?? error
        }
        let receipt = try Receipt.parse([UInt8](answer.receipt)).verified(by: receiptKey)
        guard receipt.manifest == pending.manifestHash else {
            throw WrongReceipt(snapshot: pending.snapshot)
        }
        environment.reach(.commitAnswered)
        try state.settle(pending, receipt: [UInt8](answer.receipt), receivedAt: receipt.receivedAt)
        return pending.snapshot
    }

    /// The coordinator's head is not the parent we named. A head that this agent signed is taken over
    /// (our state was older); a stranger's means that two agents have one identity: a new lineage
    /// begins that names it, and both histories stay.
    private func adopt(_ refusal: HeadMoved, _ database: ProtectedDatabase) throws {
        try state.dropPending(for: database.id)
        if try state.adoptOwnManifest(refusal.head.manifestHash, of: database.id) {
            environment.logger.warning(
                "head taken over from an earlier life", metadata: ["database": "\(database.name)"])
            return
        }
        environment.logger.error(
            "the lineage was continued by somebody else: forking",
            metadata: ["database": "\(database.name)", "lineage": "\(refusal.lineage)"])
        try state.forgetHead(of: database.id, forkedFrom: ForkOrigin(lineage: refusal.lineage, head: refusal.head))
    }

    private func isWorthAnotherRound(_ error: any ActionableError) -> Bool {
        if let error = error as? CoordinatorError { return error.code == "packs_missing" }
        switch error as? CaptureError {
        // The second is our own report looking at the file: it is done in a moment.
        case .changedDuringCapture, .alreadyBeingCaptured: return true
        default: return false
        }
    }
}

/// 409: the coordinator's head of the lineage is another one.
private struct HeadMoved: Error {
    let lineage: LineageID
    let head: Ancestor

    init?(_ error: CoordinatorError) {
        guard case .refused(409, let body, _) = error, body.code == "forked", body.hasHead,
            let lineage = LineageID(body.head.lineageID), let snapshot = SnapshotID(body.head.snapshotID),
            let hash = ManifestHash(body.head.manifestHash)
        else { return nil }
        (self.lineage, head) = (lineage, Ancestor(snapshot: snapshot, manifestHash: hash))
    }
}

/// Device, inode or page size are not those of the head: another file stands under the name.
private struct FileReplaced: Error {
    let before: String
    let now: String
}

/// The coordinator signed a receipt for something else.
struct WrongReceipt: ActionableError {
    let snapshot: SnapshotID
    var summary: String { "the receipt that came back is not for snapshot \(snapshot)" }
    var hint: String { "Look at the coordinator's log; the snapshot is sent again." }
    var isTransient: Bool { true }
}
