import MusterAPI
import MusterModel

/// How restores that nodes do are waited for and printed.
enum RestoreRunOutput {
    private static let longestPause = Duration.seconds(2)

    private struct Shown: Encodable {
        let run, state: String
        let passed, total: UInt32
        let failed: [InspectionReport.Failed]
        let items: [RestoreItemRow]
    }

    /// As it is now.
    static func show(_ run: Muster_V1_RestoreRun, _ format: OutputFormat) throws {
        try show([run], refused: [], format)
    }

    /// All that one command ordered, as one document, however many runs it became.
    ///
    /// - Parameter refused: orders that are in no run.
    static func show(
        _ runs: [Muster_V1_RestoreRun], refused: [InspectionReport.Failed], _ format: OutputFormat
    ) throws {
        let rows = runs.flatMap(\.items).map(RestoreItemRow.init)
        switch format {
        case .json:
            let states = Set(runs.map(\.state))
            try format.show(
                Shown(
                    run: runs.map(\.run).joined(separator: " "),
                    // Where all was refused there is nothing to wait for.
                    state: states.count > 1 ? "running" : states.first ?? "finished",
                    passed: runs.reduce(0) { $0 + $1.passed },
                    total: runs.reduce(UInt32(refused.count)) { $0 + $1.total },
                    failed: refused + runs.flatMap(failures), items: rows), lines: [])
        case .table:
            try format.show(rows)
            for run in runs {
                Console.result("run \(run.run): \(run.passed) of \(run.total) restored, \(run.state)")
            }
        }
    }

    /// Waits for the end, with progress on a terminal.
    ///
    /// - Parameter run: stays as it was last seen where the coordinator answers no more.
    static func wait(for run: inout Muster_V1_RestoreRun, _ coordinator: CoordinatorClient) async throws {
        let line = ProgressLine("restoring")
        defer { line.finish() }
        var (pause, patience) = (Duration.milliseconds(100), CoordinatorPatience())
        // Each order has an end, and the coordinator sees to it, so this loop ends.
        while run.state != "finished" {
            line.update(progress(run))
            try await Surroundings.sleep(pause)
            pause = min(pause * 3 / 2, longestPause)
            let id = run.run
            let answer = try await patience.ask { () async throws(CoordinatorError) in
                try await coordinator.restoreRun(id)
            }
            if let answer { run = answer } else { line.update("the coordinator does not answer") }
        }
    }

    private static func progress(_ run: Muster_V1_RestoreRun) -> String {
        let (read, total) = run.items.reduce((UInt64(0), UInt64(0))) {
            ($0.0 &+ $1.bytesRead, $0.1 &+ $1.bytesTotal)
        }
        let ended = run.items.count { ["done", "failed", "cancelled"].contains($0.state) }
        if let waiting = run.items.first(where: { !$0.waitsFor.isEmpty }) {
            return "\(ended) of \(run.total) ended, node '\(waiting.targetNode)' waits: \(waiting.waitsFor)"
        }
        return "\(ended) of \(run.total) ended"
            + (total > 0 ? ", \(Quantity.bytes(read)) of \(Quantity.bytes(total)) read" : "")
    }

    static func failures(of run: Muster_V1_RestoreRun) -> [InspectionReport.Failed] {
        run.items.filter { ["failed", "cancelled"].contains($0.state) }.map { item in
            let reason = item.finding.reason.isEmpty ? item.errorSummary : item.finding.reason
            return InspectionReport.Failed(
                snapshot: item.snapshotID, store: item.finding.store, object: item.finding.object,
                reason: "node \(item.targetNode): \(reason)", node: item.node, database: item.database)
        }
    }

    /// Of a run that was waited for in vain: nobody here knows how these end.
    static func unknown(in run: Muster_V1_RestoreRun, because error: any Error) -> [InspectionReport.Failed] {
        let reason = (error as? any ActionableError)?.summary ?? "\(error)"
        return run.items.filter { ["queued", "running"].contains($0.state) }.map { item in
            InspectionReport.Failed(
                snapshot: item.snapshotID, store: "", object: "",
                reason: "node \(item.targetNode): it was \(item.state) when last heard of, see 'muster restore show "
                    + "\(run.run)': \(reason)", node: item.node, database: item.database)
        }
    }

    /// Says on standard error what to do about each.
    static func explain(_ run: Muster_V1_RestoreRun) {
        for item in run.items where !item.errorSummary.isEmpty {
            Console.note(
                "\(item.node)/\(item.database) onto \(item.targetNode) at \(item.targetPath): \(item.errorSummary)\n"
                    + "hint: \(item.errorHint)")
        }
    }
}

struct RestoreItemRow: Row {
    static let columns = ["order", "snapshot", "of node", "database", "on", "to", "state", "read", "reason"]
    let order, snapshot, node, database, on, target, state: String
    let bytesRead, bytesTotal: UInt64
    @Known var errorSummary: String?
    @Known var errorHint: String?
    /// Why its node reads nothing just now.
    @Known var waitsFor: String?
    let expiresAt: String
    @Known var finishedAt: String?

    init(_ item: Muster_V1_RestoreItem) {
        (order, waitsFor) = (item.grant, known(item.waitsFor))
        (snapshot, node, database) = (item.snapshotID, item.node, item.database)
        (on, target, state) = (item.targetNode, item.targetPath, item.state)
        (bytesRead, bytesTotal) = (item.bytesRead, item.bytesTotal)
        (errorSummary, errorHint) = (known(item.errorSummary), known(item.errorHint))
        (expiresAt, finishedAt) = (item.expiresAt, known(item.finishedAt))
    }

    var cells: [String] {
        [
            order, String(snapshot.prefix(12)), node, database, on, target, state,
            bytesTotal > 0 ? "\(Quantity.bytes(bytesRead)) of \(Quantity.bytes(bytesTotal))" : "",
            errorSummary ?? waitsFor.map { "waits: \($0)" } ?? "",
        ]
    }
}
