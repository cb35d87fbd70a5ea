import ArgumentParser
import Foundation
import MusterAPI
import MusterAgent
import MusterEngine
import MusterFormat
import MusterModel

struct Restore: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Rebuild a database from a snapshot.",
        discussion: """
            Every object is checked before the file appears under its name: manifest signature, chunk ids,
            seals, page hashes, content root, then integrity_check. If anything fails there is no file and
            the exit status is 1.

            Name the snapshot by id, or by node and database: then it is the newest, or with --at the
            newest received at or before that time.
            """)

    @Argument(help: "Snapshot id, or an unambiguous beginning of 6 digits or more.")
    var id: String?

    @Option(help: "The node, by name or id, where no id is given.")
    var node: String?

    @Option(help: "The database, by name or id, where no id is given.")
    var database: String?

    @Option(help: "The newest snapshot received at or before this time, RFC 3339.")
    var at: String?

    @Option(name: .customLong("to"), help: "Where to write the database; nothing may stand there.")
    var target: String

    @Flag(help: "Say what would be done; write nothing.")
    var dryRun = false

    @Flag(inversion: .prefixedNo, help: "Run SQLite's integrity_check on the rebuilt database before it is named.")
    var integrityCheck = true

    @OptionGroup var key: KeyOptions
    @OptionGroup var admin: AdminOptions

    func validate() throws {
        let byName = node != nil && database != nil
        guard (id != nil) != byName, id == nil || at == nil, byName || (node == nil && database == nil) else {
            throw ValidationError("name one snapshot: an id, or --node and --database with or without --at")
        }
        if let at, Timestamp(at) == nil { throw ValidationError("--at wants a time such as 2026-11-23T10:00:00Z") }
        guard key.isGiven else {
            throw ValidationError("give a key: --agent-dir DIR on the node, or --recovery-key FILE")
        }
    }

    func run() async throws {
        let coordinator = try key.coordinator(admin)
        let snapshot = try await chosen(coordinator)
        guard let snapshotID = SnapshotID(snapshot.id) else {
            throw CoordinatorError.unreadable(path: "/v1/snapshots", reason: "'\(snapshot.id)' is no snapshot id")
        }
        let keys = try await key.keys(of: snapshot.nodeID, coordinator)
        let restore = SnapshotRestore(
            source: CoordinatorSource(coordinator: coordinator, name: "the coordinator"), keys: keys.keys,
            verifyingKey: keys.verifyingKey, lanes: Surroundings.cores, random: Surroundings.random)
        if dryRun { return try showPlan(try await restore.plan(snapshotID), snapshot) }
        let absolute = URL(filePath: target).standardizedFileURL.path(percentEncoded: false)
        let began = Surroundings.monotonic()
        do {
            let progress = ProgressLine("restoring")
            defer { progress.finish() }
            _ = try await restore.run(snapshotID, to: absolute, checkIntegrity: integrityCheck) {
                progress.update(done: $0, of: $1)
            }
        } catch let error as RestoreError {
            throw try await explained(error, coordinator)
        }
        try show(snapshot, seconds: (Surroundings.monotonic() - began).inSeconds)
    }

    private func chosen(_ coordinator: CoordinatorClient) async throws -> Muster_V1_Snapshot {
        if let id { return try await coordinator.snapshot(id) }
        var filter = SnapshotFilter()
        (filter.node, filter.database, filter.until, filter.limit) = (node ?? "", database ?? "", at ?? "", 1)
        guard let newest = try await coordinator.snapshots(filter).snapshots.first else {
            throw NamedThingMissing(
                summary: "no snapshot of database '\(database ?? "")' on node '\(node ?? "")' fits",
                hint: "Look at what there is with 'muster snapshot list'.")
        }
        return newest
    }

    // MARK: - Results

    private struct Plan: Encodable {
        let snapshot, database, node, target: String
        let sizeBytes, readBytes: UInt64
        let packs: Int
        let checksum: String
    }

    private func showPlan(_ plan: RestorePlan, _ snapshot: Muster_V1_Snapshot) throws {
        let part = plan.publicPart
        try admin.format.show(
            Plan(
                snapshot: snapshot.id, database: snapshot.database, node: snapshot.node, target: target,
                sizeBytes: part.geometry.sizeBytes, readBytes: part.storedBytes, packs: plan.packs.count,
                checksum: part.contentRoot.description),
            lines: [
                ("would restore", snapshot.id), ("of database", "\(snapshot.database) on \(snapshot.node)"),
                ("received", snapshot.receivedAt), ("to", target),
                ("size", Quantity.bytes(part.geometry.sizeBytes)),
                ("reads", "\(Quantity.bytes(part.storedBytes)) from \(plan.packs.count) packs"),
                ("checksum", part.contentRoot.description),
            ])
    }

    private struct Restored: Encodable {
        let run: String
        let passed, total: Int
        let failed: [InspectionReport.Failed]
        let path: String
        let seconds: Double
    }

    private func show(_ snapshot: Muster_V1_Snapshot, seconds: Double) throws {
        try admin.format.show(
            Restored(run: "", passed: 1, total: 1, failed: [], path: target, seconds: seconds),
            lines: [
                ("restored", "\(snapshot.database) of \(snapshot.node)"), ("snapshot", snapshot.id),
                ("received", snapshot.receivedAt), ("to", target),
                ("size", "\(Quantity.bytes(snapshot.sizeBytes)) in \(Quantity.seconds(seconds))"),
                ("checksum", snapshot.checksum + " (equal)"),
            ])
    }

    /// Reports a damaged object with every snapshot that it hits, then ends the command.
    private func explained(_ error: RestoreError, _ coordinator: CoordinatorClient) async throws -> any Error {
        guard let failing = error.failing else { return error }
        var hit = [failing]
        if case .damaged(_, _, let object, _) = error, object.hasPrefix("pack ") {
            var filter = SnapshotFilter()
            filter.pack = String(object.dropFirst("pack ".count))
            // Best effort: the damage is reported even where the coordinator cannot say who else is hit.
            let others = (try? await coordinator.snapshots(filter).snapshots) ?? []
            hit += others.filter { $0.id != failing.snapshot }.map { other in
                Failing(
                    snapshot: other.id, store: failing.store, object: failing.object,
                    reason: "needs the same object")
            }
        }
        let failed = hit.map {
            InspectionReport.Failed(snapshot: $0.snapshot, store: $0.store, object: $0.object, reason: $0.reason)
        }
        if admin.format == .json {
            try admin.format.show(InspectionReport(run: "", passed: 0, total: 1, failed: failed), lines: [])
        }
        Console.error(error)
        for other in hit.dropFirst() { Console.note("also hit: snapshot \(other.snapshot) needs \(other.object)") }
        return Outcome.failed
    }
}
