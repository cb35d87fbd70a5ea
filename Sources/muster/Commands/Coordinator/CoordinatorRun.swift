import ArgumentParser
import Logging
import MusterCoordinator
import ServiceLifecycle
import UnixSignals

struct CoordinatorRun: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run the coordinator until it is told to stop.",
        discussion: """
            SIGTERM or SIGINT: requests under way are finished within 30 seconds, no new one is taken. SIGHUP: the same,
            and then it starts anew in the same process, with coordinator.yaml and the server's certificate as they are
            then; a file that cannot be read as settings is told in the log and changes nothing. It may be killed at any
            point; what was acknowledged is durable. MUSTER_LOG_LEVEL sets the log's level.
            """)

    @Option(help: "The coordinator's directory.")
    var dir: String

    func run() async throws {
        Surroundings.raiseOpenFiles()
        guard try await serve() else { return }
        // Nothing of this life is left behind in the next one, not even the lock on the directory.
        try OwnProgram.startAnew(["muster", "coordinator", "run", "--dir", dir])
    }

    /// - Returns: whether it ended to start anew.
    private func serve() async throws -> Bool {
        let directory = CoordinatorDirectory(path: dir)
        let logger = Surroundings.logger("muster.coordinator")
        // All three in one place: who is told to end while it is about to start anew ends.
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup)
        let coordinator = try await CoordinatorService(
            directory: directory, clock: Surroundings.clock, random: Surroundings.random, logger: logger)
        var settings = ServiceGroupConfiguration(services: [coordinator], logger: logger)
        settings.maximumGracefulShutdownDuration = .seconds(30)
        let services = ServiceGroup(configuration: settings)
        let heeding = Task { await heed(signals, services, directory, logger) }
        do {
            try await services.run()
        } catch {
            heeding.cancel()
            guard await heeding.value else { throw error }
            logger.warning("broken off to start anew", metadata: ["reason": "\(error)"])
            return true
        }
        heeding.cancel()
        return await heeding.value
    }

    /// Until it is cancelled.
    ///
    /// - Returns: whether to start anew: it was asked for, and nobody asked for the end.
    private func heed(
        _ signals: UnixSignalsSequence, _ services: ServiceGroup, _ directory: CoordinatorDirectory, _ logger: Logger
    ) async -> Bool {
        var (startsAnew, ends) = (false, false)
        for await signal in signals {
            if signal == .sighup {
                do {
                    try CoordinatorService.checkSettings(in: directory)
                } catch {
                    logger.error("configuration not reloaded", metadata: ["reason": "\(error.summary)"])
                    continue
                }
                if !startsAnew { logger.notice("starting anew") }
                startsAnew = true
            } else {
                ends = true
            }
            await services.triggerGracefulShutdown()
        }
        return startsAnew && !ends
    }
}
