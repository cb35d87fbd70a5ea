import Dispatch

/// Lets the capture's thread wait until the assembling task has taken in what it was sent.
final class Settlement: Sendable {
    private let reached = DispatchSemaphore(value: 0)

    func signal() { reached.signal() }

    /// Blocks the calling thread.
    ///
    /// - Throws: `CancellationError` once the task has left.
    func wait(isCancelled: () -> Bool) throws {
        while reached.wait(timeout: .now() + .milliseconds(200)) == .timedOut {
            if isCancelled() { throw CancellationError() }
        }
    }
}
