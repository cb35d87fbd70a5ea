import ArgumentParser

struct StoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store", abstract: "The places that hold replicas.",
        subcommands: [
            StoreAdd.self, StoreList.self, StorePlace.self, StoreProbeCommand.self, StoreCheckCommand.self,
            StoreRepairCommand.self, StoreServe.self,
        ])
}
