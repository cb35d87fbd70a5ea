package import Logging
package import MusterEngine
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
    /// Stands for the machine; "" where nothing does. Only its hash leaves.
    package let machine: String
    /// Called at named moments, so that a test can end the process there; does nothing in production.
    package let reach: @Sendable (CrashPoint) -> Void
    /// Gives memory that nobody uses back to the system; may block for some milliseconds.
    package let trimMemory: @Sendable () -> Void
    /// Asks rebuilt databases, which may be hostile.
    package let inspector: any RebuiltInspector

    package init(
        clock: any WallClock, monotonic: @escaping @Sendable () -> Duration,
        sleep: @escaping @Sendable (Duration) async throws -> Void, random: RandomSource, logger: Logger, cores: Int,
        version: String, machine: String = "", reach: @escaping @Sendable (CrashPoint) -> Void = { _ in },
        trimMemory: @escaping @Sendable () -> Void = {}, inspector: (any RebuiltInspector)? = nil
    ) {
        (self.clock, self.monotonic, self.sleep, self.random) = (clock, monotonic, sleep, random)
        (self.logger, self.cores, self.version, self.reach) = (logger, cores, version, reach)
        self.machine = machine
        self.trimMemory = trimMemory
        self.inspector = inspector ?? InspectorHere(monotonic: monotonic)
    }
}

/// Moments at which a crash is most telling.
package enum CrashPoint: String, Sendable, CaseIterable {
    /// A pack is in the store that the node itself put there; the coordinator does not know yet.
    case packUploaded = "pack-uploaded"
    /// The packs are on the other side; the manifest is not kept yet.
    case packsPut = "packs-put"
    /// The manifest is kept; it is not sent yet.
    case manifestKept = "manifest-kept"
    /// The coordinator has committed; the receipt is not kept yet.
    case commitAnswered = "commit-answered"
    /// An ordered restore has read something, and there is an unfinished file.
    case restoreUnderWay = "restore-under-way"
    /// The restored file has its name; the coordinator does not know yet.
    case restoreNamed = "restore-named"
}
