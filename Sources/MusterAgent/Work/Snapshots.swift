import Logging
import MusterEngine
import MusterModel

/// The one way to a snapshot on this node: for the schedule and for jobs alike.
struct Snapshots: Sendable {
    /// The turnstile's room; one large database takes six of it, one below 8 MiB takes one.
    static let room = 8
    private static let mostForOne = 6

    let board: DatabaseBoard
    let taker: SnapshotTaker
    let state: AgentState
    let turnstile: Turnstile
    let reporter: Reporter
    let environment: AgentEnvironment

    /// Takes a snapshot unless the file is, provably, as it was at the last one.
    ///
    /// - Returns: how it went; only a damaged state of our own throws.
    func takeIfChanged(_ database: ProtectedDatabase) async throws -> Attempt {
        let began = Attempt(at: environment.clock.now(), failuresInARow: 0, errorSummary: "", errorHint: "")
        if try isUnchanged(database) {
            try record(began, for: database)
            return began
        }
        do {
            _ = try await take(database, labels: [:])
        } catch {
            // It is recorded, or the agent stops; the schedule goes on by what is recorded.
        }
        return try state.attempt(of: database.id) ?? began
    }

    /// Takes a snapshot now and records how it went.
    func take(_ database: ProtectedDatabase, labels: [String: String]) async throws -> SnapshotID {
        let began = environment.clock.now()
        do {
            let snapshot = try await takeInTurn(database, labels: labels)
            try record(Attempt(at: began, failuresInARow: 0, errorSummary: "", errorHint: ""), for: database)
            return snapshot
        } catch let error as CancellationError {
            throw error
        } catch {
            let previous = try state.attempt(of: database.id)
            try record(failure(error, of: database, at: began, previous: previous), for: database)
            throw error
        }
    }

    private func takeInTurn(_ database: ProtectedDatabase, labels: [String: String]) async throws -> SnapshotID {
        try await board.exclusively(database.id) {
            let weight = min(Self.mostForOne, 1 + Int(SourceIdentity.byteCount(of: database.path) / (8 << 20)))
            return try await turnstile.pass(weight: weight) {
                let began = environment.monotonic()
                let snapshot = try await taker.take(database, labels: labels)
                environment.logger.info(
                    "snapshot acknowledged",
                    metadata: [
                        "database": "\(database.name)", "snapshot": "\(snapshot)",
                        "seconds": "\((environment.monotonic() - began).inSeconds)",
                    ])
                return snapshot
            }
        }
    }

    private func record(_ attempt: Attempt, for database: ProtectedDatabase) throws {
        try state.record(attempt, for: database.id)
        reporter.wake()
    }

    private func isUnchanged(_ database: ProtectedDatabase) throws -> Bool {
        guard try state.pending(for: database.id) == nil, let head = try state.head(of: database.id),
            !head.fingerprint.isEmpty
        else { return false }
        return try SourceIdentity.fingerprint(of: database.path) == head.fingerprint
    }

    private func failure(
        _ error: any Error, of database: ProtectedDatabase, at began: Timestamp, previous: Attempt?
    ) -> Attempt {
        let summary = (error as? any ActionableError)?.summary ?? "\(error)"
        let hint = (error as? any ActionableError)?.hint ?? "Look at the agent's log."
        let failures = (previous?.failuresInARow ?? 0) + 1
        environment.logger.warning(
            "snapshot failed",
            metadata: [
                "database": "\(database.name)", "reason": "\(summary)", "failures_in_a_row": "\(failures)",
            ])
        return Attempt(at: began, failuresInARow: failures, errorSummary: summary, errorHint: hint)
    }
}
