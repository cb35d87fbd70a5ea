import Logging
import MusterAPI
import MusterEngine
import MusterModel
import MusterStore

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
    private let environment: AgentEnvironment
    private let marks: SourceMarks
    private let metrics: AgentMetrics
    /// What the reports tell besides the databases.
    private let surroundings: Surroundings
    private let bell = Bell()
    private let changes: BoardFeed

    struct Surroundings: Sendable {
        /// Of the agent's state.
        let path: String
        let cache: PackCache
        let turnstile: Turnstile
        let machine: String
        /// What grants for this node are sealed to, with its word for it.
        let grantKey: [UInt8]
    }

    /// - Parameter period: the longest time between two reports.
    init(
        board: DatabaseBoard, state: AgentState, sessions: SourceSessions, coordinator: CoordinatorClient,
        files: BlockingPool, period: Duration, marks: SourceMarks, metrics: AgentMetrics,
        surroundings: Surroundings, environment: AgentEnvironment
    ) {
        (self.board, self.state, self.sessions) = (board, state, sessions)
        (self.coordinator, self.files, self.period) = (coordinator, files, period)
        (self.environment, self.marks, self.metrics) = (environment, marks, metrics)
        self.surroundings = surroundings
        changes = board.feed(ringing: bell)
    }

    /// Something changed that an admin may want to see soon.
    func wake() { bell.ring() }

    func run() async throws {
        var looks = SourceLooks(
            state: state, sessions: sessions, board: board, files: files, period: period, marks: marks)
        var series = ReportSeries(life: Hex.encode(environment.random.bytes(16)), period: period)
        while !Task.isCancelled {
            do {
                _ = changes.take()
                let now = environment.clock.now()
                let rows = try await looks.rows(at: now)
                var request = series.next(rows)
                request.freeBytes = await tell(rows, now)
                (request.agentVersion, request.clock) = (environment.version, environment.clock.now().description)
                request.machine = surroundings.machine
                if !request.isDelta { request.grantKey = .init(surroundings.grantKey) }
                let answer = try await coordinator.report(request)
                series.delivered(wantsFull: answer.wantsFull)
                metrics.count(ReportOutcome.delivered)
                if answer.wantsFull, request.isDelta { bell.ring() }
            } catch {
                let reason = (error as? any ActionableError)?.summary ?? "\(error)"
                metrics.count(ReportOutcome.failed)
                environment.logger.warning("report not delivered", metadata: ["reason": "\(reason)"])
            }
            let (sleep, rest) = (environment.sleep, max(.zero, period - Self.shortestPause))
            try await sleep(Self.shortestPause)
            await bell.wait { try await sleep(rest) }
        }
    }

    /// - Returns: how much room the state has; 0 where the disk does not say.
    private func tell(_ rows: [DatabaseRow], _ now: Timestamp) async -> UInt64 {
        marks.forgetAllBut(rows.map(\.database))
        await surroundings.cache.makeRoom()
        let path = surroundings.path
        let (sessions, state) = (sessions, state)
        // A disk that cannot be asked shows itself in the next write to the state.
        let free = (try? await files.run { try FreeSpace.bytes(besideFile: path) }) ?? 0
        // Figures: those of the next report will do.
        let held = (try? await files.run { sessions.heldWALBytes }) ?? 0
        // As above.
        let pending = (try? await files.run { try state.pendingBytes() }) ?? 0
        metrics.note(
            rows,
            AgentMetrics.Standing(
                queue: surroundings.turnstile.waitingCount, cacheBytes: surroundings.cache.byteCount, freeBytes: free,
                heldWALBytes: held, pendingBytes: pending), now: now)
        return free
    }
}
