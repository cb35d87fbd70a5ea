import ArgumentParser

struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node", abstract: "Invite nodes, look at them, and let them go.",
        subcommands: [NodeInvite.self, NodeList.self, NodeShow.self, NodeRetire.self, NodeRevoke.self])
}
