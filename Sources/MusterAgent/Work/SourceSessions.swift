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
/// | the same, and seen to be as its newest snapshot since | no turn in the schedule either, but seldom |
/// | paused, vanished | nothing |
final class SourceSessions: Sendable {
    /// A database that was quiet for this long is parked.
    private static let quietTime = Duration.seconds(60)
    private static let period = Duration.seconds(5)
    /// Reading a long WAL takes its time; more than this it takes on a disk that does not answer.
    private static let longestSilence = Duration.seconds(300)
    /// Databases that are attached to at once when they wake.
    private static let wakingAtOnce = 8

    private let sessions = Mutex<[DatabaseID: SourceSession]>([:])
    private let state: AgentState
    /// For looking at files, attaching and letting go: a dead disk blocks these threads and no others.
    private let files: BlockingPool
    private let environment: AgentEnvironment
    private let watch: WakeWatch
    private let woken = Mutex<Set<DatabaseID>>([])
    private let bell = Bell()

    init(state: AgentState, files: BlockingPool, watch: WakeWatch, environment: AgentEnvironment) {
        (self.state, self.files, self.watch, self.environment) = (state, files, watch, environment)
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

    /// The most that a WAL has grown because of us, of all that are followed; one that stands still is not waited for.
    var heldWALBytes: UInt64 {
        let moving = sessions.withLock { Array($0.values) }.filter { !$0.isStalled(for: .seconds(1)) }
        return moving.compactMap(\.status).map(\.heldWALBytes).max() ?? 0
    }

    // MARK: - Rest

    /// True if the database is, provably, as at its newest snapshot; where its folder can be watched it rests then.
    ///
    /// Call it, and `rest`, only in the database's turn.
    func isUnchanged(_ database: ProtectedDatabase) async throws -> Bool {
        if let session = existing(of: database.id), session.isFollowing { return session.isUnchanged }
        guard let head = try state.head(of: database.id), !head.fingerprint.isEmpty else { return false }
        return try await look(at: database, head) == .unchanged
    }

    /// True while nobody told of a change since the database was seen to be unchanged.
    func isResting(_ database: DatabaseID) -> Bool { watch.isResting(database) }

    /// A snapshot ended: who is not followed is watched, and needs no session.
    func rest(_ database: ProtectedDatabase) async {
        guard existing(of: database.id)?.isFollowing != true else { return watch.disarm(database.id) }
        sessions.withLock { sessions in
            if sessions[database.id]?.isEmpty == true { sessions[database.id] = nil }
        }
        let watch = watch
        // Nothing in there throws.
        _ = try? await files.run { watch.arm(database.id, path: database.path) }
    }

    /// What the files say.
    private enum Look { case unchanged, closed, changed }

    private func look(at database: ProtectedDatabase, _ head: LineageHead) async throws -> Look {
        let (watch, id, path) = (watch, database.id, database.path)
        return try await files.run {
            // Before the look: what is written after it is told.
            let file = watch.arm(id, path: path)
            guard try SourceIdentity.fingerprint(of: path) != head.fingerprint else {
                watch.rest(id)
                return .unchanged
            }
            return Self.hasLog(file) ? .changed : .closed
        }
    }

    private static func hasLog(_ file: FilePath) -> Bool {
        // What cannot be looked at is not followed either.
        (try? FileStatus(path: file.description + "-wal", followsLink: false)) != nil
    }

    /// Lets go of a database: its files carry no lock of ours when this returns.
    func leave(_ database: DatabaseID) async {
        watch.disarm(database)
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
            group.addTask { try await self.wake(board) }
            try await group.waitForAll()
        }
    }

    // MARK: - Parking

    private func park(_ board: DatabaseBoard) async throws {
        while !Task.isCancelled {
            try await environment.sleep(Self.period)
            for (id, session) in sessions.withLock({ $0 }) where isQuiet(session) {
                guard let database = board.database(id), !board.isBusy(id) else { continue }
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
        let watch = watch
        let cursor = try await files.run {
            watch.arm(database.id, path: database.path)
            return session.park(leavingAsLast: session.status?.othersAttached == false)
        }
        sessions.withLock { sessions in
            if sessions[database.id]?.isEmpty == true { sessions[database.id] = nil }
        }
        if let cursor { try state.keepCursor(cursor.bytes, of: database.id) }
        environment.logger.debug("database parked", metadata: ["database": "\(database.name)"])
    }

    // MARK: - Waking

    /// From the folder watch's thread.
    func note(_ changes: FolderChanges, _ board: DatabaseBoard) {
        let ids = watch.takeWoken(by: changes)
        guard !ids.isEmpty else { return }
        // The schedule looks at each in its time.
        board.wake(ids)
        // Where nobody knows who was written to, that is enough.
        guard !changes.isIncomplete else { return }
        woken.withLock { $0.formUnion(ids) }
        bell.ring()
    }

    private func wake(_ board: DatabaseBoard) async throws {
        try await noteOpen(board)
        await withTaskGroup(of: Void.self) { group in
            var atWork = 0
            while !Task.isCancelled {
                let ids = woken.withLock { woken in
                    defer { woken = [] }
                    return woken
                }
                for id in ids {
                    if atWork >= Self.wakingAtOnce {
                        await group.next()
                        atWork -= 1
                    }
                    group.addTask { await self.follow(id, board) }
                    atWork += 1
                }
                await bell.waitForRing()
            }
        }
    }

    /// What was left open when the agent ended may have been written to since.
    private func noteOpen(_ board: DatabaseBoard) async throws {
        let databases = board.databases.filter(\.isActive)
        let open = try await files.run { databases.filter { Self.hasLog(FilePath($0.path)) }.map(\.id) }
        woken.withLock { $0.formUnion(open) }
    }

    private func follow(_ id: DatabaseID, _ board: DatabaseBoard) async {
        // One that is being captured is attached to there, or looked at when it is due again.
        guard let database = board.database(id), !board.isBusy(id), existing(of: id)?.isFollowing != true else {
            return
        }
        do {
            try await board.exclusively(id) { try await self.follow(database) }
        } catch is CancellationError {
            // It left the board meanwhile, or the agent stops.
            return
        } catch {
            // The schedule meets the same and reports it.
            environment.logger.debug(
                "not woken", metadata: ["database": "\(database.name)", "reason": "\(error)"])
        }
    }

    /// Attaches at once, while what was written still lies in the WAL as a whole.
    private func follow(_ database: ProtectedDatabase) async throws {
        guard let head = try state.head(of: database.id), try await look(at: database, head) == .changed,
            let stored = try state.ledger(of: database.id), stored.manifestHash == head.manifestHash,
            let cursor = stored.cursor.flatMap({ FollowCursor(bytes: $0) })
        else { return }
        let (session, path) = (session(of: database.id), database.path)
        let (elapsed, logger) = (environment.monotonic, environment.logger)
        try await files.run {
            _ = session.way(path: path, cursor: cursor, elapsed: elapsed, onChange: {}) { refusal in
                logger.debug("not followed", metadata: ["database": "\(path)", "reason": "\(refusal.summary)"])
            }
        }
        await rest(database)
    }
}
