import ArgumentParser
import Foundation
import MusterAPI
import MusterEngine
import MusterModel

extension VerificationLevel: ExpressibleByArgument {}

struct VerifyRun: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Inspect snapshots (the default).",
        discussion: """
            Without keys the coordinator does check and scrub, and asks the node's agent for verify. With
            --agent-dir or --recovery-key this command rebuilds the database itself, in a temporary folder; with
            --store too, from one store alone.
            """)

    @Argument(help: "Snapshot ids, or unambiguous beginnings of 6 digits or more.")
    var ids: [String]

    @Option(help: "check, scrub or verify.")
    var level = VerificationLevel.verify

    @Flag(help: "Wait for the result; without it the run's id is printed.")
    var wait = false

    @OptionGroup var key: KeyOptions
    @OptionGroup var stores: StoreOptions
    @OptionGroup var admin: AdminOptions

    func validate() throws {
        guard !ids.isEmpty else { throw ValidationError("name at least one snapshot") }
        guard level != .drill else { throw ValidationError("--level drill is not there yet; use verify") }
        if key.isGiven, level != .verify { throw ValidationError("check and scrub need no key") }
        if stores.store != nil, !key.isGiven {
            throw ValidationError("--store wants a key too: --agent-dir DIR or --recovery-key FILE")
        }
    }

    func run() async throws {
        let report =
            key.isGiven
            ? try await rebuildHere(try await key.origin(stores, admin))
            : try await askCoordinator(try admin.coordinator())
        guard let report else { return }
        try VerificationOutput.show(report, admin.format)
        if let outcome = report.outcome { throw outcome }
    }

    private func askCoordinator(_ coordinator: CoordinatorClient) async throws -> InspectionReport? {
        var snapshots: [String] = []
        for id in ids { snapshots.append(try await coordinator.snapshot(id).id) }
        let verification = try await coordinator.verify(snapshots, level: level)
        guard wait else {
            try VerificationOutput.showStarted(verification, admin.format)
            return nil
        }
        return InspectionReport(try await VerificationOutput.finished(verification, coordinator))
    }

    private func rebuildHere(_ origin: any SnapshotOrigin) async throws -> InspectionReport {
        let folder = FileManager.default.temporaryDirectory
            .appending(path: "muster-verify-" + Hex.encode(Surroundings.random.bytes(8)))
        try FileManager.default.createDirectory(
            at: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        // A leftover in the system's temporary folder is no reason to fail a verification.
        defer { try? FileManager.default.removeItem(at: folder) }
        var failed: [InspectionReport.Failed] = []
        var passed = 0
        for id in ids {
            let snapshot = try await origin.snapshot(id)
            guard let snapshotID = SnapshotID(snapshot.id) else { throw UnreadableSnapshot(id: snapshot.id) }
            let keys = try await key.keys(of: snapshot.nodeID, origin)
            let restore = SnapshotRestore(
                source: origin.source, keys: keys.keys, verifyingKey: keys.verifyingKey, lanes: Surroundings.cores,
                random: Surroundings.random)
            let target = folder.appending(path: snapshot.id + ".db").path(percentEncoded: false)
            do {
                let rebuilt = try await restore.run(snapshotID, to: target, checkIntegrity: true)
                try AnswerCheck(id: id).check(snapshot, rebuilt.publicPart, nodeName: keys.nodeName)
                try FileManager.default.removeItem(atPath: target)
                passed += 1
            } catch let error as RestoreError {
                guard let failing = error.failing else { throw error }
                failed.append(.init(failing))
            }
        }
        return InspectionReport(run: "", passed: passed, total: ids.count, failed: failed)
    }
}

struct VerifyShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show a verification run, and how far it is.")

    @Argument(help: "The run's id.")
    var id: String

    @Flag(help: "Wait until it has finished.")
    var wait = false

    @OptionGroup var admin: AdminOptions

    func run() async throws {
        let coordinator = try admin.coordinator()
        var verification = try await coordinator.verification(id)
        if wait { verification = try await VerificationOutput.finished(verification, coordinator) }
        guard verification.state == "finished" else {
            return try VerificationOutput.showStarted(verification, admin.format)
        }
        let report = InspectionReport(verification)
        try VerificationOutput.show(report, admin.format)
        if let outcome = report.outcome { throw outcome }
    }
}
