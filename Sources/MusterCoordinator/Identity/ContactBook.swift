import MusterModel

/// When each node was last heard of, so that its polls do not each cost a durable write.
actor ContactBook {
    private static let interval = Duration.seconds(60)
    private var written: [NodeID: Timestamp] = [:]

    /// - Returns: true where the catalog should be told.
    func isDue(_ node: NodeID, now: Timestamp) -> Bool {
        if let last = written[node], last <= now, now < last + Self.interval { return false }
        written[node] = now
        return true
    }
}
