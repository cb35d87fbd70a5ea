import ArgumentParser
import MusterAPI
import MusterModel

struct DashboardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dashboard", abstract: "Look at the fleet in a browser.", subcommands: [DashboardOpen.self])
}

struct DashboardOpen: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "open", abstract: "Print a link that signs a browser in, and open it where there is one.",
        discussion: """
            The link is good once and for five minutes, with the role of the context that asked for it: whoever opens
            it first is signed in. The browser warns of a certificate that it does not know: it is signed by the
            coordinator's own authority, which the context file holds; the runbook says how to trust it.
            """)

    @Flag(name: .customLong("print"), help: "Only print the link.")
    var printOnly = false

    @OptionGroup var admin: AdminOptions

    private struct Link: Encodable { let url, expiresAt: String }

    func run() async throws {
        let answer = try await admin.coordinator().openDashboard()
        switch admin.format {
        case .json:
            try admin.format.show(Link(url: answer.url, expiresAt: answer.expiresAt), lines: [])
        case .table:
            Console.result(answer.url)
            Console.note("good once, until \(answer.expiresAt)")
            if !printOnly, Console.outputIsTerminal { Browser.open(answer.url) }
        }
    }
}
