import ArgumentParser

/// For commands that cannot be undone: they show what they would do, and do it only when told so.
struct Confirmation: ParsableArguments {
    @Flag(help: "Do it. Without this flag the command says what it would do, changes nothing and exits with 64.")
    var confirm = false

    /// Ends the command where it was not confirmed; the plan was printed before.
    func require() throws {
        guard !confirm else { return }
        Console.note("nothing was done: give --confirm to do it")
        throw ExitCode(64)
    }
}
