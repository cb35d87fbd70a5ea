import Dispatch

/// Lets the capture's thread wait until the assembling task has taken in what it was sent.
final class Settlement: Sendable {
    private let reached = DispatchSemaphore(value: 0)

    func signal() { reached.signal() }

    /// Blocks the calling thread.
    ///
    /// - Parameter isCancelled: asked now and then meanwhile; what it throws ends the wait.
    /// - Throws: `CancellationError` once the task has left.
    func wait(isCancelled: () throws -> Bool) throws {
        while reached.wait(timeout: .now() + .milliseconds(200)) == .timedOut {
            if try isCancelled() { throw CancellationError() }
        }
    }
}
