import ArgumentParser
import MusterAPI

struct SnapshotHold: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hold", abstract: "Keep snapshots whatever the policies say.",
        discussion: """
            A snapshot may have several holds with names of their own; it stays until all are released. One that was
            given up and whose grace is not over is brought back.
            """)

    @Argument(help: "Snapshot ids, or unambiguous beginnings of 6 digits or more.")
    var ids: [String]

    @Option(help: "The hold's name.")
    var name = "manual"

    @Option(help: "Why, for whoever asks later.")
    var reason = ""

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        var request = Muster_V1_SnapshotHoldRequest()
        (request.snapshotIds, request.name, request.reason) = (ids, name, reason)
        try OutcomeRow.show(try await admin.coordinator().hold(request), admin.format)
    }
}

struct SnapshotRelease: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "release", abstract: "Take a hold off snapshots.",
        discussion: "The policies decide again, unless there is a hold of another name.")

    @Argument(help: "Snapshot ids, or unambiguous beginnings of 6 digits or more.")
    var ids: [String]

    @Option(help: "The hold's name.")
    var name = "manual"

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        var request = Muster_V1_SnapshotReleaseRequest()
        (request.snapshotIds, request.name) = (ids, name)
        try OutcomeRow.show(try await admin.coordinator().release(request), admin.format)
    }
}

struct SnapshotForget: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget", abstract: "Give snapshots up by their ids.",
        discussion: """
            They are only marked: 'retention undo --snapshots ID' brings them back while the grace lasts. What is held, the
            head and the newest verified snapshot of a lineage, and anything under an alarm stay.
            """)

    @Argument(help: "Snapshot ids, or unambiguous beginnings of 6 digits or more.")
    var ids: [String]

    @Option(help: "For so long they can be brought back. Default: 7d.")
    var grace: String?

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        var request = Muster_V1_SnapshotForgetRequest()
        (request.snapshotIds, request.grace) = (ids, grace ?? "")
        try OutcomeRow.show(try await admin.coordinator().forget(request), admin.format)
    }
}

/// What became of a wish for one snapshot.
struct OutcomeRow: Row {
    static let columns = ["id", "outcome"]
    let id, outcome: String
    let done: Bool
    /// That marked it.
    @Known var run: String?

    var cells: [String] { [id, outcome] }

    /// Prints them, and ends the command accordingly.
    static func show(_ list: Muster_V1_SnapshotOutcomeList, _ format: OutputFormat) throws {
        let rows = list.outcomes.map { outcome in
            var row = OutcomeRow(id: outcome.snapshotID, outcome: outcome.outcome, done: outcome.done)
            row.run = outcome.done ? known(list.run) : nil
            return row
        }
        try format.show(rows)
        let done = rows.count { $0.done }
        if done < rows.count { throw done == 0 ? Outcome.failed : Outcome.partly }
    }
}
