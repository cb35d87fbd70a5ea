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
            then; a file that is wrong is told in the log and changes nothing. It may be killed at any point; what was
            acknowledged is durable. MUSTER_LOG_LEVEL sets the log's level.
            """)

    @Option(help: "The coordinator's directory.")
    var dir: String

    func run() async throws {
        guard try await serve() else { return }
        // Nothing of this life is left behind in the next one, not even the lock on the directory.
        try OwnProgram.startAnew(["muster", "coordinator", "run", "--dir", dir])
    }

    /// - Returns: whether it ended to start anew.
    private func serve() async throws -> Bool {
        let directory = CoordinatorDirectory(path: dir)
        let logger = Surroundings.logger("muster.coordinator")
        let hangups = await UnixSignalsSequence(trapping: .sighup)
        let coordinator = try await CoordinatorService(
            directory: directory, clock: Surroundings.clock, random: Surroundings.random, logger: logger)
        var group = ServiceGroupConfiguration(
            services: [coordinator], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        group.maximumGracefulShutdownDuration = .seconds(30)
        let services = ServiceGroup(configuration: group)
        return try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await services.run()
                return false
            }
            group.addTask {
                for await _ in hangups {
                    do {
                        try CoordinatorService.checkSettings(in: directory)
                    } catch let error as CoordinatorSetupError {
                        logger.error("configuration not reloaded", metadata: ["reason": "\(error.summary)"])
                        continue
                    }
                    logger.notice("starting anew")
                    await services.triggerGracefulShutdown()
                    return true
                }
                return false
            }
            let first = try await group.next() ?? false
            if !first { group.cancelAll() }
            while try await group.next() != nil {}
            return first
        }
    }
}
