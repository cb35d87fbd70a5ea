import ArgumentParser
import MusterCoordinator

struct CoordinatorAdmin: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "admin", abstract: "Make an admin on the coordinator's own machine.",
        discussion: """
            For a fleet that nobody rules any more: the last admin's context was lost, or its certificate ran out. Who can
            read the coordinator's directory has its authority anyway. The coordinator must not run meanwhile.
            """)

    @Option(help: "The coordinator's directory.")
    var dir: String

    @Option(help: "The new admin's name; nobody may have a good certificate under it.")
    var name = "admin"

    @Option(help: "Where to write the context, mode 0600; nothing may stand there.")
    var out: String

    func run() async throws {
        let reserved = try ReservedContext(path: out)
        let context = try await AdminRecovery(
            directory: CoordinatorDirectory(path: dir), clock: Surroundings.clock, random: Surroundings.random
        ).makeAdmin(name: name)
        try reserved.write(context)
        Console.note(
            """
            '\(name)' is an admin; the context is \(out)
            next: start the coordinator, and end what was lost with 'muster person revoke OLD --confirm'
            """)
    }
}
