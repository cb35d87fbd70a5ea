import ArgumentParser
import MusterAPI

struct AlarmCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "alarm", abstract: "Clear alarms that wait for a person.",
        discussion: "'muster status' shows the alarms that stand.", subcommands: [AlarmClear.self])
}

struct AlarmClear: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clear", abstract: "Say that somebody has looked at an alarm of a database.",
        discussion: """
            While a fork, flood, size or entropy alarm stands, nothing of its database is given up. Clear it only when
            its cause is found: from then on the policies decide about both branches of a fork.
            """)

    @Argument(help: "fork, flood, size or entropy.")
    var kind: String

    @Option(help: "The database, by name or id.")
    var database: String

    @Option(help: "Its node, by name or id.")
    var node: String?

    @OptionGroup var admin: AdminOptions

    private struct Cleared: Encodable { let cleared: UInt32 }

    func run() async throws {
        var request = Muster_V1_AlarmClearRequest()
        (request.kind, request.database, request.node) = (kind, database, node ?? "")
        let answer = try await admin.coordinator().clearAlarms(request)
        try admin.format.show(Cleared(cleared: answer.count), lines: [("cleared", String(answer.count))])
    }
}
