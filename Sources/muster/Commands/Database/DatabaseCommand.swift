import ArgumentParser

struct DatabaseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "database", abstract: "Say which databases a node protects.",
        subcommands: [
            DatabaseAdd.self, DatabaseList.self, DatabasePause.self, DatabaseResume.self, DatabaseRemove.self,
            DatabaseAssert.self, DatabaseMayShrink.self,
        ])
}
