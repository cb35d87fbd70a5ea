import ArgumentParser
import MusterAgent

struct DatabaseResume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Let the snapshots of a paused database go on.",
        discussion: "Exit status: 0 done, 1 failed, 3 no such database.")

    @OptionGroup var local: LocalDatabase

    func run() async throws {
        let change = try local.changing { try $0.setPaused(false, local.name) }
        try await local.awaitUptake(of: change)
        Console.note(
            "database '\(local.name)' is protected"
                + (change.isAgentTold ? " again" : " again as soon as the agent runs"))
    }
}
