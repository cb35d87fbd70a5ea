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
/// the state moves, the ledger with it. Whatever is cut off is taken up again by sending the
/// same bytes; the ledger then stays behind, and the next snapshot compares everything.
struct SnapshotTaker: Sendable {
    let identity: NodeIdentity
    let receiptKey: VerifyingKey
    let state: AgentState
    let coordinator: CoordinatorClient
    let uploads: SignedUploads
    let pipeline: SnapshotPipeline
    let offer: PackOffer
    let sessions: SourceSessions
    /// For looking at source files and attaching to them: a dead disk blocks these threads and no others.
    let files: BlockingPool
    /// For what is written to the state and waits for its disk.
    let writes: BlockingPool
    let marks: SourceMarks
    let metrics: AgentMetrics
    let environment: AgentEnvironment

    /// Capture again after the source moved away under it, or after the head turned out to be another one.
    private static let maximumRounds = 6

    /// - Parameters:
    ///   - labels: with any, a snapshot is made even where nothing changed.
    ///   - onChange: called when a commit comes after the database was quiet.
    /// - Returns: the acknowledged snapshot; nil if nothing changed and `skipsUnchanged`.
    func take(
        _ database: ProtectedDatabase, labels: [String: String], skipsUnchanged: Bool,
        onChange: @escaping @Sendable () -> Void
    ) async throws -> SnapshotID? {
        try await settlePending(database)
        let session = sessions.session(of: database.id)
        for round in 1... {
            do {
                let attempt = Attempting(
                    database: database, labels: labels, skipsUnchanged: skipsUnchanged, session: session,
                    onChange: onChange)
                return try await DamagedState.told { try await attempt.run(self) }
            } catch let refusal as HeadMoved where round < Self.maximumRounds {
                session.giveUp()
                try adopt(refusal, database)
            } catch let replaced as SourceReplaced where round < Self.maximumRounds {
                environment.logger.warning(
                    "the file was replaced: a new lineage begins",
                    metadata: [
                        "database": "\(database.name)", "before": "\(replaced.before)", "now": "\(replaced.now)",
                    ])
                try await letGo(session)
                try state.forgetHead(of: database.id)
            } catch let error as any ActionableError where isWorthAnotherRound(error) && round < Self.maximumRounds {
                environment.logger.warning(
                    "capture starts again", metadata: ["database": "\(database.name)", "reason": "\(error.summary)"])
                try await DamagedState.told { try await recover(error, database, session) }
                try await environment.sleep(.milliseconds(Int64(20 * round * round)))
            }
        }
        preconditionFailure("the last round returns or throws")
    }

    // MARK: - A commit that was cut off

    /// Sends the stored bytes of an unanswered commit again, before anything else.
    func settlePending(_ database: ProtectedDatabase) async throws {
        guard let pending = try state.pending(for: database.id) else { return }
        let session = sessions.session(of: database.id)
        do {
            let snapshot = try await commit(pending, database, session)
            environment.logger.info(
                "unanswered commit settled", metadata: ["database": "\(database.name)", "snapshot": "\(snapshot)"])
        } catch is HeadMoved {
            // Somebody else committed in between; the next capture finds out what that means.
            session.giveUp()
            try state.dropPending(for: database.id)
        } catch let error as CoordinatorError where isFinal(error) {
            // It can never be committed: its packs were dropped, or the coordinator does not know its lineage
            // or does not take its form. A fresh capture is tried, and its error is the one to report.
            environment.logger.warning(
                "unanswered commit given up", metadata: ["database": "\(database.name)", "reason": "\(error.summary)"])
            session.giveUp()
            if case .refused(409, _, _) = error {
                try state.forgetHead(of: database.id)
            } else {
                try state.dropPending(for: database.id)
                try state.dropLedger(of: database.id)
            }
        }
    }

    private func isFinal(_ error: CoordinatorError) -> Bool {
        guard case .refused(let status, _, _) = error else { return false }
        return [400, 409, 412, 413, 422].contains(status)
    }

    // MARK: - The commit

    func commit(
        _ pending: PendingCommit, _ database: ProtectedDatabase, _ session: SourceSession
    ) async throws -> SnapshotID {
        var request = Muster_V1_CommitRequest()
        request.manifest = .init(pending.manifest)
        request.packs = pending.inlinePacks.map { .init($0) }
        let answer: Muster_V1_CommitResponse
        do {
            answer = try await answered(request)
        } catch {
            throw HeadMoved(error) ?? error
        }
        let receipt = try Receipt.parse([UInt8](answer.receipt)).verified(by: receiptKey)
        guard receipt.manifest == pending.manifestHash else {
            throw WrongReceipt(snapshot: pending.snapshot)
        }
        environment.reach(.commitAnswered)
        let unsettled = session.change(for: pending.manifestHash)
        let state = state
        try await writes.run {
            try state.settle(
                pending, receipt: [UInt8](answer.receipt), receivedAt: receipt.receivedAt,
                change: unsettled.map { ($0.ledger, $0.change) })
        }
        session.settled(unsettled)
        await sweep()
        return pending.snapshot
    }

    /// Packs that got lost since may still be here: then nothing has to be read and sealed again.
    private func answered(
        _ request: Muster_V1_CommitRequest
    ) async throws(CoordinatorError) -> Muster_V1_CommitResponse {
        do {
            return try await coordinator.commit(request)
        } catch  where error.code == "packs_missing" {
            let packs = error.missingPacks
            guard !packs.isEmpty, await offer.send(packs) else { throw error }
            return try await coordinator.commit(request)
        }
    }

    /// The snapshot is acknowledged whether this succeeds or not; the next one tries again.
    private func sweep() async {
        let state = state
        do {
            // As `sweepLedgers`, but others get their turn.
            while try await writes.run({ try state.sweepSomeOfLedgers() }) {}
        } catch {
            environment.logger.warning("old ledgers not removed", metadata: ["reason": "\(error)"])
        }
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

    // MARK: - What can be mended

    private func isWorthAnotherRound(_ error: any ActionableError) -> Bool {
        // Without the ledger, a full manifest is made of what the file holds.
        if let error = error as? CoordinatorError { return ["packs_missing", "base_missing"].contains(error.code) }
        if error is LedgerError || error is FormatError || error is DamagedState { return true }
        switch error as? CaptureError {
        // The second is our own report looking at the file: it is done in a moment.
        case .changedDuringCapture, .alreadyBeingCaptured, .followBroken: return true
        default: return false
        }
    }

    private func recover(
        _ error: any ActionableError, _ database: ProtectedDatabase, _ session: SourceSession
    ) async throws {
        session.giveUp()
        try state.dropPending(for: database.id)
        if error is CoordinatorError || error is LedgerError || error is FormatError || error is DamagedState {
            // It names packs that are gone, contradicts itself, or lies on pages that are damaged; most of the file is it.
            try state.dropLedger(of: database.id)
        }
        if case .followBroken? = error as? CaptureError { try await letGo(session) }
    }

    private func letGo(_ session: SourceSession) async throws {
        try await files.run { session.letGo(leavingAsLast: true) }
    }
}

/// 409: the coordinator's head of the lineage is another one.
struct HeadMoved: Error {
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

/// The coordinator signed a receipt for something else.
struct WrongReceipt: ActionableError {
    let snapshot: SnapshotID
    var summary: String { "the receipt that came back is not for snapshot \(snapshot)" }
    var hint: String { "Look at the coordinator's log; the snapshot is sent again." }
    var isTransient: Bool { true }
}
