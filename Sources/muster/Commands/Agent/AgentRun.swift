import ArgumentParser
import Foundation
import MusterAgent
import ServiceLifecycle
import UnixSignals

struct AgentRun: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run the agent until it is told to stop.",
        discussion: """
            SIGTERM or SIGINT: snapshots under way have 10 minutes to finish, none is started. SIGHUP: agent.yaml is read
            again. It may be killed at any point; what was cut off is taken up at the next start.
            The agent is a process of its own, which is killed and started again if it stands still for 5 seconds, or if
            a disk has not answered it for 5 minutes while it holds a lock on a database there: so it never keeps one
            for longer.
            MUSTER_LOG_LEVEL sets the log's level, MUSTER_COORDINATOR, MUSTER_CORES and
            MUSTER_UPLOAD_LIMIT_BYTES override the file.
            """)

    @Option(help: "The agent's directory.")
    var dir: String

    /// This process is the agent, and a supervisor listens.
    @Flag(help: .hidden)
    var supervised = false

    func run() async throws {
        if supervised { try await work() } else { try await supervise() }
    }

    /// Ends as the agent ended.
    private func supervise() async throws {
        let supervisor = AgentSupervisor(
            arguments: ["muster", "agent", "run", "--dir", dir, "--supervised"], monotonic: Surroundings.monotonic,
            logger: Surroundings.logger("muster.supervisor"))
        switch try await supervisor.run() {
        case .exit(let status): throw ExitCode(status)
        case .signal(let number):
            signal(number, SIG_DFL)
            kill(getpid(), number)
            throw ExitCode(128 + number)
        }
    }

    private func work() async throws {
        Surroundings.raiseOpenFiles()
        let environment = Surroundings.agentEnvironment("muster.agent")
        let (reloads, reload) = AsyncStream<Void>.makeStream()
        let hangups = await UnixSignalsSequence(trapping: .sighup)
        let agent = AgentService(
            directory: AgentDirectory(path: dir), environment: environment,
            overrides: Surroundings.agentOverrides, reloads: reloads)
        Heartbeat.start { agent.isStalled }
        var group = ServiceGroupConfiguration(
            services: [agent], gracefulShutdownSignals: [.sigterm, .sigint], logger: environment.logger)
        group.maximumGracefulShutdownDuration = .seconds(600)
        let services = ServiceGroup(configuration: group)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await services.run() }
            group.addTask { for await _ in hangups { reload.yield() } }
            try await group.next()
            group.cancelAll()
        }
    }
}
