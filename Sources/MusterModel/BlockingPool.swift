import Foundation

/// A few threads for calls that block, so that they never hold up Swift's cooperative pool.
package struct BlockingPool: Sendable {
    private let queue: OperationQueue

    /// - Parameter width: how many calls may block at once; more wait in line.
    package init(label: String, width: Int) {
        precondition(width > 0, "a pool needs a thread")
        queue = OperationQueue()
        queue.name = label
        queue.maxConcurrentOperationCount = width
    }

    /// Runs `body` on one of the pool's threads and returns what it returns.
    package func run<Success: Sendable>(_ body: @escaping @Sendable () throws -> Success) async throws -> Success {
        try await withCheckedThrowingContinuation { continuation in
            queue.addOperation { continuation.resume(with: Result(catching: body)) }
        }
    }
}
