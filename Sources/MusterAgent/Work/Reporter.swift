import Logging
import MusterAPI
import MusterEngine
import MusterModel

/// Tells the coordinator what this node protects and how each database fares.
struct Reporter: Sendable {
    private static let period = Duration.seconds(30)
    /// Reports never follow one another faster than this, however many attempts end.
    private static let shortestPause = Duration.seconds(1)

    private let board: DatabaseBoard
    private let state: AgentState
    private let coordinator: CoordinatorClient
    private let files: BlockingPool
    private let environment: AgentEnvironment
    private let bell = Bell()
    private let changes: BoardFeed

    init(
        board: DatabaseBoard, state: AgentState, coordinator: CoordinatorClient, files: BlockingPool,
        environment: AgentEnvironment
    ) {
        (self.board, self.state, self.coordinator) = (board, state, coordinator)
        (self.files, self.environment) = (files, environment)
        changes = board.feed(ringing: bell)
    }

    /// Something changed that an admin may want to see soon.
    func wake() { bell.ring() }

    func run() async throws {
        while !Task.isCancelled {
            do {
                _ = try await coordinator.report(try await report())
            } catch {
                let reason = (error as? any ActionableError)?.summary ?? "\(error)"
                environment.logger.warning("report not delivered", metadata: ["reason": "\(reason)"])
            }
            let sleep = environment.sleep
            try await sleep(Self.shortestPause)
            await bell.wait { try await sleep(Self.period) }
        }
    }

    private func report() async throws -> Muster_V1_ReportRequest {
        var request = Muster_V1_ReportRequest()
        request.agentVersion = environment.version
        request.clock = environment.clock.now().description
        _ = changes.take()
        for database in board.databases { request.databases.append(try await report(on: database)) }
        return request
    }

    private func report(on database: ProtectedDatabase) async throws -> Muster_V1_DatabaseReport {
        let (attempt, head) = (try state.attempt(of: database.id), try state.head(of: database.id))
        var report = Muster_V1_DatabaseReport()
        report.databaseID = database.id.description
        (report.name, report.path) = (database.name, database.path)
        report.schedule = "every \(database.schedule.every.text)"
        // What is paused is not looked at: nothing proves that it is as it was.
        report.changedSinceReceipt = true
        guard database.isActive else {
            report.state = database.isPaused ? "waiting" : "failing"
            if let since = database.vanishedAt {
                let vanished = DatabaseVanished(path: database.path, since: since)
                (report.errorSummary, report.errorHint) = (vanished.summary, vanished.hint)
            }
            return report
        }
        (report.errorSummary, report.errorHint) = (attempt?.errorSummary ?? "", attempt?.errorHint ?? "")
        report.attemptedAt = attempt?.at.description ?? ""
        report.state = attempt.map { $0.failuresInARow > 0 ? "failing" : "ok" } ?? "waiting"
        // A file that cannot be looked at, or that is being captured, is reported as changed: nothing proves that
        // it is not.
        let path = database.path
        let now = board.isBusy(database.id) ? nil : try? await files.run { try SourceIdentity.fingerprint(of: path) }
        report.changedSinceReceipt = now == nil || now != head?.fingerprint
        return report
    }
}
