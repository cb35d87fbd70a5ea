import MusterAPI
import MusterModel

/// How verification runs are waited for and printed.
enum VerificationOutput {
    private struct Started: Encodable {
        let run, level, state: String
        let passed, total: UInt32
        let failed: [InspectionReport.Failed]
        let waiting: [String]
    }

    static func showStarted(_ verification: Muster_V1_Verification, _ format: OutputFormat) throws {
        try format.show(
            Started(
                run: verification.run, level: verification.level, state: verification.state,
                passed: verification.passed, total: verification.total,
                failed: verification.failed.map(InspectionReport.Failed.init), waiting: verification.waiting),
            lines: [
                ("run", verification.run), ("level", verification.level), ("state", verification.state),
                ("passed", "\(verification.passed) of \(verification.total) so far"),
                ("waiting for", verification.waiting.map { String($0.prefix(12)) }.joined(separator: " ")),
            ])
    }

    /// Waits for the end, with progress on a terminal.
    static func finished(
        _ verification: Muster_V1_Verification, _ coordinator: CoordinatorClient
    ) async throws -> Muster_V1_Verification {
        let progress = ProgressLine(verification.level)
        defer { progress.finish() }
        var verification = verification
        // The coordinator ends a run itself, so this loop ends.
        while verification.state != "finished" {
            progress.update(
                "\(verification.passed + UInt32(verification.failed.count)) of \(verification.total), "
                    + "\(Quantity.bytes(verification.bytesRead)) read")
            try await Surroundings.sleep(.milliseconds(100))
            verification = try await coordinator.verification(verification.run)
        }
        return verification
    }

    static func show(_ report: InspectionReport, _ format: OutputFormat) throws {
        if format == .json { return try format.show(report, lines: []) }
        Console.result(
            "\(report.passed) of \(report.total) snapshots passed" + (report.run.isEmpty ? "" : " (run \(report.run))"))
        for failed in report.failed {
            let object = failed.object.isEmpty ? "" : " object \(failed.object)"
            Console.result("failed: snapshot \(failed.snapshot) in \(failed.store):\(object): \(failed.reason)")
        }
    }
}

extension InspectionReport {
    init(_ verification: Muster_V1_Verification) {
        self.init(
            run: verification.run, passed: Int(verification.passed), total: Int(verification.total),
            failed: verification.failed.map(Failed.init))
    }
}

extension InspectionReport.Failed {
    init(_ finding: Muster_V1_Finding) {
        self.init(snapshot: finding.snapshot, store: finding.store, object: finding.object, reason: finding.reason)
    }

    init(_ failing: Failing) {
        self.init(snapshot: failing.snapshot, store: failing.store, object: failing.object, reason: failing.reason)
    }
}
