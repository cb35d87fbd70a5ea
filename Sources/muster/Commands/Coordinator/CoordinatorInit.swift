import ArgumentParser
import Foundation
import MusterAPI
import MusterCoordinator
import MusterModel

extension ListenAddress: ExpressibleByArgument {
    package init?(argument: String) {
        // ArgumentParser words its own error for a value that does not parse.
        guard let address = try? ListenAddress(argument) else { return nil }
        self = address
    }
}

struct CoordinatorInit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Make a new coordinator: authority, keys, first store, first admin.",
        discussion: """
            Writes the admin context that the other commands use, and the recovery key. Take the recovery key
            offline: it opens every node's snapshots, and without it a lost node's cannot be opened.
            """)

    @Option(help: "The coordinator's directory; must be empty or not exist.")
    var dir: String

    @Option(help: "Address of the agent plane, HOST:PORT.")
    var listen = ListenAddress(host: "127.0.0.1", port: 7420)

    @Option(help: "Address of the admin plane. Default: the same host, the next port.")
    var adminListen: ListenAddress?

    @Option(help: "The host name that agents and admins are told to use. Default: that of --listen.")
    var advertise: String?

    @Option(
        help: "A first store: a folder, a file:// or s3:// URL; may be given again. Default: a folder in the directory."
    )
    var store: [String] = []

    @OptionGroup var s3: S3Options

    @Option(help: "Where to write the private recovery key. Default: recovery-key.txt in the directory.")
    var recoveryKeyFile: String?

    @Option(help: "Where to write the admin context. Default: $MUSTER_CONTEXT, else the per-user file.")
    var context: String?

    func run() async throws {
        let contextPath = context ?? ContextFile.defaultPath
        let reserved = try ReservedContext(path: contextPath)
        var settings = CoordinatorSettings(listen: listen, adminListen: adminListen)
        settings.advertise = advertise
        let outcome = try await Initialisation(
            directory: CoordinatorDirectory(path: dir), settings: settings, stores: store,
            storeAccess: try s3.access(),
            recoveryKeyFile: recoveryKeyFile, clock: Surroundings.clock, random: Surroundings.random
        ).run()
        try reserved.write(outcome.admin)
        Console.note(
            """
            coordinator made in \(dir)
              store          \(outcome.storeURLs.joined(separator: ", "))
              admin context  \(contextPath)
              recovery key   \(outcome.recoveryKeyFile)   <- take this file offline now
            next: muster coordinator run --dir \(dir)
            """)
        for shortfall in outcome.shortfalls { Console.note("note: \(shortfall)") }
    }
}
