import Logging
import MusterAPI
import MusterEngine
import MusterModel
import MusterSQLite
import ServiceLifecycle

/// Asks the coordinator for work and does it: the agent opens no port.
struct JobLoop: Sendable {
    private static let waitSeconds: UInt32 = 30
    /// Jobs at work at once; what comes beyond waits here, and at the coordinator.
    private static let mostAtOnce = 16
    private static let pauseAfterFailure = Duration.seconds(5)

    let board: DatabaseBoard
    let snapshots: Snapshots
    let verification: NodeVerification
    let restoration: NodeRestore
    let offer: PackOffer
    let keyOffer: KeyOffer
    let coordinator: CoordinatorClient
    let machine: String
    let environment: AgentEnvironment
    private let underWay = JobsUnderWay()

    init(
        board: DatabaseBoard, snapshots: Snapshots, verification: NodeVerification, restoration: NodeRestore,
        offer: PackOffer, keyOffer: KeyOffer, coordinator: CoordinatorClient, machine: String,
        environment: AgentEnvironment
    ) {
        (self.board, self.snapshots, self.verification, self.offer) = (board, snapshots, verification, offer)
        (self.restoration, self.keyOffer) = (restoration, keyOffer)
        (self.coordinator, self.machine, self.environment) = (coordinator, machine, environment)
    }

    /// Ends on graceful shutdown, when the jobs at work are done.
    func run() async throws {
        var request = Muster_V1_WorkRequest()
        request.waitSeconds = Self.waitSeconds
        request.bootID = Hex.encode(environment.random.bytes(16))
        (request.agentVersion, request.machine) = (environment.version, machine)
        restoration.removeUnfinished()
        try await withThrowingTaskGroup(of: Void.self) { group in
            var atWork = 0
            while !Task.isCancelled, !Task.isShuttingDownGracefully {
                request.atWork.ids = underWay.ids
                let answer = try await nextWork(request)
                for task in tasks(answer) {
                    if atWork >= Self.mostAtOnce {
                        try await group.next()
                        atWork -= 1
                    }
                    group.addTask { try await task() }
                    atWork += 1
                }
            }
            try await group.waitForAll()
        }
    }

    private func tasks(_ answer: Muster_V1_WorkResponse) -> [@Sendable () async throws -> Void] {
        // Before the next poll, which would find them lost otherwise.
        var tasks = answer.jobs.filter { underWay.begin($0.id) }.map { job in
            { @Sendable in try await self.work(on: job) }
        }
        let packs = answer.wantedPacks.compactMap { PackID(bytes: [UInt8]($0)) }
        if !packs.isEmpty { tasks.append { await offer.send(packs) } }
        if answer.wantsKeys { tasks.append { await keyOffer.send() } }
        return tasks
    }

    private func nextWork(_ request: Muster_V1_WorkRequest) async throws -> Muster_V1_WorkResponse {
        do {
            return try await cancelWhenGracefulShutdown { try await coordinator.work(request) }
        } catch let error as CoordinatorError {
            try Task.checkCancellation()
            if Task.isShuttingDownGracefully { return Muster_V1_WorkResponse() }
            if !error.isTransient {
                environment.logger.error(
                    "no work can be asked for", metadata: ["reason": "\(error.summary)", "hint": "\(error.hint)"])
            }
            // Chance keeps a fleet from coming back all at once after the coordinator was away.
            let pause = Self.pauseAfterFailure * (0.5 + environment.random.unitInterval())
            // Cut short by a shutdown, and then the loop ends.
            try? await cancelWhenGracefulShutdown { try await environment.sleep(pause) }
            return Muster_V1_WorkResponse()
        }
    }

    private func work(on job: Muster_V1_Job) async throws {
        // However it ends: what the coordinator did not hear of it gives out again.
        defer { underWay.end(job.id) }
        guard let id = JobID(job.id) else { return }
        var outcome = Muster_V1_JobOutcome()
        do {
            switch job.kind {
            case "snapshot": try await takeSnapshot(job, &outcome)
            case "verify": try await verify(job, &outcome)
            case "restore": try await restoration.run(job, &outcome)
            default: throw UnknownJob(kind: job.kind)
            }
            outcome.state = "done"
        } catch  where error is CancellationError || Task.isCancelled {
            // The coordinator hands it out again to the agent's next life.
            return
        } catch {
            outcome.state = "failed"
            outcome.errorSummary = (error as? any ActionableError)?.summary ?? "\(error)"
            outcome.errorHint = (error as? any ActionableError)?.hint ?? "Look at the agent's log."
        }
        guard let refusal = await deliver(outcome, of: id) else { return }
        // An outcome that is never taken must not keep the node from its next job.
        var bare = Muster_V1_JobOutcome()
        bare.state = "failed"
        (bare.errorSummary, bare.errorHint) = ("the outcome was refused: \(refusal.summary)", refusal.hint)
        _ = await deliver(bare, of: id)
    }

    /// Tells the coordinator until it knows: it may be away for a while, and somebody waits for the outcome.
    ///
    /// - Returns: why it will never take this one.
    private func deliver(_ outcome: Muster_V1_JobOutcome, of id: JobID) async -> CoordinatorError? {
        while !Task.isCancelled {
            do {
                _ = try await coordinator.finish(id, outcome)
                return nil
            } catch {
                environment.logger.warning(
                    "job's outcome not delivered", metadata: ["job": "\(id)", "reason": "\(error.summary)"])
                guard error.isTransient else { return error }
                // What is handed out to the agent's next life ends there.
                guard !Task.isShuttingDownGracefully else { return nil }
            }
            let pause = Self.pauseAfterFailure * (0.5 + environment.random.unitInterval())
            // Cut short by a shutdown; the loop looks.
            try? await cancelWhenGracefulShutdown { try await environment.sleep(pause) }
        }
        return nil
    }

