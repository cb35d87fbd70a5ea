import ArgumentParser
import MusterAPI

struct RetentionUndo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "undo", abstract: "Bring back what was given up, while its grace lasts.",
        discussion: """
            With a run all that it marked comes back; 'retention show' lists the runs. For a week no policy gives up
            again what was brought back: change the policy in that time, or hold the snapshots.
            """)

    @Argument(help: "A run, or with --snapshots the ids of snapshots, or unambiguous beginnings of 6 digits or more.")
    var ids: [String]

    @Flag(help: "The ids are those of snapshots.")
    var snapshots = false

    @OptionGroup var admin: AdminOptions

    func validate() throws {
        guard !ids.isEmpty else { throw ValidationError("name a run, or snapshots with --snapshots") }
        if !snapshots, ids.count > 1 { throw ValidationError("one run at a time; --snapshots takes several ids") }
    }

    private struct Undone: Encodable {
        let run: String
        let count: UInt64
    }

    func run() async throws {
        let coordinator = try admin.coordinator()
        var request = Muster_V1_RetentionUndoRequest()
        guard !snapshots else {
            request.snapshotIds = ids
            return try OutcomeRow.show(try await coordinator.undoRetention(request), admin.format)
        }
        request.run = ids[0]
        let answer = try await coordinator.undoRetention(request)
        try admin.format.show(
            Undone(run: answer.run, count: answer.count),
            lines: [("run", answer.run), ("brought back", String(answer.count))])
    }
}
