import ArgumentParser
import MusterAPI

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the fleet at a glance: databases, stores, alarms.",
        discussion: """
            RPO is what would be lost if a node were lost now: 0 only where its agent says so in a recent report, else
            the age of the newest snapshot that has a receipt.

            Figures are of the whole fleet. Of its databases the first are shown, and how many more there are: all of
            them are listed by 'muster database list'.

            With --check it prints one line, as a monitor wants it, unless JSON is asked for: the state, what is wrong
            first, and after '|' figures in the form that Nagios plugins use.

            Exit status: 0; with --check 1 if an alarm stands that is critical or a warning. Monitors that tell the
            two apart by 1 and 2 can go by the first word after MUSTER.
            """)

    @Flag(help: "Exit with 1 if there is anything to look at.")
    var check = false

    @Option(help: "Show at most this many databases.")
    var limit = 1000

    @OptionGroup var admin: AdminOptions

    private struct Shown: Encodable {
        let version, now, startedAt: String
        let nodeCount, databaseCount: UInt32
        let snapshotCount, storedBytes: UInt64
        /// null without a snapshot.
        @Known var oldestRpoSeconds: Double?
        let databases: [DatabaseRow]
        let moreDatabases: UInt64
        let stores: [StoreRow]
        let alarms: [AlarmRow]
        let coverage: CoverageShown
    }

    func validate() throws {
        if limit < 1 { throw ValidationError("--limit wants a number from 1 up") }
    }

    func run() async throws {
        let status = try await admin.coordinator().status(limit: limit)
        let alarms = status.alarms.map(AlarmRow.init)
        let stores = status.stores.map(StoreRow.init)
        let databases = status.databases.map(DatabaseRow.init)
        let summary = StatusSummary(status)
        if check, admin.format == .table {
            Console.result(summary.line)
            if summary.fails { throw Outcome.failed }
            return
        }
        try admin.format.show(
            Shown(
                version: status.version, now: status.now, startedAt: status.startedAt, nodeCount: status.nodeCount,
                databaseCount: status.databaseCount, snapshotCount: status.snapshotCount,
                storedBytes: status.storedBytes,
                oldestRpoSeconds: Known(wrappedValue: status.hasOldestRpoSeconds ? status.oldestRpoSeconds : nil),
                databases: databases, moreDatabases: status.moreDatabases, stores: stores, alarms: alarms,
                coverage: CoverageShown(status.coverage)),
            lines: [
                ("coordinator", "\(status.version), up since \(status.startedAt)"),
                ("nodes", String(status.nodeCount)), ("databases", String(status.databaseCount)),
                ("snapshots", "\(status.snapshotCount), \(Quantity.bytes(status.storedBytes)) stored"),
                ("inspected", CoverageShown(status.coverage).text),
            ])
        if admin.format == .table {
            try showTables(databases: databases, more: status.moreDatabases, stores: stores, alarms: alarms)
        }
        if check, summary.fails { throw Outcome.failed }
    }

    private func showTables(
        databases: [DatabaseRow], more: UInt64, stores: [StoreRow], alarms: [AlarmRow]
    ) throws {
        Console.result("")
        try admin.format.show(databases)
        if more > 0 { Console.result("and \(more) more: see 'muster database list'") }
        Console.result("")
        try admin.format.show(stores)
        guard !alarms.isEmpty else { return Console.result("\nno alarms") }
        Console.result("")
        try admin.format.show(alarms)
    }
}

/// How much of the fleet was inspected within the policy.
struct CoverageShown: Encodable {
    struct Level: Encodable {
        let level, every: String
        let within, never: UInt64
        @Known var oldestAt: String?

        init(_ coverage: Muster_V1_LevelCoverage) {
            (level, every, within) = (coverage.level, coverage.every, coverage.within)
            (never, oldestAt) = (coverage.never, known(coverage.oldestAt))
        }
    }

    let databases: UInt64
    let levels: [Level]

    init(_ coverage: Muster_V1_Coverage) {
        databases = coverage.databases
        levels = coverage.levels.map(Level.init)
    }

    var text: String {
        guard databases > 0 else { return "no databases yet" }
        let parts = [("verify", "verified"), ("drill", "drilled")].compactMap { name, word -> String? in
            guard let level = levels.first(where: { $0.level == name }) else { return nil }
            let within = level.every == "never" ? "ever" : "within \(level.every)"
            // Rounded down: 100 % is only what has all.
            return "\(level.within * 100 / databases) % \(word) \(within)"
        }
        return "of \(databases) databases \(parts.joined(separator: ", "))"
    }
}

struct StoreRow: Row {
    static let columns = ["store", "state", "site", "placement", "snapshots", "to copy", "bad", "free", "url"]
    let name, url, state, site, placement, reason: String
    let freeBytes, wantedCopies, badReplicas, heldSnapshots, heldPacks: UInt64
    let empty: Bool

    init(_ store: Muster_V1_StoreStatus) {
        (name, url, state, freeBytes) = (store.name, store.url, store.state, store.freeBytes)
        (site, placement, reason) = (store.site, store.placement, store.reason)
        (wantedCopies, badReplicas) = (store.wantedCopies, store.badReplicas)
        (heldSnapshots, heldPacks, empty) = (store.heldSnapshots, store.heldPacks, store.empty)
    }

    var cells: [String] {
        [
            name, state, site, placement == "draining" && empty ? "draining, empty" : placement, String(heldSnapshots),
            String(wantedCopies), String(badReplicas), Self.room(freeBytes), url,
        ]
    }

    /// A store that cannot say how much is left has no figure.
    static func room(_ freeBytes: UInt64) -> String { freeBytes == .max ? "any" : Quantity.bytes(freeBytes) }
}
