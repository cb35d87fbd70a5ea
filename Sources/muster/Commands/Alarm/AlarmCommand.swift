import ArgumentParser
import MusterAPI

struct AlarmCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "alarm", abstract: "List alarms, and clear those that wait for a person.",
        subcommands: [AlarmList.self, AlarmClear.self])
}

struct AlarmList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the alarms that stand, the worst first.",
        discussion: """
            Of each kind at most 50 are listed one by one; one more row says how many others there are. Exit status: 0,
            whether there are any or not; 'muster status --check' tells by its exit status.
            """)

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        try admin.format.show(try await admin.coordinator().status().alarms.map(AlarmRow.init))
    }
}

struct AlarmClear: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clear", abstract: "Say that somebody has looked at an alarm of a database.",
        discussion: """
            While a fork, flood, size or entropy alarm stands, nothing of its database is given up. Clear it only when
            its cause is found: from then on the policies decide about both branches of a fork.

            What is only news (replaced, schema) can be cleared too, and ends by itself after a while.
            'twins' is of a node: name that, and no database.
            """)

    @Argument(help: "fork, flood, size, entropy, twins, replaced or schema.")
    var kind: String

    @Option(help: "The database, by name or id.")
    var database: String?

    @Option(help: "Its node, by name or id.")
    var node: String?

    @OptionGroup var admin: AdminOptions

    private struct Cleared: Encodable { let cleared: UInt32 }

    func validate() throws {
        guard database != nil || node != nil else {
            throw ValidationError("name the database, or with 'twins' the node")
        }
    }

    func run() async throws {
        var request = Muster_V1_AlarmClearRequest()
        (request.kind, request.database, request.node) = (kind, database ?? "", node ?? "")
        let answer = try await admin.coordinator().clearAlarms(request)
        try admin.format.show(Cleared(cleared: answer.count), lines: [("cleared", String(answer.count))])
    }
}
