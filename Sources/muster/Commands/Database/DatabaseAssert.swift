import ArgumentParser
import MusterAgent
import MusterModel

struct DatabaseAssert: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "assert", abstract: "Say what must hold in a database; drills ask for it.",
        discussion: """
            Writes agent.yaml; an agent that runs takes it up at once. With --min or --max the first column of the
            first row must be a number within them; without, the statement must give a row:
              muster database assert --dir DIR shop 'orders are there' --sql 'SELECT …' --min 1
            The name, whether it holds, and the number go to the coordinator; nothing else of the database does.
            """)

    @Option(help: "The agent's directory.")
    var dir: String

    @Argument(help: "The database's name, path or id, or a pattern.")
    var database: String

    @Argument(help: "What it is called, for people.")
    var name: String

    @Option(help: "One SELECT.")
    var sql: String?

    @Option(help: "The least number.")
    var min: Double?

    @Option(help: "The largest number.")
    var max: Double?

    @Flag(help: "Assert it no more.")
    var remove = false

    func validate() throws {
        guard remove == (sql == nil) else { throw ValidationError("give --sql, or --remove") }
        if !remove, assertion == nil {
            throw ValidationError(
                "wanted: a name of up to \(OwnerAssertion.longestName) bytes, a SELECT of up to "
                    + "\(OwnerAssertion.longestSQL), and --min not above --max")
        }
    }

    private var assertion: OwnerAssertion? {
        sql.flatMap { OwnerAssertion(name: name, sql: $0, minimum: min, maximum: max) }
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
        let others = expectations.assertions.filter { $0.name != name }
        if remove, others.count == expectations.assertions.count { throw UnknownAssertion(name: name) }
        expectations.assertions = others + [assertion].compactMap { $0 }
        guard expectations.assertions.count <= DrillExpectations.mostAssertions else {
            throw TooManyAssertions(limit: DrillExpectations.mostAssertions)
        }
    }

    private struct UnknownAssertion: ActionableError {
        let name: String
        var summary: String { "nothing called '\(name)' is asserted of it" }
        var hint: String { "Look at the names in agent.yaml." }
        var isTransient: Bool { false }
    }

    private struct TooManyAssertions: ActionableError {
        let limit: Int
        var summary: String { "a database has at most \(limit) assertions" }
        var hint: String { "Put several conditions into one SELECT." }
        var isTransient: Bool { false }
    }
}
