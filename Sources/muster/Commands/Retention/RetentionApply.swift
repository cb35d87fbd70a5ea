import ArgumentParser
import MusterAPI

struct RetentionApply: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply", abstract: "Give up now what the policies do not keep.",
        discussion: """
            Snapshots are only marked: they leave the lists, can be restored by their ids, and come back with
            'retention undo' while the grace of their policy lasts. The coordinator does the same by itself every hour
            unless its settings say otherwise.
            """)

    private static let databasesAtOnce = 100

    @OptionGroup var choice: DatabaseChoice

    @Flag(help: "Change nothing: say how many would be given up.")
    var dryRun = false

    @OptionGroup var admin: AdminOptions

    func validate() throws { try choice.check() }

    func run() async throws {
        let coordinator = try admin.coordinator()
        let databases = try await choice.databases(coordinator)
        let rows = dryRun ? try await preview(databases, coordinator) : try await apply(databases, coordinator)
        try admin.format.show(rows)
        let marked = rows.reduce(0) { $0 + $1.marked }
        if dryRun {
            Console.note("\(marked) snapshots would be given up; nothing was changed")
        } else if marked > 0, let run = rows.first?.run {
            Console.note("\(marked) snapshots were given up; take it back with: muster retention undo \(run)")
        } else {
            Console.note("nothing was given up")
        }
    }

    private func preview(
        _ databases: [Muster_V1_Database], _ coordinator: CoordinatorClient
    ) async throws -> [ApplicationRow] {
        var rows: [ApplicationRow] = []
        for database in databases {
            var request = Muster_V1_RetentionPreviewRequest()
            (request.databaseID, request.limit) = (database.id, 1)
            rows.append(ApplicationRow(database, try await coordinator.previewRetention(request)))
        }
        return rows
    }

    private func apply(
        _ databases: [Muster_V1_Database], _ coordinator: CoordinatorClient
    ) async throws -> [ApplicationRow] {
        var rows: [ApplicationRow] = []
        var request = Muster_V1_RetentionApplyRequest()
        for start in stride(from: 0, to: databases.count, by: Self.databasesAtOnce) {
            request.databaseIds = databases[start...].prefix(Self.databasesAtOnce).map(\.id)
            let answer = try await coordinator.applyRetention(request)
            // All of it is one run, which one undo takes back.
            request.run = answer.run
            rows += answer.results.map { ApplicationRow($0, run: answer.run) }
        }
        return rows
    }
}

private struct ApplicationRow: Row {
    static let columns = ["node", "database", "kept", "given up", "note"]
    let node, database: String
    let kept, marked: UInt64
    /// The kind of an alarm that keeps everything.
    @Known var alarm: String?
    /// null where nothing was changed.
    @Known var run: String?

    init(_ result: Muster_V1_RetentionApplication, run: String) {
        (node, database) = (result.node, result.database)
        (kept, marked) = (result.kept, result.marked)
        (alarm, self.run) = (known(result.alarm), run)
    }

    init(_ owner: Muster_V1_Database, _ preview: Muster_V1_RetentionPreview) {
        (node, database) = (owner.node, owner.name)
        (kept, marked) = (preview.kept, preview.expiring)
        alarm = known(preview.alarm)
    }

    var cells: [String] {
        [node, database, String(kept), String(marked), alarm.map { "frozen: alarm '\($0)' stands" } ?? ""]
    }
}
