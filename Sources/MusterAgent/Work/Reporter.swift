import Logging
import MusterAPI
import MusterEngine
import MusterModel

/// Tells the coordinator what this node protects and how each database fares.
struct Reporter: Sendable {
    /// Reports never follow one another faster than this, whatever happens.
    private static let shortestPause = Duration.seconds(1)

    private let board: DatabaseBoard
    private let state: AgentState
    private let sessions: SourceSessions
    private let coordinator: CoordinatorClient
    /// For looking at source files: a dead disk blocks these threads and no others.
    private let files: BlockingPool
    private let period: Duration
    private let machine: String
    private let environment: AgentEnvironment
    private let bell = Bell()
    private let changes: BoardFeed

    /// - Parameter period: the longest time between two reports.
    init(
        board: DatabaseBoard, state: AgentState, sessions: SourceSessions, coordinator: CoordinatorClient,
        files: BlockingPool, period: Duration, machine: String, environment: AgentEnvironment
    ) {
        (self.board, self.state, self.sessions) = (board, state, sessions)
        (self.coordinator, self.files, self.period) = (coordinator, files, period)
        (self.environment, self.machine) = (environment, machine)
        changes = board.feed(ringing: bell)
    }

    /// Something changed that an admin may want to see soon.
    func wake() { bell.ring() }

    func run() async throws {
        var looks = SourceLooks(state: state, sessions: sessions, board: board, files: files, period: period)
        var series = ReportSeries(life: Hex.encode(environment.random.bytes(16)), period: period)
        while !Task.isCancelled {
            do {
                _ = changes.take()
                let now = environment.clock.now()
                var request = series.next(try await looks.rows(at: now))
                (request.agentVersion, request.clock) = (environment.version, environment.clock.now().description)
                request.machine = machine
                let answer = try await coordinator.report(request)
                series.delivered(wantsFull: answer.wantsFull)
                if answer.wantsFull, request.isDelta { bell.ring() }
            } catch {
                let reason = (error as? any ActionableError)?.summary ?? "\(error)"
                environment.logger.warning("report not delivered", metadata: ["reason": "\(reason)"])
            }
            let (sleep, rest) = (environment.sleep, max(.zero, period - Self.shortestPause))
            try await sleep(Self.shortestPause)
            await bell.wait { try await sleep(rest) }
        }
    }
}
