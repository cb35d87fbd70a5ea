package import MusterModel

/// When to try again, and for how long: exponential backoff with full jitter.
///
/// Retried is what says of itself that it `isTransient`. Before attempt n + 1
/// it sleeps for a random time up to `firstDelay` × 2ⁿ⁻¹ (at most
/// `maximumDelay`), and at least for what a `RetryAfterError` asks.
package struct RetryPolicy: Hashable, Sendable {
    package var maximumAttempts: Int
    package var firstDelay: Duration
    package var maximumDelay: Duration
    /// No new attempt starts later than this after the first one.
    package var maximumTotal: Duration

    package init(
        maximumAttempts: Int = 6, firstDelay: Duration = .milliseconds(200), maximumDelay: Duration = .seconds(30),
        maximumTotal: Duration = .seconds(300)
    ) {
        precondition(maximumAttempts > 0, "something that is never tried cannot be tried again")
        (self.maximumAttempts, self.firstDelay) = (maximumAttempts, firstDelay)
        (self.maximumDelay, self.maximumTotal) = (maximumDelay, maximumTotal)
    }

    /// Runs `operation` until it succeeds, fails for good, or the policy's bounds are met.
    ///
    /// - Parameter willRetry: told of each failure that is followed by another try, with the delay before it.
    /// - Throws: the operation's last error, or `CancellationError` if the task is cancelled during a delay.
    nonisolated(nonsending) package func run<Success, C: Clock>(
        random: RandomSource, clock: C,
        willRetry: (_ error: any ActionableError, _ delay: Duration) -> Void = { _, _ in },
        _ operation: () async throws -> Success
    ) async throws -> Success where C.Duration == Duration {
        let start = clock.now
        var attempt = 1
        while true {
            do {
                return try await operation()
            } catch let error as any ActionableError {
                let delay = delay(after: error, attempt: attempt, random: random)
                guard let delay, start.duration(to: clock.now) + delay <= maximumTotal else { throw error }
                willRetry(error, delay)
                try await clock.sleep(for: delay)
                attempt += 1
            }
        }
    }

    /// - Parameter attempt: how many were made, from 1.
    /// - Returns: how long to wait before the next one, or nil if there is to be none.
    package func delay(after error: any ActionableError, attempt: Int, random: RandomSource) -> Duration? {
        guard error.isTransient, attempt < maximumAttempts else { return nil }
        let longest = min(maximumDelay, firstDelay * (1 << min(attempt - 1, 20)))
        let jitter = longest * random.unitInterval()
        return ((error as? any RetryAfterError)?.retryAfter ?? .zero) + jitter
    }
}
