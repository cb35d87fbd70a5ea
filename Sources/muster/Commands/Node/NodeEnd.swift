import ArgumentParser
import MusterAPI

struct NodeRetire: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retire", abstract: "Let a node leave the fleet; its snapshots stay.",
        discussion: """
            Its certificate ends, its jobs are closed, and no alarm waits for it any more. What it backed up stays listed and
            is restored with the recovery key; policies and holds decide about it as before. There is no way back:
            the same machine joins anew, as a new node, and may have the old name.
            """)

    @Argument(help: "The node's name or id.")
    var node: String

    @OptionGroup var confirmation: Confirmation
    @OptionGroup var admin: AdminOptions

    func run() async throws {
        try await NodeEnding(node: node, admin: admin, confirmation: confirmation).run("retire") {
            try await $0.retire(node: $1)
        }
    }
}

struct NodeRevoke: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke", abstract: "Stop trusting a node's keys, at once.",
        discussion: """
            For a machine that was stolen or broken into. Its certificate stops counting, requests and uploads under way are cut
            off within a minute, its jobs are closed, and stores that it keeps are given up. Its snapshots stay. Its name
            stays taken until it is retired too.
            """)

    @Argument(help: "The node's name or id.")
    var node: String

    @OptionGroup var confirmation: Confirmation
    @OptionGroup var admin: AdminOptions

    func run() async throws {
        try await NodeEnding(node: node, admin: admin, confirmation: confirmation).run("revoke") {
            try await $0.revoke(node: $1)
        }
    }
}

/// What retiring and revoking have in common: the plan, the deed, and what came of it.
private struct NodeEnding {
    let node: String
    let admin: AdminOptions
    let confirmation: Confirmation

    private struct Ended: Encodable {
        let node: NodeRow
        let closedJobs: UInt32
        let lostStores: [String]
    }

    func run(
        _ verb: String, _ end: (CoordinatorClient, String) async throws -> Muster_V1_NodeEnded
    ) async throws {
        let coordinator = try admin.coordinator()
        let found = try await coordinator.node(node)
        guard confirmation.confirm else {
            let row = NodeRow(found)
            let stores = found.stores.isEmpty ? "none" : found.stores.joined(separator: ", ")
            try admin.format.show(
                row, lines: [("would \(verb)", row.name)] + row.lines.dropFirst() + [("keeps stores", stores)])
            return try confirmation.require()
        }
        // By its id: what was shown is what ends, whoever has the name by now.
        let ended = try await end(coordinator, found.id)
        let row = NodeRow(ended.node)
        try admin.format.show(
            Ended(node: row, closedJobs: ended.closedJobs, lostStores: ended.lostStores),
            lines: [
                ("node", row.name), ("id", row.id), ("state", row.state), ("jobs closed", String(ended.closedJobs)),
                ("stores given up", ended.lostStores.isEmpty ? "none" : ended.lostStores.joined(separator: ", ")),
            ])
    }
}
