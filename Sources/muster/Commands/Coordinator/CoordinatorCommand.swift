import ArgumentParser

struct CoordinatorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "coordinator", abstract: "Make, run and rebuild the fleet's coordinator.",
        subcommands: [CoordinatorInit.self, CoordinatorRun.self, CoordinatorRebuild.self, CoordinatorAdmin.self])
}
