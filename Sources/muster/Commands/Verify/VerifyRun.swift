import ArgumentParser
import Foundation
import MusterAPI
import MusterModel

extension VerificationLevel: ExpressibleByArgument {}

struct VerifyRun: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Inspect snapshots (the default).",
        discussion: """
            Without keys the coordinator does check and scrub, and asks the nodes' agents for verify and drill. With
            --agent-dir or --recovery-key this command rebuilds the database itself, in a temporary folder or in
            --scratch, and removes it; with --store too, from one store alone.
            --fleet, --node and --database take the newest snapshot of every database that matches: would everything
            come back? Over the fleet or a node, check and scrub take in also what nodes left behind that were retired
            or revoked, and databases that were removed; verify and drill need the keys of nodes that are there.
            """)

    @Argument(help: "Snapshot ids, or unambiguous beginnings of 6 digits or more.")
    var ids: [String] = []

    @Flag(help: "The newest snapshot of every database of the fleet.")
    var fleet = false

    @Option(help: "The newest snapshot of every database of this node, by name or id.")
    var node: String?

    @Option(help: "The newest snapshot of this database, by name or id; with --node only of that node.")
    var database: String?

    @Option(help: "check, scrub, verify or drill.")
    var level = VerificationLevel.verify

    @Option(help: "How long a node may be silent before its part is given up as unfinished: 5s to 7d.")
    var patience = "15m"

    @Flag(help: "Wait for the result; without it the run's id is printed.")
    var wait = false

    @Option(help: "With a key: where databases are rebuilt, in the clear. Default: the system's temporary folder.")
    var scratch: String?

    @OptionGroup var key: KeyOptions
    @OptionGroup var stores: StoreOptions
    @OptionGroup var admin: AdminOptions

    func validate() throws {
        guard [!ids.isEmpty, fleet, node != nil || database != nil].count(where: { $0 }) == 1 else {
            throw ValidationError("name snapshots, or give one of --fleet, --node and --database")
        }
        if key.isGiven {
            if level < .verify { throw ValidationError("check and scrub need no key") }
            if ids.isEmpty { throw ValidationError("with a key, name the snapshots") }
        }
        if scratch != nil, !key.isGiven { throw ValidationError("--scratch goes with --agent-dir or --recovery-key") }
        if stores.store != nil, !key.isGiven {
            throw ValidationError("--store wants a key too: --agent-dir DIR or --recovery-key FILE")
        }
        guard let patience = Duration(text: patience), (.seconds(5)...(.seconds(604_800))).contains(patience) else {
            throw ValidationError("--patience wants a span from 5s to 7d, such as 15m")
        }
    }

    func run() async throws {
        let report: InspectionReport?
        if key.isGiven {
            let here = VerifyHere(
                ids: ids, isDrill: level == .drill, key: key, known: KnownNodes(besideContext: admin.contextPath),
                scratch: scratch)
            report = try await here.report(try await key.origin(stores, admin))
        } else {
            report = try await askCoordinator(try admin.coordinator())
        }
        guard let report else { return }
        try VerificationOutput.show(report, admin.format)
        if let outcome = report.inspectionOutcome { throw outcome }
    }

    private func askCoordinator(_ coordinator: CoordinatorClient) async throws -> InspectionReport? {
        var request = Muster_V1_VerificationRequest()
        for id in ids { request.snapshotIds.append(try await coordinator.snapshot(id).id) }
        (request.fleet, request.node, request.database) = (fleet, node ?? "", database ?? "")
        request.level = level.rawValue
        request.patienceSeconds = UInt32(clamping: (Duration(text: patience)?.microseconds ?? 0) / 1_000_000)
        let verification = try await coordinator.verify(request)
        guard wait else {
            try VerificationOutput.showStarted(verification, admin.format)
            return nil
        }
        return try await VerificationOutput.finished(verification, coordinator)
    }
}

struct VerifyShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show a verification run, and how far it is.")

    @Argument(help: "The run's id.")
    var id: String

    @Flag(help: "Wait until it has finished.")
    var wait = false

    @Flag(help: "Show each node's part instead.")
    var nodes = false

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        let coordinator = try admin.coordinator()
        let verification = try await coordinator.verification(id)
        if nodes { return try await showNodes(coordinator) }
        guard wait || verification.state == "finished" else {
            return try VerificationOutput.showStarted(verification, admin.format)
        }
        let report = try await VerificationOutput.finished(verification, coordinator)
        try VerificationOutput.show(report, admin.format)
        if let outcome = report.inspectionOutcome { throw outcome }
    }

    private func showNodes(_ coordinator: CoordinatorClient) async throws {
        var rows: [VerificationNodeRow] = []
        var after = ""
        repeat {
            let page = try await coordinator.verificationNodes(id, limit: 1000, after: after)
            rows += page.nodes.map(VerificationNodeRow.init)
            after = page.next
        } while !after.isEmpty
        try admin.format.show(rows)
    }
}

struct VerifyList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List verification runs, the newest first.")

    @Option(help: "At most so many.")
    var limit = 20

    @OptionGroup var admin: AdminOptions

    func validate() throws {
        guard (1...1000).contains(limit) else { throw ValidationError("--limit wants a number from 1 to 1000") }
    }

    func run() async throws {
        let runs = try await admin.coordinator().verifications(limit: limit).verifications
        try admin.format.show(runs.map(VerificationRow.init))
    }
}
