import Synchronization

/// The jobs that this life of the agent was given and has not ended, as each poll tells the coordinator.
final class JobsUnderWay: Sendable {
    private let jobs = Mutex<Set<String>>([])

    var ids: [String] { jobs.withLock { $0.sorted() } }

    /// - Returns: false where it is under way already.
    func begin(_ id: String) -> Bool { jobs.withLock { $0.insert(id).inserted } }

    func end(_ id: String) { jobs.withLock { _ = $0.remove(id) } }
}
