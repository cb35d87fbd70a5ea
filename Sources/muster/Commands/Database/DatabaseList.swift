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

    @Option(help: "At most this many of the coordinator's.")
    var limit: Int?

    @OptionGroup var admin: AdminOptions

    private struct LocalRow: Row {
        static let columns = ["database", "state", "schedule", "path"]
        let id, name, path, schedule, state: String
        @Known var pattern: String?
        @Known var vanishedAt: String?
        var cells: [String] { [name, vanishedAt.map { "\(state) \($0)" } ?? state, schedule, path] }

        init(_ listed: ListedDatabase) {
            let database = listed.database
            (id, name, path) = (database.id.description, database.name, database.path)
            schedule = "every \(database.schedule.every.text)"
            state = database.isPaused ? "paused" : database.vanishedAt == nil ? "active" : "vanished"
            (pattern, vanishedAt) = (listed.pattern, database.vanishedAt?.description)
        }
    }

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit wants a number from 1 up") }
    }

    func run() async throws {
        guard let dir else {
            let databases = try await admin.coordinator().databases(node: node ?? "", upTo: limit)
            return try admin.format.show(databases.map(DatabaseRow.init))
        }
        let directory = AgentDirectory(path: dir)
        try admin.format.show(try directory.databases().map(LocalRow.init))
        if !directory.searchNotes.isEmpty {
            Console.note("note: not every database can be found:\n\(directory.searchNotes)")
        }
    }
}
