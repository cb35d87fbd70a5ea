import ArgumentParser

struct CoordinatorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "coordinator", abstract: "Make and run the fleet's coordinator.",
        subcommands: [CoordinatorInit.self, CoordinatorRun.self])
}
