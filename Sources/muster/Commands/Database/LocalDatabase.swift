import ArgumentParser
import MusterAgent
import MusterModel

/// Names one database in an agent's directory.
struct LocalDatabase: ParsableArguments {
    @Option(help: "The agent's directory.")
    var dir: String

    @Argument(help: "The database: its name, path or id. Or a pattern as it was added, for all that it finds.")
    var name: String

    /// A running agent may have a snapshot to cut off and a file to close on a busy disk.
    static let uptakeLimit = Duration.seconds(30)

    private var directory: AgentDirectory { AgentDirectory(path: dir) }

    func changing(_ body: (AgentDirectory) throws -> ConfigurationChange) throws -> ConfigurationChange {
        do {
            return try body(directory)
        } catch let error as DatabaseNotListed {
            throw NamedThingMissing(summary: error.summary, hint: error.hint)
        }
    }

    func awaitUptake(of change: ConfigurationChange) async throws {
        try await directory.awaitUptake(
            of: change, limit: Self.uptakeLimit, monotonic: Surroundings.monotonic, sleep: Surroundings.sleep)
    }
}
