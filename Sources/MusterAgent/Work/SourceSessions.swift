import Foundation
import Logging
import MusterEngine
import MusterModel
import MusterSQLite
import Synchronization

/// The sessions of all databases; only those that are, or were lately, written to have one.
///
/// | database | has |
/// |---|---|
/// | open in WAL mode and written to within the last minute | a follower |
/// | quiet, or closed | a watch that tells of the first write (WakeWatch); its ledger keeps where it stood |
/// | with a rollback journal, paused | nothing |
final class SourceSessions: Sendable {
    /// A database that was quiet for this long is parked.
    private static let quietTime = Duration.seconds(60)
    private static let period = Duration.seconds(5)
    private static let longestSilence = Duration.seconds(15)

    private let sessions = Mutex<[DatabaseID: SourceSession]>([:])
    private let state: AgentState
    /// For attaching and letting go: a dead disk blocks these threads and no others.
    private let files: BlockingPool
    private let environment: AgentEnvironment
    private let watch: WakeWatch?

    init(state: AgentState, files: BlockingPool, environment: AgentEnvironment) {
        (self.state, self.files, self.environment) = (state, files, environment)
        watch = WakeWatch()
        if watch == nil { environment.logger.warning("no inotify left: quiet databases are compared, not followed") }
    }

    func session(of database: DatabaseID) -> SourceSession {
        sessions.withLock { sessions in
            if let session = sessions[database] { return session }
            let session = SourceSession()
            sessions[database] = session
            return session
        }
    }

    /// - Returns: nil where none is needed now.
    func existing(of database: DatabaseID) -> SourceSession? { sessions.withLock { $0[database] } }

    /// True if a follower stands still with its locks held, for longer than any call into it may take.
    var isStalled: Bool {
        sessions.withLock { Array($0.values) }.contains { $0.isStalled(for: Self.longestSilence) }
    }

    // MARK: - Rest

    /// A snapshot ended: who is not followed is watched.
    func rest(_ database: ProtectedDatabase) {
        guard existing(of: database.id)?.isFollowing != true else {
            watch?.forget(database.id)
            return
        }
        watch?.watch(database.id, path: database.path)
    }

    /// Lets go of a database: its files carry no lock of ours when this returns.
    func leave(_ database: DatabaseID) async {
        watch?.forget(database)
        guard let session = sessions.withLock({ $0.removeValue(forKey: database) }) else { return }
        await letGo(session)
    }

    /// At the agent's end: every lock is given back.
    func leaveAll() async {
        for id in sessions.withLock({ Array($0.keys) }) { await leave(id) }
    }

    private func letGo(_ session: SourceSession) async {
        // Nothing in there throws.
        try? await files.run { session.letGo(leavingAsLast: true) }
    }

    /// Parks what has been quiet and takes up what wakes, until cancelled.
    func run(_ board: DatabaseBoard) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.park(board) }
            group.addTask { await self.wake(board) }
            try await group.waitForAll()
        }
    }

    // MARK: - Parking

    private func park(_ board: DatabaseBoard) async throws {
        while !Task.isCancelled {
            try await environment.sleep(Self.period)
            for (id, session) in sessions.withLock({ $0 }) where isQuiet(session) {
                guard let database = board.database(id) else { continue }
                do {
                    try await board.exclusively(id) { try await self.park(database, session) }
                } catch is CancellationError {
                    // It left the board meanwhile, or the agent stops: then it is let go there.
                    continue
                } catch {
                    // Without its cursor the database is compared when it wakes.
                    environment.logger.warning(
                        "parked without a cursor", metadata: ["database": "\(database.name)", "reason": "\(error)"])
                }
            }
        }
    }

    private func isQuiet(_ session: SourceSession) -> Bool {
        guard session.isUnchanged, let status = session.status else { return false }
        return environment.monotonic() - (status.lastChange ?? .zero) > Self.quietTime
    }

    private func park(_ database: ProtectedDatabase, _ session: SourceSession) async throws {
        guard isQuiet(session) else { return }
        let cursor = try await files.run { session.park(leavingAsLast: session.status?.othersAttached == false) }
        sessions.withLock { $0[database.id] = nil }
        watch?.forget(database.id)
        watch?.watch(database.id, path: database.path)
        if let cursor { try state.keepCursor(cursor.bytes, of: database.id) }
        environment.logger.debug("database parked", metadata: ["database": "\(database.name)"])
    }

    // MARK: - Waking

    private func wake(_ board: DatabaseBoard) async {
        let woken = watchers(board)
        for await id in woken {
            guard let database = board.database(id), existing(of: id)?.isFollowing != true else { continue }
            do {
                try await board.exclusively(id) { try await self.follow(database) }
            } catch is CancellationError {
                continue
            } catch {
                // The schedule meets the same and reports it.
                environment.logger.debug(
                    "not woken", metadata: ["database": "\(database.name)", "reason": "\(error)"])
            }
        }
    }

    /// What was left open at the start, then what the watch tells, from a thread of its own.
    private func watchers(_ board: DatabaseBoard) -> AsyncStream<DatabaseID> {
        AsyncStream { continuation in
            for database in board.databases where database.isActive {
                if FileManager.default.fileExists(atPath: database.path + "-wal") {
                    continuation.yield(database.id)
                } else {
                    watch?.watch(database.id, path: database.path)
                }
            }
            guard let watch else { return }
            let isOver = Flag()
            continuation.onTermination = { _ in isOver.raise() }
            let thread = Thread {
                while !isOver.isRaised {
                    for id in watch.wait(milliseconds: 1000) { continuation.yield(id) }
                }
            }
            thread.name = "muster-watch"
            thread.stackSize = 256 << 10
            thread.start()
        }
    }

    /// Attaches at once, while what was written still lies in the WAL as a whole.
    private func follow(_ database: ProtectedDatabase) async throws {
        watch?.forget(database.id)
        guard let head = try state.head(of: database.id), let stored = try state.ledger(of: database.id),
            stored.manifestHash == head.manifestHash, let cursor = stored.cursor.flatMap({ FollowCursor(bytes: $0) })
        else { return }
        let (session, path) = (session(of: database.id), database.path)
        let (elapsed, logger) = (environment.monotonic, environment.logger)
        let isFollowing = try await files.run {
            _ = session.way(path: path, cursor: cursor, elapsed: elapsed, onChange: {}) { refusal in
                logger.debug("not followed", metadata: ["database": "\(path)", "reason": "\(refusal.summary)"])
            }
            return session.isFollowing
        }
        if !isFollowing { watch?.watch(database.id, path: database.path) }
    }
}
