import ArgumentParser
import MusterAgent

struct DatabasePause: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Let the agent keep its hands off a database until 'resume'.",
        discussion: """
            Returns when the agent has closed the database and holds no lock on it: for work that wants the file
            alone, such as another journal mode. A snapshot under way is cut off. If no agent runs, it returns at once.

            Exit status: 0 paused, 1 the agent did not let go in time, 3 no such database.
            """)

    @OptionGroup var local: LocalDatabase

    func run() async throws {
        let change = try local.changing { try $0.setPaused(true, local.name) }
        try await local.awaitUptake(of: change)
        Console.note("database '\(local.name)' is paused")
    }
}
