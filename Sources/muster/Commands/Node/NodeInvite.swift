import ArgumentParser
import MusterAPI

struct NodeInvite: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "invite", abstract: "Print a one-use token with which a node joins the fleet.",
        discussion: "The token is good for ten minutes and for this name only. Hand it over on a safe way.")

    @Argument(help: "The new node's name.")
    var name: String

    @OptionGroup var admin: AdminOptions

    private struct Invitation: Encodable {
        let token, expiresAt: String
    }

    func run() async throws {
        let answer = try await admin.coordinator().invite(name)
        switch admin.format {
        case .table:
            Console.result(answer.token)
            Console.note("expires at \(answer.expiresAt); on the node: muster agent join --dir DIR TOKEN")
        case .json:
            try admin.format.show(Invitation(token: answer.token, expiresAt: answer.expiresAt), lines: [])
        }
    }
}
