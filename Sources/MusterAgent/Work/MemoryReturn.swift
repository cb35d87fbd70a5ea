import MusterModel

/// Gives memory that nobody uses back to the system, from time to time.
///
/// After ten thousand first snapshots the allocator keeps, in pieces, three times what an idle agent needs; by itself
/// it returns only what lies at the end of its heap (malloc_trim(3)).
struct MemoryReturn: Sendable {
    /// It takes some milliseconds, and what is needed again costs a page fault each.
    private static let period = Duration.seconds(60)

    let files: BlockingPool
    let environment: AgentEnvironment

    /// Returns when it is cancelled.
    func run() async throws {
        while !Task.isCancelled {
            try await environment.sleep(Self.period)
            try await files.run(environment.trimMemory)
        }
    }
}
