import ArgumentParser
import MusterAPI
import MusterModel

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the fleet at a glance: databases, stores, alarms.",
        discussion: """
            RPO is what would be lost if a node were lost now: 0 only where its agent says so in a recent report, else
            the age of the newest snapshot that has a receipt.

            Figures are of the whole fleet. Of its databases the first are shown, and how many more there are: all of
            them are listed by 'muster database list'.

            With --check it is a plug-in for Nagios, Icinga and monitors like them: it prints one line, unless JSON is
            asked for, with the state, what is wrong first, and after '|' figures.

            Exit status: 0 if the fleet could be asked, else as of any command. With --check it is the monitor's:
            0 OK, 1 WARNING, 2 CRITICAL by the worst alarm that stands, 3 UNKNOWN where the coordinator did not answer
            or did not let in who asked.
            """)

    @Flag(help: "Answer as a monitor's plug-in does: one line, and the state as exit status.")
    var check = false

    @Option(help: "With --check: how long to wait for the answer, such as 10s.")
    var timeout = "30s"

    @Option(help: "Show at most this many databases.")
    var limit = 1000

    @OptionGroup var admin: AdminOptions

    private struct Shown: Encodable {
        let version, now, startedAt: String
        let nodeCount, databaseCount: UInt32
        let snapshotCount, storedBytes, heldReplicas, wantedReplicas: UInt64
        /// There may be fewer replicas than `heldReplicas`.
        let heldAtMost: Bool
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
        guard let patience, patience > .zero else {
            throw ValidationError("--timeout wants a span of time, such as 10s")
        }
    }

    private var patience: Duration? { Duration(text: timeout) }

    func run() async throws {
        guard check else { return try show(try await admin.coordinator().status(limit: limit)) }
        let status: Muster_V1_Status
        do {
            // The line needs none of the databases.
            status = try await answer(limit: admin.format == .table ? 1 : limit)
        } catch {
            throw unknown(error)
        }
        let summary = StatusSummary(status)
        if admin.format == .table { Console.result(summary.line) } else { try show(status) }
        if summary.state != .ok { throw Outcome.monitored(summary.state) }
    }

    /// A monitor ends a plug-in that is late and takes that for an alarm of its own; we are done before.
    private func answer(limit: Int) async throws -> Muster_V1_Status {
        let (coordinator, patience) = (try admin.coordinator(), patience ?? .zero)
        return try await withThrowingTaskGroup(of: Muster_V1_Status.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await coordinator.status(limit: limit) }
            group.addTask {
                try await Surroundings.sleep(patience)
                throw AnswerLate(patience: patience)
            }
            guard let first = try await group.next() else { throw AnswerLate(patience: patience) }
            return first
        }
    }

    /// The check came to no answer: that is said where a monitor looks, and the hint where a person does.
    private func unknown(_ error: any Error) -> Outcome {
        let reason = error as? any ActionableError ?? UnforeseenError(error)
        if admin.format == .table { Console.result(MonitorState.unknown.line(reason.summary)) }
        Console.error(reason)
        return .monitored(.unknown)
    }

    private func show(_ status: Muster_V1_Status) throws {
        let alarms = status.alarms.map(AlarmRow.init)
        let stores = status.stores.map(StoreRow.init)
        let databases = status.databases.map(DatabaseRow.init)
        try admin.format.show(
            Shown(
                version: status.version, now: status.now, startedAt: status.startedAt, nodeCount: status.nodeCount,
                databaseCount: status.databaseCount, snapshotCount: status.snapshotCount,
                storedBytes: status.storedBytes, heldReplicas: status.heldReplicas,
                wantedReplicas: status.wantedReplicas, heldAtMost: status.heldAtMost,
                oldestRpoSeconds: Known(wrappedValue: status.hasOldestRpoSeconds ? status.oldestRpoSeconds : nil),
                databases: databases, moreDatabases: status.moreDatabases, stores: stores, alarms: alarms,
                coverage: CoverageShown(status.coverage)),
            lines: [
                ("coordinator", "\(status.version), up since \(status.startedAt)"),
                ("nodes", String(status.nodeCount)), ("databases", String(status.databaseCount)),
                ("snapshots", "\(status.snapshotCount), \(Quantity.bytes(status.storedBytes)) stored"),
                (
                    "replicas",
                    "\(status.heldAtMost ? "at most " : "")\(status.heldReplicas) of \(status.wantedReplicas)"
                ),
                ("inspected", CoverageShown(status.coverage).text),
            ])
        guard admin.format == .table else { return }
        try showTables(databases: databases, more: status.moreDatabases, stores: stores, alarms: alarms)
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

/// The coordinator may be there, but it did not answer in time.
private struct AnswerLate: ActionableError {
    let patience: Duration

    var summary: String { "the coordinator did not answer within \(patience.text)" }
    var hint: String { "Look whether its machine is busy; with --timeout the check waits longer." }
    var isTransient: Bool { true }
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
