import ArgumentParser

struct StoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store", abstract: "The places that hold replicas.",
        subcommands: [StoreProbeCommand.self, StoreServe.self])
}
