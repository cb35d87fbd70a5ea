import Foundation
import Logging
import MusterAPI
import MusterEngine
import MusterFormat
import MusterModel
import Synchronization

/// Restores a snapshot onto this node because an admin or an operator ordered it.
///
/// The order is held to three things that the coordinator cannot change: it is for this node and in time; another
/// node's secret in it was sealed by a holder of a recovery key that was pinned at join, under these very terms; and
/// it leads into a folder that this node's owner allowed. Another node's secret is in memory only, and only meanwhile.
struct NodeRestore: Sendable {
    private static let wordInterval = Duration.seconds(2)
    private static let clockTolerance = Duration.seconds(300)

    private let coordinator: CoordinatorClient
    private let directory: AgentDirectory
    private let identity: NodeIdentity
    private let lanes: Int
    private let environment: AgentEnvironment
    /// One at a time: each takes memory, room and cores away from the snapshots.
    private let turnstile = Turnstile(room: 1)
    private let files = BlockingPool(label: "muster-restored", width: 1)

    init(
        coordinator: CoordinatorClient, directory: AgentDirectory, identity: NodeIdentity, lanes: Int,
        environment: AgentEnvironment
    ) {
        (self.coordinator, self.directory, self.identity) = (coordinator, directory, identity)
        // The node's own work comes first: half of what it may use is enough.
        (self.lanes, self.environment) = (max(1, lanes / 2), environment)
    }

    /// - Parameter outcome: is told what was read, and what of the stored snapshot is to blame.
    func run(_ job: Muster_V1_Job, _ outcome: inout Muster_V1_JobOutcome) async throws {
        let grant = try RestoreGrant.parse(Array(job.grant))
        try check(grant, of: job)
        let keys = try keys(for: grant)
        let began = environment.monotonic()
        do {
            outcome.bytesRead = try await turnstile.pass(weight: 1) {
                try await restore(grant, keys, isAgain: job.again)
            }
        } catch let error as RestoreError {
            if let failing = error.failing { outcome.failed = [Muster_V1_Finding(failing)] }
            throw error
        }
        outcome.seconds = (environment.monotonic() - began).inSeconds
        environment.logger.info(
            "snapshot restored",
            metadata: [
                "snapshot": "\(grant.terms.snapshot)", "path": "\(grant.terms.targetPath)",
                "seconds": "\(outcome.seconds)",
            ])
    }

    // MARK: - Is it to be done?

    private func check(_ grant: RestoreGrant, of job: Muster_V1_Job) throws(OrderRefused) {
        let terms = grant.terms
        guard terms.id.description == job.id, terms.targetNode == identity.node else {
            throw OrderRefused(reason: "it is for another node or another job")
        }
        // The coordinator looks at its own clock; this is against one that gives an old order once more.
        guard terms.expiresAt + Self.clockTolerance > environment.clock.now() else {
            throw OrderRefused(reason: "it was good until \(terms.expiresAt)")
        }
    }

    private func keys(for grant: RestoreGrant) throws -> ScopeKeys {
        let terms = grant.terms
        guard let seal = grant.seal else {
            guard terms.sourceNode == identity.node, terms.scope == identity.scope else {
                throw OrderRefused(reason: "it holds no secret for another node's snapshot")
            }
            // Else the coordinator could name a key of its own, and have a history made up to be written.
            guard terms.sourceKey == identity.signingKey.verifyingKey else {
                throw OrderRefused(reason: "it takes another signing key for this node's")
            }
            return identity.keys
        }
        let pinned = try PrivateFile.text(at: directory.recoveryKeysFile).split(separator: "\n")
            .compactMap { Hex.decode($0).flatMap { RecoveryPublicKey(bytes: $0) } }
        guard pinned.contains(seal.sealer) else {
            throw OrderRefused(
                reason: "it was sealed with a recovery key that this node was not told of when it joined")
        }
        let secret = try grant.openSecret(with: GrantKey(of: identity.node, signer: identity.signingKey))
        return ScopeKeys(secret: secret, scope: terms.scope, epoch: terms.keyEpoch)
    }

    // MARK: - Doing it

    /// - Returns: sealed bytes that were read.
    private func restore(_ grant: RestoreGrant, _ keys: ScopeKeys, isAgain: Bool) async throws -> UInt64 {
        let terms = grant.terms
        // Read now: what the owner took back does not count any more.
        let configuration = try directory.configuration()
        let folder = try RestoreFolder(for: terms.targetPath, allowed: configuration.restoreInto)
        defer { folder.leave() }
        let mark = UnfinishedRestore.mark(of: terms.id)
        let progress = RestoreMeter()
        let source = PatientSource(
            CoordinatorSource(coordinator: coordinator, grant: terms.id), until: terms.expiresAt,
            environment: environment, onWait: { progress.wait(for: $0) })
        let restore = SnapshotRestore(
            source: source, keys: [keys], verifyingKey: terms.sourceKey, lanes: lanes, random: mark,
            inspector: environment.inspector)
        do {
            // From the first read on, which may wait for long.
            return try await telling(of: terms.id, progress) {
                try await rebuild(terms, by: restore, in: folder, isAgain: isAgain, progress)
            }
        } catch let error as RestoreError {
            throw error.at(terms.targetPath)
        }
    }

