import ArgumentParser

struct RetentionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retention", abstract: "Say which snapshots are kept, and give up the others.",
        discussion: """
            A policy is for the fleet, a node, a label or one database. A database follows its own; without one, those
            of its snapshots' labels; then its node's; then the fleet's. The clock is the moment of receipt.

            Whatever the policies say, these stay: what is held, what is younger than --min-age, the head and the
            newest verified snapshot of each lineage, and everything while an alarm (fork, flood, size, entropy) stands.
            What is given up is only marked: 'retention undo' brings it back while the grace lasts.
            """,
        subcommands: [
            RetentionSet.self, RetentionShow.self, RetentionPreview.self, RetentionApply.self, RetentionUndo.self,
        ])
}
