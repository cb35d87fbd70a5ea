import ArgumentParser

struct AgentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agent", abstract: "Join this machine to a fleet and run its agent.",
        subcommands: [AgentJoin.self, AgentRun.self, AgentShow.self])
}
