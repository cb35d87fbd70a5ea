import MusterModel
import Synchronization

/// Starts each database's snapshots when they are due: one loop, however many databases.
final class ScheduleLoop: Sendable {
    private struct Ended {
        let database: DatabaseID
        let attempt: Attempt
        let isResting: Bool
    }

    /// Ten thousand that are due at once must not be at work at once; see `Snapshots.room` for those that read.
    private static let mostAtOnce = 32

    private struct News {
        var ended: [Ended] = []
        var isStopped = false
    }

    private let board: DatabaseBoard
    private let snapshots: Snapshots
    private let sessions: SourceSessions
    private let state: AgentState
    private let environment: AgentEnvironment
    private let news = Mutex(News())
    private let bell = Bell()
    private let changes: BoardFeed

    init(
        board: DatabaseBoard, snapshots: Snapshots, sessions: SourceSessions, state: AgentState,
        environment: AgentEnvironment
    ) {
        (self.board, self.snapshots, self.sessions) = (board, snapshots, sessions)
        (self.state, self.environment) = (state, environment)
        changes = board.feed(ringing: bell, hearsOfWakes: true)
    }

    func stop() {
        news.withLock { $0.isStopped = true }
        bell.ring()
    }

    /// Returns after `stop`, when the last snapshot under way is done.
    func run() async throws {
        var book = ScheduleBook()
        var known: [DatabaseID: Schedule] = [:]
        var atWork = 0
        try await withThrowingDiscardingTaskGroup { group in
            while !Task.isCancelled {
                let (ended, isStopped) = news.withLock { news in
                    defer { news.ended = [] }
                    return (news.ended, news.isStopped)
                }
                if isStopped { break }
                atWork -= ended.count
                for end in ended {
                    book.finished(
                        end.database, end.attempt, chance: environment.random.unitInterval(), isResting: end.isResting)
                }
                try refresh(&book, &known)
                for id in book.takeDue(at: environment.clock.now(), limit: Self.mostAtOnce - atWork) {
                    guard let database = board.database(id) else {
                        // The feed brings it back, as a new one.
                        book.remove(id)
                        known[id] = nil
                        continue
                    }
                    atWork += 1
                    group.addTask { await self.take(database) }
                }
                // An hour at most: the wall clock may be set.
                let nextDue = atWork < Self.mostAtOnce ? book.idleTime(at: environment.clock.now()) : nil
                let idle = min(nextDue ?? .seconds(3600), .seconds(3600))
                let sleep = environment.sleep
                await bell.wait { try await sleep(idle) }
            }
        }
    }

    private func take(_ database: ProtectedDatabase) async {
        let attempt = await snapshots.takeIfChanged(database)
        let isResting = attempt.failuresInARow == 0 && sessions.isResting(database.id)
        news.withLock { news in
            news.ended.append(Ended(database: database.id, attempt: attempt, isResting: isResting))
        }
        bell.ring()
    }

    private func refresh(_ book: inout ScheduleBook, _ known: inout [DatabaseID: Schedule]) throws {
        for id in changes.take() {
            guard let database = board.database(id), database.isActive else {
                book.remove(id)
                known[id] = nil
                continue
            }
            guard known[id] != database.schedule else {
                book.wake(id, now: environment.clock.now())
                continue
            }
            book.add(
                id, database.schedule, lastAttempt: try state.attempt(of: id), now: environment.clock.now(),
                chance: environment.random.unitInterval())
            known[id] = database.schedule
        }
    }
}