    private func takeSnapshot(_ job: Muster_V1_Job, _ outcome: inout Muster_V1_JobOutcome) async throws {
        guard let id = DatabaseID(job.databaseID), let database = board.database(id) else {
            throw UnknownDatabase(name: job.database)
        }
        if database.isPaused { throw DatabasePaused(name: database.name) }
        if let since = database.vanishedAt { throw DatabaseVanished(path: database.path, since: since) }
        do {
            outcome.snapshotID = try await snapshots.take(database, labels: job.labels).description
        } catch  where error is CancellationError && !Task.isCancelled && board.database(id) != database {
            // The board cut it off: it was paused or taken away in the meantime.
            throw DatabasePaused(name: database.name)
        }
    }

    private func verify(_ job: Muster_V1_Job, _ outcome: inout Muster_V1_JobOutcome) async throws {
        guard let snapshot = SnapshotID(job.snapshotID), let database = DatabaseID(job.databaseID),
            let level = VerificationLevel(rawValue: job.level), level >= .verify
        else { throw UnknownJob(kind: "\(job.kind) \(job.level)") }
        let began = environment.monotonic()
        let proof = try await verification.prove(
            snapshot, of: database, isDrill: level == .drill,
            board.database(database)?.expectations ?? DrillExpectations())
        outcome.snapshotID = snapshot.description
        outcome.seconds = (environment.monotonic() - began).inSeconds
        outcome.bytesRead = proof.storedBytes
        outcome.failed = proof.failed.map(Muster_V1_Finding.init)
        outcome.refused = proof.refused.map(Muster_V1_Finding.init)
        if !proof.refused.isEmpty {
            environment.logger.warning(
                "replicas refused",
                metadata: [
                    "database": "\(job.database)", "snapshot": "\(snapshot)", "count": "\(proof.refused.count)",
                    "reason": "\(proof.refused.prefix(5).map { "\($0.object) in \($0.store): \($0.reason)" })",
                ])
        }
        if level == .drill, proof.plan != nil { outcome.drill = Muster_V1_DrillOutcome(proof) }
        guard !proof.failed.isEmpty else { return }
        // In SQLite's words: names of tables and the like, which are not for the coordinator.
        environment.logger.error(
            "snapshot does not pass",
            metadata: [
                "database": "\(job.database)", "snapshot": "\(snapshot)", "level": "\(level.rawValue)",
                "reason": "\(proof.failed.map(\.reason).joined(separator: "; "))",
                "details": "\(proof.details.prefix(20).joined(separator: "; "))",
            ])
    }
}

extension Muster_V1_Finding {
    init(_ failing: Failing) {
        self.init()
        (snapshot, store, object, reason) = (failing.snapshot, failing.store, failing.object, failing.reason)
    }
}

extension Muster_V1_DrillOutcome {
    /// Names of tables stay on the node.
    init(_ proof: ProofOutcome) {
        self.init()
        (restoreSeconds, restoredBytes) = (proof.restoreSeconds, proof.restoredBytes)
        (checkSeconds, integrity) = (proof.checkSeconds, proof.integrity.rawValue)
        guard let figures = proof.drill else { return }
        (tableCount, rowCount) = (UInt32(clamping: figures.rows.count), UInt64(clamping: figures.rowCount))
        tablesPresent = UInt32(clamping: figures.tablesPresent)
        (compared, largestDrop) = (figures.comparedWith != nil, figures.largestDrop)
        comparedWith = figures.comparedWith?.description ?? ""
        (shrunkTables, vanishedTables) = (
            UInt32(clamping: figures.shrunkTables), UInt32(clamping: figures.vanishedTables)
        )
        foreignKeyViolations = UInt64(clamping: figures.foreignKeyViolations)
        assertions = figures.assertions.map { answer in
            var message = Muster_V1_AssertionOutcome()
            (message.name, message.passed, message.reason) = (answer.name, answer.passed, answer.reason)
            if let value = answer.value { message.value = value }
            return message
        }
    }
}

private struct UnknownJob: ActionableError {
    let kind: String
    var summary: String { "this agent does not know jobs of kind '\(kind)'" }
    var hint: String { "Update the agent to the coordinator's version." }
    var isTransient: Bool { false }
}

private struct DatabasePaused: ActionableError {
    let name: String
    var summary: String { "database '\(name)' is paused on its node" }
    var hint: String { "Let it go on there with 'muster database resume --dir DIR \(name)'." }
    var isTransient: Bool { false }
}

/// The file of a database that a pattern found is not there any more.
struct DatabaseVanished: ActionableError {
    let path: String
    let since: Timestamp
    var summary: String { "'\(path)' has been missing since \(since)" }
    var hint: String {
        "If it was deleted for good, end its protection with 'muster database remove'; its snapshots stay. If not, restore it."
    }
    var isTransient: Bool { true }
}

private struct UnknownDatabase: ActionableError {
    let name: String
    var summary: String { "database '\(name)' is not in this agent's configuration" }
    var hint: String { "Add it on the node with 'muster database add --dir DIR PATH'." }
    var isTransient: Bool { false }
}
