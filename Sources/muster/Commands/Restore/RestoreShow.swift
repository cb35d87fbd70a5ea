import ArgumentParser
import MusterAPI

struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Bring databases back from snapshots, here or on another node.",
        discussion: "Exit status: 0 all came back, 2 some did, 1 none did, 3 a named thing does not exist.",
        subcommands: [Restore.self, RestoreShow.self, RestoreCancel.self], defaultSubcommand: Restore.self)
}

struct RestoreShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show restores that nodes were ordered to do, and how far they are.")

    @Argument(help: "The run's id.")
    var id: String

    @Flag(help: "Wait until all have ended.")
    var wait = false

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        let coordinator = try admin.coordinator()
        var run = try await coordinator.restoreRun(id)
        if wait { try await RestoreRunOutput.wait(for: &run, coordinator) }
        try RestoreRunOutput.show(run, admin.format)
        guard run.state == "finished", run.passed < run.total else { return }
        throw run.passed > 0 ? Outcome.partly : Outcome.failed
    }
}
