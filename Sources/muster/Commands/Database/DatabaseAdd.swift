import ArgumentParser
import Foundation
import MusterAgent
import MusterModel

struct DatabaseAdd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Protect a database of this node, or all that a pattern finds.",
        discussion: """
            Writes agent.yaml; an agent that runs takes it up at once. The database itself is not touched.

            A pattern is an absolute path with * and ? (within a name), [a-z], and ** for any number of folders:
              muster database add --dir DIR --pattern '/var/lib/app/**/*.db' --exclude '*.tmp.db'
            Files that turn up later are found too. Only files that begin as SQLite databases do are taken, symbolic
            links are not followed. Each is named by its path below the pattern's fixed folder.
            """)

    @Option(help: "The agent's directory.")
    var dir: String

    @Argument(help: "The database file.")
    var path: String?

    @Option(help: "Protect every database file that matches, now and later.")
    var pattern: String?

    @Option(help: "With --pattern: leave out these; a name such as '*.tmp', or an absolute path. May be given again.")
    var exclude: [String] = []

    @Option(help: "Its name in the fleet. Default: the file's name without its extension.")
    var name: String?

    @Option(help: "How often to take a snapshot: 100ms or more, such as 30s, 5m, 1h30m.")
    var every = "5m"

    @Option(help: "Spread the snapshots by up to this. Default: a tenth of --every, at most a minute.")
    var jitter: String?

    func validate() throws {
        _ = try schedule()
        guard (path == nil) != (pattern == nil) else {
            throw ValidationError("give a database file, or a pattern with --pattern")
        }
        guard pattern == nil || name == nil else { throw ValidationError("--name is for one database") }
        guard pattern != nil || exclude.isEmpty else { throw ValidationError("--exclude goes with --pattern") }
        _ = try databasePattern()
    }

    private func databasePattern() throws -> DatabasePattern? {
        guard let pattern else { return nil }
        let schedule = try schedule()
        do throws(GlobError) {
            var excluded: [Exclusion] = []
            for text in exclude { excluded.append(try Exclusion(text)) }
            return DatabasePattern(pattern: try GlobPattern(pattern), schedule: schedule, exclude: excluded)
        } catch {
            throw ValidationError(error.reason)
        }
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
        if let pattern = try databasePattern() { return try add(pattern) }
        if let path { try add(path) }
    }

    private func add(_ pattern: DatabasePattern) throws {
        let isRunning = try AgentDirectory(path: dir).add(pattern)
        Console.note(
            "databases that match '\(pattern.pattern)' are protected every \(pattern.schedule.every.text)"
                + (isRunning ? "; the running agent looks for them now" : "; the search begins when the agent runs"))
    }

    private func add(_ path: String) throws {
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
