import MusterModel
import Synchronization

/// What the agent protects, and whose turn it is: shared by the schedule, the jobs and the report.
///
/// | who | may |
/// |---|---|
/// | a snapshot | work on its database while it has the turn; one at a time, the others stand in line |
/// | `replace` | take a database away: its snapshot is cut off, then who stands in line is sent off |
/// | `onLeave` | close what is open of that database, in a turn of its own |
///
/// A database that was taken away gets no turn until `onLeave` has returned, even if it is back on the board.
final class DatabaseBoard: Sendable {
    /// Lets go of a database: when it returns, nothing of this process holds a lock or a descriptor on its files.
    typealias OnLeave = @Sendable (DatabaseID) async -> Void

    private struct Turn {
        /// Rings when the database is taken away.
        let cutOff = Bell()
        var line: [CheckedContinuation<Bool, Never>] = []
    }

    private struct State {
        var databases: [DatabaseID: ProtectedDatabase] = [:]
        var turns: [DatabaseID: Turn] = [:]
        var leaving: Set<DatabaseID> = []
        var feeds: [BoardFeed] = []

        func isAdmitted(_ id: DatabaseID) -> Bool {
            databases[id].map(\.isActive) ?? false && !leaving.contains(id)
        }
    }

    private let state: Mutex<State>
    private let onLeave: OnLeave

    init(_ databases: [ProtectedDatabase], onLeave: @escaping OnLeave) {
        state = Mutex(State(databases: Self.byID(databases)))
        self.onLeave = onLeave
    }

    /// All of them, those that are paused too.
    var databases: [ProtectedDatabase] {
        state.withLock { Array($0.databases.values) }.sorted { ($0.name, $0.id) < ($1.name, $1.id) }
    }

    func database(_ id: DatabaseID) -> ProtectedDatabase? { state.withLock { $0.databases[id] } }

    /// - Parameters:
    ///   - bell: rung whenever the board has changed.
    ///   - hearsOfWakes: also tells of databases that were woken.
    /// - Returns: tells which databases have changed since; all of them at first.
    func feed(ringing bell: Bell, hearsOfWakes: Bool = false) -> BoardFeed {
        state.withLock { state in
            let feed = BoardFeed(Array(state.databases.keys), bell, hearsOfWakes: hearsOfWakes)
            state.feeds.append(feed)
            return feed
        }
    }

    /// Somebody opened these or wrote to them: feeds that want to know are told.
    func wake(_ ids: [DatabaseID]) {
        state.withLock { state in
            let listed = ids.filter { state.databases[$0] != nil }
            for feed in state.feeds where feed.hearsOfWakes { feed.add(listed) }
        }
    }

    /// True while a snapshot of it is under way.
    func isBusy(_ id: DatabaseID) -> Bool { state.withLock { $0.turns[id] != nil } }

    /// Puts exactly these on the board; see `apply`.
    func replace(with databases: [ProtectedDatabase]) async {
        let new = Set(databases.map(\.id))
        await apply(put: databases, remove: state.withLock { $0.databases.keys.filter { !new.contains($0) } })
    }

    /// Puts databases on the board, in place of those with the same ids, and takes others away.
    ///
    /// Returns when the agent has let go of every database that is not listed any more, is paused or vanished now, or
    /// is another file now. Call it again only after it has returned.
    func apply(put databases: [ProtectedDatabase], remove removed: [DatabaseID]) async {
        let left = state.withLock { state in
            var (left, changed): ([DatabaseID], [DatabaseID]) = ([], [])
            for new in databases {
                let old = state.databases.updateValue(new, forKey: new.id)
                if old != new { changed.append(new.id) }
                if let old, old.isActive, !new.isActive || new.path != old.path { left.append(new.id) }
            }
            for id in removed {
                guard let old = state.databases.removeValue(forKey: id) else { continue }
                changed.append(id)
                if old.isActive { left.append(id) }
            }
            state.leaving.formUnion(left)
            for feed in state.feeds { feed.add(changed) }
            for id in left { state.turns[id]?.cutOff.ring() }
            return left
        }
        for start in stride(from: 0, to: left.count, by: Self.leavingAtOnce) {
            await withDiscardingTaskGroup { group in
                for id in left[start...].prefix(Self.leavingAtOnce) { group.addTask { await self.letGo(of: id) } }
            }
        }
    }

