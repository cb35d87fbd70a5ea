import ArgumentParser
import MusterCoordinator
import ServiceLifecycle
import UnixSignals

struct CoordinatorRun: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run the coordinator until it is told to stop.",
        discussion: """
            SIGTERM or SIGINT: requests under way are finished within 30 seconds, no new one is taken. It may
            be killed at any point; what was acknowledged is durable. MUSTER_LOG_LEVEL sets the log's level.
            """)

    @Option(help: "The coordinator's directory.")
    var dir: String

    func run() async throws {
        let logger = Surroundings.logger("muster.coordinator")
        let coordinator = try await CoordinatorService(
            directory: CoordinatorDirectory(path: dir), clock: Surroundings.clock, random: Surroundings.random,
            logger: logger)
        var group = ServiceGroupConfiguration(
            services: [coordinator], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        group.maximumGracefulShutdownDuration = .seconds(30)
        try await ServiceGroup(configuration: group).run()
    }
}
