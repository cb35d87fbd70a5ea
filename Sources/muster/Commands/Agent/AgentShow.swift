import ArgumentParser
import MusterAgent
import MusterFormat
import MusterModel

struct AgentShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Say who this node is.",
        discussion: """
            The fingerprint is that of the node's signing key. Compare it with what an admin is shown before another
            node's snapshot is restored onto this one.
            """)

    @Option(help: "The agent's directory.")
    var dir: String

    @Option(help: "How to print the result: table or json.")
    var format = OutputFormat.table

    private struct Shown: Encodable {
        let name, id, coordinator, fingerprint: String
        let restoreInto: [String]
    }

    func run() async throws {
        let directory = AgentDirectory(path: dir)
        let configuration = try directory.configuration()
        let identity = try NodeIdentity(directory: directory, node: configuration.nodeID)
        let shown = Shown(
            name: configuration.nodeName, id: configuration.nodeID.description,
            coordinator: configuration.coordinatorURL, fingerprint: identity.signingKey.verifyingKey.id.description,
            restoreInto: configuration.restoreInto)
        try format.show(
            shown,
            lines: [
                ("name", shown.name), ("id", shown.id), ("coordinator", shown.coordinator),
                ("fingerprint", shown.fingerprint),
                ("restores into", shown.restoreInto.isEmpty ? "nothing" : shown.restoreInto.joined(separator: ", ")),
            ])
    }
}