    private static let leavingAtOnce = 64

    /// Who stands in line before it finds its database taken away; who comes later is not let in.
    private func letGo(of id: DatabaseID) async {
        _ = await enter(id) { _ in true }
        await onLeave(id)
        state.withLock { _ = $0.leaving.remove(id) }
        passOn(id)
    }

    private static func byID(_ databases: [ProtectedDatabase]) -> [DatabaseID: ProtectedDatabase] {
        Dictionary(databases.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    }

    // MARK: - Turns

    /// One snapshot of a database at a time; more wait in line.
    ///
    /// - Throws: `CancellationError` where the database is paused, is not listed any more or is taken away
    ///   meanwhile; `body` is cancelled then.
    func exclusively<Success: Sendable>(
        _ database: DatabaseID, _ body: @escaping @Sendable () async throws -> Success
    ) async throws -> Success {
        guard await enter(database, onlyIf: { $0.isAdmitted(database) }) else { throw CancellationError() }
        defer { passOn(database) }
        try Task.checkCancellation()
        let cutOff = state.withLock { $0.isAdmitted(database) ? $0.turns[database]?.cutOff : nil }
        guard let cutOff else { throw CancellationError() }
        return try await Self.run(body, until: cutOff)
    }

    private static func run<Success: Sendable>(
        _ body: @escaping @Sendable () async throws -> Success, until cutOff: Bell
    ) async throws -> Success {
        try await withThrowingTaskGroup(of: Success?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                await cutOff.waitForRing()
                return nil
            }
            defer { group.cancelAll() }
            if let success = try await group.next(), let success { return success }
            // Cancelled from outside, the second one ends first too: the body says how it ended.
            group.cancelAll()
            do {
                if let success = try await group.next(), let success { return success }
            } catch  where Task.isCancelled {
                throw error
            } catch {
                // Whatever it is, the body failed because it was cut off.
            }
            throw CancellationError()
        }
    }

    /// - Returns: true in turn; false at once where the condition does not hold.
    private func enter(_ database: DatabaseID, onlyIf isWelcome: (State) -> Bool) async -> Bool {
        await withCheckedContinuation { continuation in
            let answer = state.withLock { state -> Bool? in
                guard isWelcome(state) else { return false }
                guard state.turns[database] != nil else {
                    state.turns[database] = Turn()
                    return true
                }
                state.turns[database]?.line.append(continuation)
                return nil
            }
            if let answer { continuation.resume(returning: answer) }
        }
    }

    private func passOn(_ database: DatabaseID) {
        let next = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            guard let turn = state.turns[database], !turn.line.isEmpty else {
                state.turns[database] = nil
                return nil
            }
            var following = Turn()
            following.line = Array(turn.line.dropFirst())
            state.turns[database] = following
            return turn.line.first
        }
        next?.resume(returning: true)
    }
}

/// Which databases were put on the board, changed on it, were woken, or taken off since somebody last asked.
final class BoardFeed: Sendable {
    private let changed: Mutex<Set<DatabaseID>>
    private let bell: Bell
    fileprivate let hearsOfWakes: Bool

    fileprivate init(_ ids: [DatabaseID], _ bell: Bell, hearsOfWakes: Bool) {
        changed = Mutex(Set(ids))
        (self.bell, self.hearsOfWakes) = (bell, hearsOfWakes)
    }

    fileprivate func add(_ ids: [DatabaseID]) {
        guard !ids.isEmpty else { return }
        changed.withLock { $0.formUnion(ids) }
        bell.ring()
    }

    func take() -> Set<DatabaseID> {
        changed.withLock { changed in
            defer { changed = [] }
            return changed
        }
    }
}
