import Logging
import MusterEngine
import MusterModel
import ServiceLifecycle

/// The one way to a snapshot on this node: for the schedule and for jobs alike.
struct Snapshots: Sendable {
    /// The turnstile's room; one large database takes six of it, one below 8 MiB takes one.
    static let room = 8
    private static let mostForOne = 6

    let board: DatabaseBoard
    let taker: SnapshotTaker
    let sessions: SourceSessions
    let state: AgentState
    let turnstile: Turnstile
    let reporter: Reporter
    let metrics: AgentMetrics
    /// For looking at source files: a dead disk blocks these threads and no others.
    let files: BlockingPool
    let environment: AgentEnvironment

    /// Takes a snapshot unless the file is, provably, as it was at the last one.
    ///
    /// - Returns: how it went, whether that could be recorded or not.
    func takeIfChanged(_ database: ProtectedDatabase) async -> Attempt {
        let (attempt, _) = await recorded(database) {
            try await board.exclusively(database.id) {
                // A commit that a crash cut off may be all that there is to do.
                try await taker.settlePending(database)
                if try await !sessions.isUnchanged(database) {
                    _ = try await takeInTurn(database, labels: [:], skipsUnchanged: true)
                }
            }
        }
        return attempt
    }

    /// Takes a snapshot now and records how it went.
    func take(_ database: ProtectedDatabase, labels: [String: String]) async throws -> SnapshotID {
        let (_, result) = await recorded(database) {
            try await board.exclusively(database.id) {
                try await takeInTurn(database, labels: labels, skipsUnchanged: false)
            }
        }
        guard let snapshot = try result.get() else { preconditionFailure("a snapshot asked for is made") }
        return snapshot
    }

    // MARK: - One at a time, and not too many at once

    private func takeInTurn(
        _ database: ProtectedDatabase, labels: [String: String], skipsUnchanged: Bool
    ) async throws -> SnapshotID? {
        try await turnstile.pass(weight: try await weight(of: database)) {
            // Who stood in line when the agent was told to stop does not begin any more.
            if Task.isShuttingDownGracefully { throw CancellationError() }
            let began = environment.monotonic()
            let snapshot: SnapshotID?
            do {
                snapshot = try await taker.take(
                    database, labels: labels, skipsUnchanged: skipsUnchanged, onChange: {})
            } catch {
                await sessions.rest(database)
                throw error
            }
            await sessions.rest(database)
            guard let snapshot else {
                metrics.count(AttemptOutcome.unchanged)
                return nil
            }
            metrics.countTaken(took: environment.monotonic() - began)
            environment.logger.info(
                "snapshot acknowledged",
                metadata: [
                    "database": "\(database.name)", "snapshot": "\(snapshot)",
                    "seconds": "\((environment.monotonic() - began).inSeconds)",
                ])
            return snapshot
        }
    }

    /// Whoever is followed reads little; all others may read everything.
    private func weight(of database: ProtectedDatabase) async throws -> Int {
        if sessions.existing(of: database.id)?.isFollowing == true { return 1 }
        let path = database.path
        let bytes = try await files.run { SourceIdentity.byteCount(of: path) }
        return min(Self.mostForOne, 1 + Int(bytes / (8 << 20)))
    }

    // MARK: - How it went

    private func recorded<Success>(
        _ database: ProtectedDatabase, _ body: () async throws -> Success
    ) async -> (attempt: Attempt, result: Result<Success, any Error>) {
        let began = environment.clock.now()
        var attempt = Attempt(at: began, failuresInARow: 0, errorSummary: "", errorHint: "")
        let result: Result<Success, any Error>
        do {
            result = .success(try await body())
        } catch {
            guard !(error is CancellationError), !Task.isCancelled else {
                return (attempt, .failure(CancellationError()))
            }
            attempt = failure(error, of: database, at: began)
            result = .failure(error)
        }
        // Without what was before, this is news.
        let before = try? state.attempt(of: database.id)
        do {
            try state.record(attempt, for: database.id)
        } catch {
            // The schedule must go on by what happened, and not by what an older row says.
            attempt = failure(error, of: database, at: began)
        }
        if attempt.isNews(after: before) { reporter.wake() }
        return (attempt, result)
    }

    private func failure(_ error: any Error, of database: ProtectedDatabase, at began: Timestamp) -> Attempt {
        let summary = (error as? any ActionableError)?.summary ?? "\(error)"
        let hint = (error as? any ActionableError)?.hint ?? "Look at the agent's log."
        // A state that cannot be read counts as no failure before: this one is tried again soon.
        let failures = ((try? state.attempt(of: database.id))?.failuresInARow ?? 0) + 1
        metrics.count(AttemptOutcome.failed)
        environment.logger.warning(
            "snapshot failed",
            metadata: [
                "database": "\(database.name)", "reason": "\(summary)", "failures_in_a_row": "\(failures)",
            ])
        return Attempt(at: began, failuresInARow: failures, errorSummary: summary, errorHint: hint)
    }
}

extension Attempt {
    /// True where an admin may want to know at once: the first one, and what went wrong or well again.
    fileprivate func isNews(after before: Attempt?) -> Bool {
        guard let before else { return true }
        return (failuresInARow > 0) != (before.failuresInARow > 0) || errorSummary != before.errorSummary
    }
}
