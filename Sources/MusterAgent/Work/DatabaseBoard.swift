import MusterAPI
import MusterModel
import Synchronization

/// What the agent protects and how each database fares: shared by the schedule, the jobs and the report.
final class DatabaseBoard: Sendable {
    private struct State {
        var databases: [DatabaseID: ProtectedDatabase] = [:]
        /// Databases with a snapshot under way, and who waits for each.
        var busy: [DatabaseID: [CheckedContinuation<Void, Never>]] = [:]
    }

    private let state = Mutex(State())

    var databases: [ProtectedDatabase] {
        state.withLock { Array($0.databases.values) }.sorted { ($0.name, $0.id) < ($1.name, $1.id) }
    }

    func database(_ id: DatabaseID) -> ProtectedDatabase? { state.withLock { $0.databases[id] } }

    func replace(with databases: [ProtectedDatabase]) {
        state.withLock { state in
            state.databases = Dictionary(databases.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        }
    }

    /// True while a snapshot of it is under way.
    func isBusy(_ id: DatabaseID) -> Bool { state.withLock { $0.busy[id] != nil } }

    /// One snapshot of a database at a time; more wait in line.
    func exclusively<Success: Sendable>(
        _ database: DatabaseID, _ body: () async throws -> Success
    ) async throws -> Success {
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                guard state.busy[database] != nil else {
                    state.busy[database] = []
                    return true
                }
                state.busy[database]?.append(continuation)
                return false
            }
            if isFree { continuation.resume() }
        }
        defer { leave(database) }
        try Task.checkCancellation()
        return try await body()
    }

    private func leave(_ database: DatabaseID) {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard var line = state.busy[database], !line.isEmpty else {
                state.busy[database] = nil
                return nil
            }
            let next = line.removeFirst()
            state.busy[database] = line
            return next
        }
        next?.resume()
    }
}
