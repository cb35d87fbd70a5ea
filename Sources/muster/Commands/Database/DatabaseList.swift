import ArgumentParser
import MusterAPI
import MusterAgent
import MusterModel

struct DatabaseList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the fleet's databases, or those of one agent's directory.")

    @Option(help: "Ask the coordinator for this node only, by name or id.")
    var node: String?

    @Option(help: "Read an agent's directory instead of asking the coordinator.")
    var dir: String?

    @OptionGroup var admin: AdminOptions

    private struct LocalRow: Row {
        static let columns = ["database", "state", "schedule", "path"]
        let id, name, path, schedule, state: String
        var cells: [String] { [name, state, schedule, path] }
    }

    func run() async throws {
        guard let dir else {
            let databases = try await admin.coordinator().databases(node: node ?? "").databases
            return try admin.format.show(databases.map(DatabaseRow.init))
        }
        let databases = try AgentDirectory(path: dir).configuration().databases
        try admin.format.show(
            databases.map {
                LocalRow(
                    id: $0.id.description, name: $0.name, path: $0.path, schedule: "every \($0.schedule.every.text)",
                    state: $0.isPaused ? "paused" : "active")
            })
    }
}
