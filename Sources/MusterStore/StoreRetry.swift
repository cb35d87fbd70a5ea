package import MusterModel
package import MusterTransfer

/// How often a store on another machine is asked again, and for how long it may stand still.
package struct StoreRetry: Sendable {
    let policy: RetryPolicy
    let random: RandomSource
    let clock: ContinuousClock
    /// How long a request may stand still before it counts as failed.
    let stallTimeout: Duration

    package init(
        policy: RetryPolicy = RetryPolicy(maximumAttempts: 3, maximumDelay: .seconds(2), maximumTotal: .seconds(10)),
        random: RandomSource, clock: ContinuousClock, stallTimeout: Duration = .seconds(60)
    ) {
        (self.policy, self.random, self.clock) = (policy, random, clock)
        self.stallTimeout = stallTimeout
    }
}
