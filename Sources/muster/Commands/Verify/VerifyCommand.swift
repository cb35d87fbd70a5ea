import ArgumentParser

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Inspect snapshots and say what passes muster.",
        discussion: """
            Levels, in rising order:
              check   the objects are there, with the right size
              scrub   every stored byte is read and hashed again; needs no key
              verify  the database is rebuilt on its node from the stores, its content root is equal,
                      integrity_check is clean
              drill   the same, timed, with foreign_key_check, counted rows and the owner's assertions

            Exit status: 0 all passed, 2 some did, 1 none did. What could not be finished did not pass.
            """,
        subcommands: [VerifyRun.self, VerifyShow.self, VerifyList.self, VerifyDrills.self],
        defaultSubcommand: VerifyRun.self)
}
