import MusterModel
import Synchronization

/// Starts each database's snapshots when they are due: one loop, however many databases.
final class ScheduleLoop: Sendable {
    private struct Ended {
        let database: DatabaseID
        let attempt: Attempt
    }

    private struct News {
        var ended: [Ended] = []
        var isStopped = false
    }

    private let board: DatabaseBoard
    private let snapshots: Snapshots
    private let state: AgentState
    private let environment: AgentEnvironment
    private let news = Mutex(News())
    private let bell = Bell()
    private let changes: BoardFeed

    init(board: DatabaseBoard, snapshots: Snapshots, state: AgentState, environment: AgentEnvironment) {
        (self.board, self.snapshots, self.state, self.environment) = (board, snapshots, state, environment)
        changes = board.feed(ringing: bell)
    }

    func stop() {
        news.withLock { $0.isStopped = true }
        bell.ring()
    }

    /// Returns after `stop`, when the last snapshot under way is done.
    func run() async throws {
        var book = ScheduleBook()
        var known: [DatabaseID: Schedule] = [:]
        try await withThrowingDiscardingTaskGroup { group in
            while !Task.isCancelled {
                let (ended, isStopped) = news.withLock { news in
                    defer { news.ended = [] }
                    return (news.ended, news.isStopped)
                }
                if isStopped { break }
                for end in ended {
                    book.finished(end.database, end.attempt, chance: environment.random.unitInterval())
                }
                try refresh(&book, &known)
                for id in book.takeDue(at: environment.clock.now()) {
                    guard let database = board.database(id) else { continue }
                    group.addTask { await self.take(database) }
                }
                // An hour at most: the wall clock may be set.
                let idle = min(book.idleTime(at: environment.clock.now()) ?? .seconds(3600), .seconds(3600))
                let sleep = environment.sleep
                await bell.wait { try await sleep(idle) }
            }
        }
    }

    private func take(_ database: ProtectedDatabase) async {
        let attempt = await snapshots.takeIfChanged(database)
        news.withLock { $0.ended.append(Ended(database: database.id, attempt: attempt)) }
        bell.ring()
    }

    private func refresh(_ book: inout ScheduleBook, _ known: inout [DatabaseID: Schedule]) throws {
        for id in changes.take() {
            guard let database = board.database(id), database.isActive else {
                book.remove(id)
                known[id] = nil
                continue
            }
            guard known[id] != database.schedule else { continue }
            book.add(
                id, database.schedule, lastAttempt: try state.attempt(of: id), now: environment.clock.now(),
                chance: environment.random.unitInterval())
            known[id] = database.schedule
        }
    }
}
