package import Logging
package import MusterModel

/// Time, chance and the log, as parameters: the agent reads none of them by itself.
package struct AgentEnvironment: Sendable {
    package let clock: any WallClock
    /// Time since some fixed moment, never set back: for spans, not for dates.
    package let monotonic: @Sendable () -> Duration
    package let sleep: @Sendable (Duration) async throws -> Void
    package let random: RandomSource
    package let logger: Logger
    /// Cores of the machine.
    package let cores: Int
    package let version: String

    package init(
        clock: any WallClock, monotonic: @escaping @Sendable () -> Duration,
        sleep: @escaping @Sendable (Duration) async throws -> Void, random: RandomSource, logger: Logger, cores: Int,
        version: String
    ) {
        (self.clock, self.monotonic, self.sleep, self.random) = (clock, monotonic, sleep, random)
        (self.logger, self.cores, self.version) = (logger, cores, version)
    }
}
