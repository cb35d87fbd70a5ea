import ArgumentParser
import MusterAPI
import MusterAgent

struct AgentJoin: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "join", abstract: "Make this machine a node: redeem a token of 'muster node invite'.",
        discussion: """
            Keys are made here and never leave; the directory holds their only copies. Put the token on
            standard input with '-' to keep it out of the shell's history.
            """)

    @Option(help: "The agent's directory; made if it does not exist.")
    var dir: String

    @Argument(help: "The token, or - to read it from standard input.")
    var token: String

    func run() async throws {
        let text = token == "-" ? readLine() ?? "" : token
        guard let token = JoinToken(text: text) else { throw TokenDamaged() }
        let joining = Joining(
            directory: AgentDirectory(path: dir), environment: Surroundings.agentEnvironment("muster.agent"))
        let configuration = try await joining.join(token)
        Console.note(
            """
            joined as node '\(configuration.nodeName)' (\(configuration.nodeID))
            next: muster database add --dir \(dir) PATH
                  muster agent run    --dir \(dir)
            """)
    }
}
