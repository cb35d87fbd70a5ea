import ArgumentParser
import MusterAPI

struct VerifyDrills: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drills", abstract: "List the drills of a database, the newest first.",
        discussion: """
            Each with the time that its restore took (the RTO), what integrity_check and foreign_key_check said, how
            many assertions hold, and what became of the rows since the drill of the newest older snapshot of the same
            lineage. The last 100 of each database are kept.
            """)

    @Argument(help: "The database, by name or id.")
    var database: String

    @Option(help: "Its node, by name or id, where several have a database of that name.")
    var node: String?

    @Option(help: "At most so many.")
    var limit = 20

    @OptionGroup var admin: AdminOptions

    func validate() throws {
        guard (1...1000).contains(limit) else { throw ValidationError("--limit wants a number from 1 to 1000") }
    }

    func run() async throws {
        let found = try await admin.coordinator().drills(ofDatabase: database, node: node ?? "", limit: limit)
        try admin.format.show(found.drills.map(DrillRow.init))
    }
}

struct DrillRow: Row {
    static let columns = [
        "drilled", "snapshot", "result", "restore", "size", "integrity", "keys", "assertions", "rows", "dropped",
        "reason",
    ]

    struct Assertion: Encodable {
        let name: String
        let passed: Bool
        @Known var value: Double?
        @Known var reason: String?
    }

    let at, run, snapshot, level: String
    let passed: Bool
    let rtoSeconds, checkSeconds: Double
    let restoredBytes: UInt64
    @Known var integrity: String?
    let foreignKeyViolations: UInt64
    let assertions: [Assertion]
    let tablesCounted, tablesPresent: UInt32
    let rows: UInt64
    @Known var comparedWith: String?
    let compared: Bool
    let shrunkTables, vanishedTables: UInt32
    let largestDrop: Double
    @Known var reason: String?

    init(_ drill: Muster_V1_Drill) {
        let outcome = drill.outcome
        (at, run, snapshot, level) = (drill.at, drill.run, drill.snapshotID, "drill")
        passed = drill.passed
        (rtoSeconds, checkSeconds) = (outcome.restoreSeconds, outcome.checkSeconds)
        restoredBytes = outcome.restoredBytes
        foreignKeyViolations = outcome.foreignKeyViolations
        assertions = outcome.assertions.map { assertion in
            Assertion(
                name: assertion.name, passed: assertion.passed,
                value: Known(wrappedValue: assertion.hasValue ? assertion.value : nil),
                reason: Known(wrappedValue: known(assertion.reason)))
        }
        (tablesCounted, tablesPresent, rows) = (outcome.tableCount, outcome.tablesPresent, outcome.rowCount)
        (compared, largestDrop) = (outcome.compared, outcome.largestDrop)
        (shrunkTables, vanishedTables) = (outcome.shrunkTables, outcome.vanishedTables)
        (integrity, comparedWith, reason) = (known(outcome.integrity), known(outcome.comparedWith), known(drill.reason))
    }

    /// Of what did not come back nothing was measured.
    private var isOfRestored: Bool { rtoSeconds > 0 }

    private var dropped: String {
        guard compared else { return isOfRestored ? "not compared" : "" }
        guard shrunkTables > 0 else { return "none" }
        let gone = vanishedTables > 0 ? ", \(vanishedTables) gone" : ""
        return "\(shrunkTables) tables\(gone), at most \(Int((largestDrop * 100).rounded())) %"
    }

    var cells: [String] {
        let held = assertions.count(where: \.passed)
        let uncounted = tablesPresent > tablesCounted ? " in \(tablesCounted) of \(tablesPresent) tables" : ""
        return [
            at, String(snapshot.prefix(12)), passed ? "passed" : "failed",
            isOfRestored ? Quantity.seconds(rtoSeconds) : "", isOfRestored ? Quantity.bytes(restoredBytes) : "",
            integrity ?? "",
            foreignKeyViolations > 0 ? "\(foreignKeyViolations) broken" : integrity == "ok" ? "ok" : "",
            assertions.isEmpty ? "" : "\(held) of \(assertions.count)", isOfRestored ? "\(rows)\(uncounted)" : "",
            dropped, reason ?? "",
        ]
    }
}
