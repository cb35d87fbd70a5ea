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
            newest that holds a state of that time or an earlier one. What answers is held to what was asked, and to
            the manifest that the node signed.

            The time of a state is the end of its capture by the node's clock. A clock that is wrong, or lies, moves
            it by little: it counts as not earlier than the receipt that the database had got before, and not later
            than its own.

            With --store one store and a key are enough: no coordinator is asked.
            """)

    @Argument(help: "Snapshot id, or an unambiguous beginning of 6 digits or more.")
    var id: String?

    @Option(help: "The node, by name or id, where no id is given.")
    var node: String?

    @Option(help: "The database, by name or id, where no id is given.")
    var database: String?

    @Option(help: "The newest snapshot of this time or an earlier one, RFC 3339.")
    var at: String?

    @Option(name: .customLong("to"), help: "Where to write the database; nothing may stand there.")
    var target: String

    @Flag(help: "Say what would be done; write nothing.")
    var dryRun = false

    @Flag(inversion: .prefixedNo, help: "Run SQLite's integrity_check on the rebuilt database before it is named.")
    var integrityCheck = true

    @OptionGroup var key: KeyOptions
    @OptionGroup var stores: StoreOptions
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
        let absolute = URL(filePath: target).standardizedFileURL.path(percentEncoded: false)
        try refuseTarget(absolute)
        let origin = try await key.origin(stores, admin)
        let snapshot = try await chosen(origin)
        guard let snapshotID = SnapshotID(snapshot.id) else { throw UnreadableSnapshot(id: snapshot.id) }
        let keys = try await key.keys(of: snapshot.nodeID, origin)
        let restore = SnapshotRestore(
            source: origin.source, keys: keys.keys, verifyingKey: keys.verifyingKey, lanes: Surroundings.cores,
            random: Surroundings.random)
        let began = Surroundings.monotonic()
        do {
            let plan = try await restore.plan(snapshotID)
            try check.check(snapshot, plan.publicPart, nodeName: keys.nodeName)
            if dryRun { return try showPlan(plan, snapshot) }
            let progress = ProgressLine("restoring")
            defer { progress.finish() }
            let rebuilt = try await restore.run(snapshotID, to: absolute, checkIntegrity: integrityCheck) {
                progress.update(done: $0, of: $1)
            }
            try AnswerCheck.check(snapshot, rebuilt: rebuilt.publicPart.contentRoot)
            progress.finish()
            try show(snapshot, rebuilt.publicPart, seconds: (Surroundings.monotonic() - began).inSeconds)
        } catch let error as RestoreError {
            throw try await explained(error, origin)
        }
    }

    private var check: AnswerCheck {
        AnswerCheck(id: id, node: node, database: database, until: at.flatMap { Timestamp($0) })
    }

    /// What the restore itself would refuse at its end, before anything is read; also for a dry run.
    private func refuseTarget(_ path: String) throws(RestoreError) {
        var status = stat()
        guard lstat(path, &status) != 0 else { throw .targetExists(path: path) }
        let folder = URL(filePath: path).deletingLastPathComponent().path(percentEncoded: false)
        guard access(folder, W_OK | X_OK) == 0 else {
            throw .targetRefused(path: path, reason: String(cString: strerror(errno)))
        }
    }

    private func chosen(_ origin: any SnapshotOrigin) async throws -> Muster_V1_Snapshot {
        if let id { return try await origin.snapshot(id) }
        let (node, database) = (node ?? "", database ?? "")
        guard let newest = try await origin.newest(node: node, database: database, until: check.until) else {
            throw NamedThingMissing(
                summary: "no snapshot of database '\(database)' on node '\(node)' fits",
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
        let path, checksum: String
        let seconds: Double
    }

    private func show(_ snapshot: Muster_V1_Snapshot, _ rebuilt: ManifestPublicPart, seconds: Double) throws {
        let checksum = rebuilt.contentRoot.description
        try admin.format.show(
            Restored(
                run: "", passed: 1, total: 1, failed: [], path: target, checksum: checksum, seconds: seconds),
            lines: [
                ("restored", "\(snapshot.database) of \(snapshot.node)"), ("snapshot", snapshot.id),
                ("received", snapshot.receivedAt), ("to", target),
                ("size", "\(Quantity.bytes(rebuilt.geometry.sizeBytes)) in \(Quantity.seconds(seconds))"),
                ("checksum", checksum + " (as announced)"),
            ])
    }

    /// Reports a damaged object with every snapshot that it hits, then ends the command.
    private func explained(_ error: RestoreError, _ origin: any SnapshotOrigin) async throws -> any Error {
        guard let failing = error.failing else { return error }
        var hit = [failing]
        var isComplete = true
        if case .damaged(_, _, let object, _) = error, object.hasPrefix("pack "),
            let pack = PackID(object.dropFirst("pack ".count))
        {
            let users = await origin.snapshots(needing: pack)
            isComplete = users.isComplete
            hit += users.snapshots.filter { $0 != failing.snapshot }.map { other in
                Failing(
                    snapshot: other, store: failing.store, object: failing.object, reason: "needs the same object")
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
        if !isComplete { Console.note("note: more snapshots may need the same object") }
        return Outcome.failed
    }
}

/// A snapshot was named that no store can hold.
struct UnreadableSnapshot: ActionableError {
    let id: String
    var summary: String { "the answer names '\(id)', which is no snapshot id" }
    var hint: String { "Check that both sides run the same version of Muster." }
    var isTransient: Bool { false }
}
