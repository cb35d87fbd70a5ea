import ArgumentParser
import MusterAgent

struct DatabaseRemove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Take a database out of this node's care.",
        discussion: """
            No snapshot is lost: the coordinator keeps the history. Returns when the agent has closed the database.
            Added again, the database begins a new history; to interrupt its snapshots, pause it instead.

            Exit status: 0 removed, 1 the agent did not let go in time, 3 no such database.
            """)

    @OptionGroup var local: LocalDatabase

    func run() async throws {
        let change = try local.changing { try $0.remove(local.name) }
        try await local.awaitUptake(of: change)
        Console.note("database '\(local.name)' is not protected any more; its snapshots stay where they are")
    }
}
