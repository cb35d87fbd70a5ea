import MusterModel

/// When each node was last heard of, so that its polls do not each cost a durable write.
actor ContactBook {
    private static let interval = Duration.seconds(60)
    private var written: [NodeID: Timestamp] = [:]
    /// Polls under way: so long a node is here, whatever was written.
    private var polls: [NodeID: Int] = [:]
    private var lastPolls: [NodeID: Timestamp] = [:]

    /// - Returns: true where the catalog should be told.
    func isDue(_ node: NodeID, now: Timestamp) -> Bool {
        if let last = written[node], last <= now, now < last + Self.interval { return false }
        written[node] = now
        return true
    }

    /// Runs `body` while the node's poll is under way.
    func poll<Success: Sendable>(
        _ node: NodeID, now: @Sendable () -> Timestamp, _ body: @Sendable () async throws -> Success
    ) async rethrows -> Success {
        polls[node, default: 0] += 1
        defer {
            polls[node, default: 1] -= 1
            if polls[node] == 0 { polls[node] = nil }
            lastPolls[node] = now()
        }
        return try await body()
    }

    /// When the node's newest poll was seen; nil where there was none.
    func lastPoll(of node: NodeID, now: Timestamp) -> Timestamp? { polls[node] == nil ? lastPolls[node] : now }
}
