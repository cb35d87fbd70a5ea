import ArgumentParser
import MusterAgent
import MusterCoordinator
import ServiceLifecycle
import UnixSignals

struct StoreServe: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Keep replicas for the fleet on this node, until told to stop.",
        discussion: """
            Only the fleet's coordinator can use the store; it sees sealed content, as in every store. The node
            must have joined; the agent itself need not run. Add the store at the coordinator then:
              muster store add node://THIS_HOST:7430/NODE --name NAME
            SIGTERM or SIGINT: requests under way are finished within 30 seconds, no new one is taken. It may be
            killed at any point; what was acknowledged is durable. MUSTER_LOG_LEVEL sets the log's level.
            """)

    @Option(help: "The agent's directory, with the node's certificate.")
    var dir: String

    @Option(help: "The store's folder; made if it does not exist.")
    var path: String

    @Option(help: "Where to listen: HOST:PORT.")
    var listen = "0.0.0.0:7430"

    @Option(help: "How many bytes all objects together may hold. Default: all of the disk.")
    var quota: UInt64?

    func run() async throws {
        Surroundings.raiseOpenFiles()
        let address = try ListenAddress(listen)
        let environment = Surroundings.agentEnvironment("muster.store")
        let service = try await NodeStoreService(
            directory: AgentDirectory(path: dir),
            settings: .init(path: path, host: address.host, port: address.port, quotaBytes: quota),
            environment: environment)
        var group = ServiceGroupConfiguration(
            services: [service], gracefulShutdownSignals: [.sigterm, .sigint], logger: environment.logger)
        group.maximumGracefulShutdownDuration = .seconds(30)
        try await ServiceGroup(configuration: group).run()
    }
}
