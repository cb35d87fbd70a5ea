import ArgumentParser
import MusterAPI
import MusterFormat
import MusterModel

struct NodeList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the nodes of the fleet.")

    @Option(help: "At most this many.")
    var limit: Int?

    @OptionGroup var admin: AdminOptions

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit wants a number from 1 up") }
    }

    func run() async throws {
        try admin.format.show(try await admin.coordinator().nodes(upTo: limit).map(NodeRow.init))
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
        /// Of its signing key, as the coordinator says.
        let fingerprint: String
        /// Whether it said what another node's secret for it is sealed to.
        let takesGrants: Bool
        let databases: [DatabaseRow]
        let stores: [String]
    }

    func run() async throws {
        let coordinator = try admin.coordinator()
        let node = try await coordinator.node(node)
        let fingerprint = try RestoreOrders.signingKey(of: node).id.description
        var all = node.databases
        if !node.nextDatabase.isEmpty {
            all += try await coordinator.databases(node: node.id, after: node.nextDatabase)
        }
        let (row, databases) = (NodeRow(node), all.map(DatabaseRow.init))
        try admin.format.show(
            Shown(
                node: row, fingerprint: fingerprint, takesGrants: !node.grantKey.isEmpty, databases: databases,
                stores: node.stores),
            lines: row.lines + [
                ("fingerprint", fingerprint),
                ("keeps stores", node.stores.isEmpty ? "none" : node.stores.joined(separator: ", ")),
            ])
        if admin.format == .table, !databases.isEmpty {
            Console.result("")
            try admin.format.show(databases)
        }
    }
}

extension NodeRow {
    var lines: [(String, String)] {
        [
            ("name", name), ("id", id), ("state", state + (endedAt.map { " since \($0)" } ?? "")),
            ("joined", joinedAt ?? "not yet"), ("last contact", lastContactAt ?? "never"),
            ("agent version", agentVersion), ("clock offset", Quantity.seconds(clockOffsetSeconds)),
            ("certificate until", certificateExpiresAt ?? "none"), ("databases", String(databaseCount)),
            ("snapshots", String(snapshotCount)),
        ]
    }
}
