import ArgumentParser
import MusterAgent
import MusterModel

struct DatabaseMayShrink: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "may-shrink", abstract: "Say which tables may lose rows between two drills.",
        discussion: """
            Queues and logs lose rows all the time, and sometimes somebody clears a table up. Drills report no drop of a
            table that is named here, and max_row_drop_percent does not hold for it. For what happens once: name the
            table, let a drill pass, which remembers the new counts, and take the name away again with --remove.
            Writes agent.yaml; an agent that runs takes it up at once. Names of tables do not leave the node.
            """)

    @Option(help: "The agent's directory.")
    var dir: String

    @Argument(help: "The database's name, path or id, or a pattern.")
    var database: String

    @Argument(help: "Names of tables.")
    var tables: [String]

    @Flag(help: "They may not, any more.")
    var remove = false

    func validate() throws {
        guard !tables.isEmpty, DrillExpectations.isList(ofTables: tables) else {
            throw ValidationError(
                "wanted: up to \(DrillExpectations.mostTables) names of tables, each of up to "
                    + "\(DrillExpectations.longestTable) bytes")
        }
    }

    func run() async throws {
        do {
            let change = try AgentDirectory(path: dir).setExpectations(of: database, edit)
            Console.note(
                change.isAgentTold ? "the agent takes it up now" : "no agent runs here; the next one takes it up")
        } catch let error as DatabaseNotListed {
            throw NamedThingMissing(summary: error.summary, hint: error.hint)
        }
    }

    private func edit(_ expectations: inout DrillExpectations) throws {
        for table in tables {
            let others = expectations.shrinkingTables.filter { $0.lowercased() != table.lowercased() }
            if remove, others.count == expectations.shrinkingTables.count { throw UnknownTable(name: table) }
            expectations.shrinkingTables = others + (remove ? [] : [table])
        }
        guard DrillExpectations.isList(ofTables: expectations.shrinkingTables) else {
            throw TooManyTables(limit: DrillExpectations.mostTables)
        }
    }

    private struct UnknownTable: ActionableError {
        let name: String
        var summary: String { "table '\(name)' is not among those that may shrink" }
        var hint: String { "Look at 'may_shrink' in agent.yaml." }
        var isTransient: Bool { false }
    }

    private struct TooManyTables: ActionableError {
        let limit: Int
        var summary: String { "a database has at most \(limit) tables that may shrink" }
        var hint: String { "Leave max_row_drop_percent out for it: drops are only reported then." }
        var isTransient: Bool { false }
    }
}
