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

    /// Asks until an answer came that trying again would not change.
    ///
    /// - Parameter send: one attempt, which throws where another may help.
    nonisolated(nonsending) func run(
        store: String, object: ObjectName?, _ send: () async throws -> HTTPResponse
    ) async throws(StoreError) -> HTTPResponse {
        do {
            return try await policy.run(random: random, clock: clock, send)
        } catch let error as TransferError {
            throw StoreError(error, store: store, object: object)
        } catch let error as any ActionableError {
            throw .unavailable(store: store, reason: error.summary)
        } catch {
            // Between two attempts.
            throw .cancelled(store: store)
        }
    }
}

extension StoreError {
    init(_ error: TransferError, store: String, object: ObjectName? = nil) {
        switch error {
        case .tooLarge(_, let limitBytes):
            self = .tooLarge(
                store: store, object: object?.description ?? "", byteCount: UInt64(limitBytes) + 1,
                limitBytes: UInt64(limitBytes))
        case .cancelled: self = .cancelled(store: store)
        default: self = .unavailable(store: store, reason: error.summary)
        }
    }
}
