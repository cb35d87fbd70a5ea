import ArgumentParser
import MusterAPI

struct RestoreCancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Take back restores that nodes were ordered to do.",
        discussion: """
            A run as a whole, as far as it is open, or one order of it. What the order let its node read, and the pin of
            its snapshot, end at once; a node that is at work stops with its next word, within seconds, and removes what
            it had begun. Nothing that stands at a target is ever touched. A node that had finished before it heard says
            so: 'muster restore show' tells then that the order was taken back too late.
            For admins.
            """)

    @Argument(help: "The run's id, or that of one order, as 'muster restore show' prints it.")
    var id: String

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        try RestoreRunOutput.show(try await admin.coordinator().cancel(restore: id), admin.format)
    }
}