    private func rebuild(
        _ terms: RestoreGrant.Terms, by restore: SnapshotRestore, in folder: RestoreFolder, isAgain: Bool,
        _ progress: RestoreMeter
    ) async throws -> UInt64 {
        let plan = try await restore.plan(terms.snapshot)
        guard plan.publicPart.node == terms.sourceNode, plan.publicPart.contentRoot == terms.contentRoot else {
            throw OrderRefused(reason: "its snapshot is not the one that was announced")
        }
        let mark = UnfinishedRestore.mark(of: terms.id)
        if isAgain, try await isThere(plan, in: folder, mark) { return 0 }
        var limits = InspectionLimits()
        limits.reserveBytes = try directory.configuration().inspection.reserveBytes
        try ScratchSpace(folder: folder.path, limits: limits).check(plan.publicPart.geometry.sizeBytes)
        // A new file may get the number of the one that stood there, and pass for it.
        try directory.beginLineage(ofDatabaseAt: terms.targetPath)
        let unfinished = UnfinishedRestore(directory)
        try unfinished.note(terms)
        // A note that stays costs the next life a look.
        defer { try? unfinished.forget(terms.id) }
        try await restore.run(plan, to: folder.target, checkIntegrity: true) { read, total in
            progress.note(read, of: total)
            environment.reach(.restoreUnderWay)
        }
        environment.reach(.restoreNamed)
        return plan.publicPart.storedBytes
    }

    /// Whether the life before had finished, and could not say so any more. What it left unfinished goes.
    private func isThere(_ plan: RestorePlan, in folder: RestoreFolder, _ mark: RandomSource) async throws -> Bool {
        try await files.run {
            // It may also be a second name of the finished file.
            unlink(SnapshotRestore.partialFile(for: folder.target, random: mark))
            guard ContentCheck(plan).isContent(ofFile: folder.target) else { return false }
            try folder.sync()
            return true
        }
    }

    /// Removes what an earlier life of the agent left behind; to be called before the first order.
    func removeUnfinished() {
        do {
            try UnfinishedRestore(directory).remove()
        } catch {
            environment.logger.warning(
                "an unfinished restore was not removed",
                metadata: ["reason": "\((error as? any ActionableError)?.summary ?? "\(error)")"])
        }
    }

    /// Does `body`, and tells meanwhile how far it is. Where the order ends before it, that counts unless `body` had
    /// finished before it heard: a database that stands there must not be kept quiet about.
    private func telling(
        of grant: GrantID, _ progress: RestoreMeter, _ body: @escaping @Sendable () async throws -> UInt64
    ) async throws -> UInt64 {
        try await withThrowingTaskGroup(of: UInt64?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await tell(of: grant, progress)
                return nil
            }
            defer { group.cancelAll() }
            do {
                guard case let bytes?? = try await group.next() else { throw CancellationError() }
                return bytes
            } catch {
                group.cancelAll()
                while let other = await group.nextResult() {
                    if case .success(let bytes?) = other { return bytes }
                }
                throw error
            }
        }
    }

    /// Ends with an error when the order has ended.
    private func tell(of grant: GrantID, _ progress: RestoreMeter) async throws {
        while !Task.isCancelled {
            try await environment.sleep(Self.wordInterval)
            let (read, total, reason) = progress.figures
            let isOpen: Bool
            do {
                isOpen = try await coordinator.progress(of: grant, readBytes: read, ofBytes: total, waitsFor: reason)
            } catch {
                // It comes back, or the reads fail: that nothing was told is no reason to stop.
                environment.logger.warning("progress not told", metadata: ["reason": "\(error.summary)"])
                continue
            }
            guard isOpen else { throw OrderRefused(reason: "it has ended meanwhile") }
        }
    }
}

/// How far one restore is.
private final class RestoreMeter: Sendable {
    private let state = Mutex<(read: UInt64, total: UInt64, waitsFor: String)>((0, 0, ""))

    var figures: (read: UInt64, total: UInt64, waitsFor: String) { state.withLock { $0 } }
    func note(_ read: UInt64, of total: UInt64) { state.withLock { ($0.read, $0.total) = (read, total) } }
    func wait(for reason: String) { state.withLock { $0.waitsFor = reason } }
}

extension RestoreError {
    /// With the path as the order names it, and without words of the database: they do not leave the node.
    fileprivate func at(_ path: String) -> RestoreError {
        switch self {
        case .unsound(let snapshot, let store, let problems):
            .unsound(snapshot: snapshot, store: store, problems: ["\(problems.count) problems"])
        case .targetExists: .targetExists(path: path)
        case .targetRefused(_, let reason): .targetRefused(path: path, reason: reason)
        default: self
        }
    }
}

private struct OrderRefused: ActionableError {
    let reason: String
    var summary: String { "the order to restore is refused: \(reason)" }
    var hint: String { "Begin the restore again; if it comes back, find out who gives this node such orders." }
    var isTransient: Bool { false }
}
