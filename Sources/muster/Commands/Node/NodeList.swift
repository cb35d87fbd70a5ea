import ArgumentParser
import MusterAPI

struct NodeList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the nodes of the fleet.")

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        try admin.format.show(try await admin.coordinator().nodes().nodes.map(NodeRow.init))
    }
}

struct NodeShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show one node and its databases.")

    @Argument(help: "The node's name or id.")
    var node: String

    @OptionGroup var admin: AdminOptions

    private struct Shown: Encodable {
        let node: NodeRow
        let databases: [DatabaseRow]
    }

    func run() async throws {
        let node = try await admin.coordinator().node(node)
        let (row, databases) = (NodeRow(node), node.databases.map(DatabaseRow.init))
        try admin.format.show(
            Shown(node: row, databases: databases),
            lines: [
                ("name", row.name), ("id", row.id), ("state", row.state), ("joined", row.joinedAt ?? "not yet"),
                ("last contact", row.lastContactAt ?? "never"), ("agent version", row.agentVersion),
                ("clock offset", Quantity.seconds(row.clockOffsetSeconds)),
                ("certificate until", row.certificateExpiresAt ?? "none"),
                ("snapshots", String(row.snapshotCount)),
            ])
        if admin.format == .table, !databases.isEmpty {
            Console.result("")
            try admin.format.show(databases)
        }
    }
}
