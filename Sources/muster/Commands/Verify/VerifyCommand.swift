import ArgumentParser

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Inspect snapshots and say what passes muster.",
        discussion: """
            Levels, in rising order:
              check   the objects are there, with the right size
              scrub   every stored byte is read and hashed again; needs no key
              verify  the database is rebuilt on its node, its content root is equal, integrity_check is clean

            Exit status: 0 all passed, 2 some did, 1 none did.
            """,
        subcommands: [VerifyRun.self, VerifyShow.self], defaultSubcommand: VerifyRun.self)
}
