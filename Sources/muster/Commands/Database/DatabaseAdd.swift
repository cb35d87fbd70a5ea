import ArgumentParser
import Foundation
import MusterAgent
import MusterModel

struct DatabaseAdd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Protect a database of this node.",
        discussion: "Writes agent.yaml; an agent that runs takes it up at once. The database itself is not touched.")

    @Option(help: "The agent's directory.")
    var dir: String

    @Argument(help: "The database file.")
    var path: String

    @Option(help: "Its name in the fleet. Default: the file's name without its extension.")
    var name: String?

    @Option(help: "How often to take a snapshot: 100ms or more, such as 30s, 5m, 1h30m.")
    var every = "5m"

    @Option(help: "Spread the snapshots by up to this. Default: a tenth of --every, at most a minute.")
    var jitter: String?

    func validate() throws {
        _ = try schedule()
    }

    private func schedule() throws -> Schedule {
        guard let every = Duration(text: every), let usual = Schedule(every: every) else {
            throw ValidationError("--every wants a span such as 5m, 100ms or more")
        }
        guard let jitter else { return usual }
        guard let jitter = Duration(text: jitter), let schedule = Schedule(every: every, jitter: jitter) else {
            throw ValidationError("--jitter wants a span such as 30s, or 0s for none")
        }
        return schedule
    }

    func run() async throws {
        let schedule = try schedule()
        let directory = AgentDirectory(path: dir)
        let absolute = URL(filePath: path).standardizedFileURL.path(percentEncoded: false)
        let stem = URL(filePath: absolute).deletingPathExtension().lastPathComponent
        let database = ProtectedDatabase(
            id: DatabaseID(from: Surroundings.random), name: name ?? stem, path: absolute, schedule: schedule)
        let isRunning = try directory.add(database)
        Console.note(
            "database '\(database.name)' is protected every \(schedule.every.text)"
                + (isRunning ? "; the running agent takes it up now" : "; it begins when the agent runs"))
        if !FileManager.default.fileExists(atPath: absolute) {
            Console.note("note: '\(absolute)' does not exist yet")
        }
    }
}
