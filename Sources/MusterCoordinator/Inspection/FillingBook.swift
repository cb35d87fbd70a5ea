import MusterModel
import Synchronization

/// Runs over snapshots that were named, for as long as whoever named them fills them.
///
/// Nobody else can go on with such a run. One that is not full and not here was cut off, by an error or by a restart:
/// it is closed, and what came of it is inspected.
final class FillingBook: Sendable {
    private let runs = Mutex<Set<RunID>>([])

    func contains(_ run: RunID) -> Bool { runs.withLock { $0.contains(run) } }

    func fill(_ run: RunID, _ body: () async throws -> Void) async throws {
        runs.withLock { _ = $0.insert(run) }
        defer { runs.withLock { _ = $0.remove(run) } }
        try await body()
    }
}
