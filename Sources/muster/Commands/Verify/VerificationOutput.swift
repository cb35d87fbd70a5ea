import MusterAPI
import MusterModel

/// How verification runs are waited for and printed.
enum VerificationOutput {
    /// No page of findings begins behind it.
    private static let noFindings = UInt64(Int64.max)
    private static let mostFindings = 100_000
    private static let longestPause = Duration.seconds(2)

    private struct Started: Encodable {
        let run, level, scope, state: String
        let passed, total, unfinished: UInt32
        let bytesRead: UInt64
        let failed: [InspectionReport.Failed]
        let waiting: [String]
        let waitingCount: UInt32
    }

    static func showStarted(_ verification: Muster_V1_Verification, _ format: OutputFormat) throws {
        let shown = verification.waiting.prefix(20).map { String($0.prefix(12)) }.joined(separator: " ")
        let more = verification.waitingCount > 20 ? " and \(verification.waitingCount - 20) more" : ""
        try format.show(
            Started(
                run: verification.run, level: verification.level, scope: verification.scope,
                state: verification.state, passed: verification.passed, total: verification.total,
                unfinished: verification.unfinished, bytesRead: verification.bytesRead,
                failed: verification.failed.map(InspectionReport.Failed.init), waiting: verification.waiting,
                waitingCount: verification.waitingCount),
            lines: [
                ("run", verification.run), ("level", verification.level), ("of", verification.scope),
                ("state", verification.state), ("so far", progress(verification)),
                ("waiting for", shown + more),
            ])
    }

    private static func progress(_ verification: Muster_V1_Verification) -> String {
        var words = ["\(verification.passed) passed"]
        if verification.failedCount > 0 { words.append("\(verification.failedCount) failed") }
        if verification.unfinished > 0 { words.append("\(verification.unfinished) unfinished") }
        let total = verification.filling ? "\(verification.total) and more" : "\(verification.total)"
        return words.joined(separator: ", ") + " of \(total), \(Quantity.bytes(verification.bytesRead)) read"
    }

    /// Waits for the end, with progress on a terminal, and reads all that was found.
    static func finished(
        _ verification: Muster_V1_Verification, _ coordinator: CoordinatorClient
    ) async throws -> InspectionReport {
        let line = ProgressLine(verification.level)
        defer { line.finish() }
        var verification = verification
        var pause = Duration.milliseconds(100)
        var patience = CoordinatorPatience()
        // The coordinator ends a run itself, so this loop ends.
        while verification.state != "finished" {
            line.update(progress(verification))
            try await Surroundings.sleep(pause)
            pause = min(pause * 3 / 2, longestPause)
            let run = verification.run
            let answer = try await patience.ask { () async throws(CoordinatorError) in
                try await coordinator.verification(run, findingsAfter: noFindings)
            }
            if let answer { verification = answer } else { line.update("the coordinator does not answer") }
        }
        var failed: [Muster_V1_Finding] = []
        var next: UInt64 = 0
        repeat {
            verification = try await coordinator.verification(verification.run, findingsAfter: next)
            failed += verification.failed
            next = verification.nextFinding
        } while next > 0 && failed.count < mostFindings
        return InspectionReport(
            run: verification.run, passed: Int(verification.passed), total: Int(verification.total),
            failed: failed.map(InspectionReport.Failed.init), unfinished: Int(verification.unfinished),
            refused: verification.refused.map(InspectionReport.Failed.init))
    }

    static func show(_ report: InspectionReport, _ format: OutputFormat) throws {
        if format == .json { return try format.show(report, lines: []) }
        Console.result(
            "\(report.passed) of \(report.total) snapshots passed"
                + (report.unfinished > 0 ? ", \(report.unfinished) were not finished" : "")
                + (report.run.isEmpty ? "" : " (run \(report.run))"))
        if report.total == 0 { Console.result("failed: there was nothing to verify: no database here has a snapshot") }
        for failed in report.failed { Console.result("failed: \(failed.place): \(failed.reason)") }
        for refused in report.refused {
            Console.result("refused: \(refused.place): \(refused.reason); another replica served")
        }
    }
}

extension InspectionReport.Failed {
    init(_ finding: Muster_V1_Finding) {
        self.init(
            snapshot: finding.snapshot, store: finding.store, object: finding.object, reason: finding.reason,
            node: known(finding.node), database: known(finding.database))
    }

    init(_ failing: Failing) {
        self.init(snapshot: failing.snapshot, store: failing.store, object: failing.object, reason: failing.reason)
    }

    fileprivate var place: String {
        var words = snapshot.isEmpty ? [] : ["snapshot \(snapshot)"]
        if let node, let database { words.append("of \(node)/\(database)") }
        if !store.isEmpty { words.append("in \(store)") }
        return words.joined(separator: " ") + (object.isEmpty ? "" : ": object \(object)")
    }
}

struct VerificationRow: Row {
    static let columns = ["run", "level", "of", "state", "passed", "failed", "unfinished", "started", "finished", "by"]
    let run, level, scope, state, actor: String
    let passed, total, failed, unfinished, waiting: UInt32
    let bytesRead: UInt64
    let startedAt: String
    @Known var finishedAt: String?

    init(_ verification: Muster_V1_Verification) {
        (run, level, scope) = (verification.run, verification.level, verification.scope)
        (state, actor) = (verification.state, verification.actor)
        (passed, total, failed) = (verification.passed, verification.total, verification.failedCount)
        (unfinished, waiting) = (verification.unfinished, verification.waitingCount)
        bytesRead = verification.bytesRead
        (startedAt, finishedAt) = (verification.startedAt, known(verification.finishedAt))
    }

    var cells: [String] {
        [
            run, level, scope, state, "\(passed) of \(total)", String(failed), String(unfinished), startedAt,
            finishedAt ?? "", actor,
        ]
    }
}

struct VerificationNodeRow: Row {
    static let columns = ["node", "passed", "failed", "unfinished", "waiting", "read", "work", "away since"]
    let node, nodeId: String
    let total, passed, failed, unfinished, waiting: UInt32
    let bytesRead: UInt64
    let seconds: Double
    @Known var awaySince: String?

    init(_ part: Muster_V1_VerificationNode) {
        (node, nodeId, total, passed) = (part.node, part.nodeID, part.total, part.passed)
        (failed, unfinished, waiting) = (part.failed, part.unfinished, part.waiting)
        (bytesRead, seconds, awaySince) = (part.bytesRead, part.seconds, known(part.awaySince))
    }

    var cells: [String] {
        [
            node, "\(passed) of \(total)", String(failed), String(unfinished), String(waiting),
            Quantity.bytes(bytesRead), Quantity.seconds(seconds), awaySince ?? "",
        ]
    }
}
