import ArgumentParser

struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node", abstract: "Invite nodes and look at them.",
        subcommands: [NodeInvite.self, NodeList.self, NodeShow.self])
}
