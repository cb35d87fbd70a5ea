import ArgumentParser
import MusterAPI
import MusterModel

struct StoreCheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Look at every object that is expected in a store.",
        discussion: """
            The coordinator asks the store for each object's size; with --level scrub it reads every byte and hashes it,
            at the rate of the weekly scrub. What is wanting is repaired from another store by itself at once:
            'muster store repair' waits for it. Without --wait the run begins, or the one under way is shown.

            Exit status: 0 all objects are sound, 2 some are, 1 none is, or the store is away.
            """)

    @Argument(help: "The store's name.")
    var store: String

    @Option(help: "check or scrub.")
    var level = VerificationLevel.check

    @Flag(help: "Wait for the result.")
    var wait = false

    @OptionGroup var admin: AdminOptions

    private struct Started: Encodable {
        let run, store, level, state: String
        let passed, total: UInt64
    }

    func validate() throws {
        guard level < .verify else { throw ValidationError("a store is looked at with --level check or scrub") }
    }

    func run() async throws {
        let coordinator = try admin.coordinator()
        var check = try await coordinator.check(store: store, level: level)
        guard wait else {
            return try admin.format.show(
                Started(
                    run: check.run, store: check.store, level: check.level, state: check.state, passed: check.passed,
                    total: check.total),
                lines: [
                    ("run", check.run), ("store", check.store), ("level", check.level),
                    ("sound", "\(check.passed) of \(check.total) objects so far"),
                ])
        }
        let progress = ProgressLine(level.rawValue)
        var patience = CoordinatorPatience()
        // The coordinator ends a check itself, also where the store goes away, so this loop ends.
        while check.state != "finished" {
            progress.update(
                "\(check.passed + check.failedCount) of \(check.total) objects, "
                    + "\(Quantity.bytes(check.bytesRead)) read")
            try await Surroundings.sleep(.milliseconds(200))
            let answer = try await patience.ask { () async throws(CoordinatorError) in
                try await coordinator.lastCheck(ofStore: store)
            }
            check = answer ?? check
        }
        progress.finish()
        let report = InspectionReport(
            run: check.run, passed: Int(check.passed), total: Int(check.total),
            failed: check.failed.map(InspectionReport.Failed.init))
        try StoreCare.show(
            report, "objects are sound", more: Int(check.failedCount) - report.failed.count, admin.format)
        if let outcome = report.outcome { throw outcome }
    }
}

struct StoreRepairCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair", abstract: "Repair all that is bad or missing in a store now, and wait for it.",
        discussion: """
            Repairs are made by themselves; this puts those of one store in front, without the pauses between vain tries,
            and waits until each was tried. What no store has a good copy of is named: the node is asked for it.

            Exit status: 0 nothing is bad or missing any more, 2 some was repaired, 1 nothing was, or the store is away.
            """)

    @Argument(help: "The store's name.")
    var store: String

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        let coordinator = try admin.coordinator()
        var repair = try await coordinator.repair(store: store)
        var total = repair.waiting + repair.failing
        let progress = ProgressLine("repair")
        var patience = CoordinatorPatience()
        // Each is tried once, or the store goes away, so this loop ends.
        while repair.waiting > 0, repair.state == "ok" {
            total = max(total, repair.waiting + repair.failing)
            progress.update("\(total - repair.waiting) of \(total) copies tried")
            try await Surroundings.sleep(.milliseconds(200))
            let answer = try await patience.ask { () async throws(CoordinatorError) in
                try await coordinator.repairs(ofStore: store)
            }
            repair = answer ?? repair
        }
        progress.finish()
        let left = repair.waiting + repair.failing
        var failed = repair.failed.map(InspectionReport.Failed.init)
        if repair.state != "ok" { failed.append(.init(snapshot: "", store: store, object: "", reason: repair.state)) }
        let report = InspectionReport(
            run: "", passed: Int(total - min(total, left)), total: Int(total), failed: failed)
        try StoreCare.show(report, "copies were made", more: Int(repair.failing) - repair.failed.count, admin.format)
        if let outcome = report.outcome { throw outcome }
    }
}

/// What the two print.
private enum StoreCare {
    /// - Parameter more: how many that failed are not named.
    static func show(_ report: InspectionReport, _ what: String, more: Int, _ format: OutputFormat) throws {
        if format == .json { return try format.show(report, lines: []) }
        Console.result(
            "\(report.passed) of \(report.total) \(what)" + (report.run.isEmpty ? "" : " (run \(report.run))"))
        for failed in report.failed {
            let snapshot = failed.snapshot.isEmpty ? "" : ", snapshot \(failed.snapshot)"
            Console.result(
                "failed: \(failed.object.isEmpty ? failed.store : failed.object)\(snapshot): \(failed.reason)")
        }
        if more > 0 { Console.result("and \(more) more") }
    }
}
