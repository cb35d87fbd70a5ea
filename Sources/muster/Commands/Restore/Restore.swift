import ArgumentParser
import Foundation
import MusterAPI
import MusterAgent
import MusterEngine
import MusterFormat
import MusterModel

struct Restore: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Rebuild a database from a snapshot (the default).",
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

            --in-place writes to the path that the node signed and sealed, on that node. What stands there is kept as
            NAME.before-restore, its sidecars too. Stop the application and pause the database first: a file that some
            process has open is refused. With --live the application may go on: under SQLite's own locks the content is
            replaced in one transaction, and every reader sees either the old or the new database.

            --fleet-snapshot restores all members, each as FOLDER/NODE/DATABASE.db: exit status 2 where only n of m
            came back. With --dry-run it says where each of them was, and what is in the way.

            --on NODE lets that node restore it, into a folder that its owner allowed with 'restore_into' in agent.yaml;
            so does --map SOURCE=TARGET,... with a fleet snapshot, to FOLDER/SOURCE/DATABASE.db on each TARGET. A node
            restores its own snapshots with its own key. What opens another node's is sealed to it, for this one
            restore, with the recovery key; its fingerprint is compared first ('muster agent show' prints it there), and
            given with --fingerprint.

            With the recovery key, here or on another node, the signing key of the node whose snapshot it is is held to
            --source-fingerprint, or to what was seen before; of a node that is seen first it is taken with a warning.
            Interrupted, the command leaves the nodes at work: 'muster restore show RUN' tells how far they are.
            """)

    @Argument(help: "Snapshot id, or an unambiguous beginning of 6 digits or more.")
    var id: String?

    @Option(help: "The node, by name or id, where no id is given.")
    var node: String?

    @Option(help: "The database, by name or id, where no id is given.")
    var database: String?

    @Option(help: "The newest snapshot of this time or an earlier one, RFC 3339.")
    var at: String?

    @Option(help: "All members of this fleet snapshot, with the recovery key.")
    var fleetSnapshot: String?

    @Option(help: "The node that restores it, by name or id.")
    var on: String?

    @Option(help: "With --fleet-snapshot: which node restores whose members, as in berlin=hamburg,munich=munich.")
    var map: String?

    @Option(help: "Of a node that restores, as 'muster agent show' prints it there: HEX, of several TARGET=HEX.")
    var fingerprint: [String] = []

    @Option(help: "With --on and --map: how long the nodes may take for it, 10s to 24h; 24h if not given.")
    var within: String?

    @Flag(inversion: .prefixedNo, help: "With --on and --map: wait for the end.")
    var wait = true

    @Option(
        name: .customLong("to"),
        help: "Where to write the database; nothing may stand there. With --fleet-snapshot the folder.")
    var target: String?

    @Flag(help: "Write to where the database was when it was captured, and keep what stands there.")
    var inPlace = false

    @Flag(help: "With --in-place: replace the content of a database that others have open.")
    var live = false

    @Flag(help: "With --in-place: do it. Without, the command says what it would do and exits with 64.")
    var confirm = false

    @Flag(help: "Say what would be done; write nothing.")
    var dryRun = false

    @Flag(inversion: .prefixedNo, help: "Run SQLite's integrity_check on the rebuilt database before it is named.")
    var integrityCheck = true

    @OptionGroup var key: KeyOptions
    @OptionGroup var stores: StoreOptions
    @OptionGroup var admin: AdminOptions

    func validate() throws {
        if on != nil || map != nil {
            try validateOnto()
        } else if !fingerprint.isEmpty || within != nil || !wait {
            throw ValidationError("--fingerprint, --within and --no-wait go with --on and --map")
        } else if fleetSnapshot == nil {
            _ = try key.fingerprint(of: node)
        }
        guard (target != nil) != inPlace else { throw ValidationError("give --to PATH or --in-place") }
        // A path that another machine's node wrote is not for this machine.
        if inPlace, key.agentDir == nil { throw ValidationError("--in-place is for the node itself: give --agent-dir") }
        if live, !inPlace { throw ValidationError("--live goes with --in-place") }
        if confirm, !inPlace { throw ValidationError("--confirm goes with --in-place") }
        if fleetSnapshot != nil {
            guard id == nil, node == nil, database == nil, at == nil, !inPlace, stores.store == nil,
                key.recoveryKey != nil || map != nil
            else {
                throw ValidationError("--fleet-snapshot goes with --to FOLDER and --recovery-key FILE, and names all")
            }
            return
        }
        let byName = node != nil && database != nil
        guard (id != nil) != byName, id == nil || at == nil, byName || (node == nil && database == nil) else {
            throw ValidationError("name one snapshot: an id, or --node and --database with or without --at")
        }
        if let at, Timestamp(at) == nil { throw ValidationError("--at wants a time such as 2026-11-23T10:00:00Z") }
        guard key.isGiven || on != nil else {
            throw ValidationError("give a key: --agent-dir DIR on the node, or --recovery-key FILE")
        }
    }

    func run() async throws {
        if let on { return try await restoreOnto(on) }
        if let fleetSnapshot {
            return map == nil ? try await restoreFleet(fleetSnapshot) : try await restoreMapped(fleetSnapshot)
        }
        if let target { try refuseTarget(Self.absolute(target)) }
        let origin = try await key.origin(stores, admin)
        let snapshot = try await chosen(origin)
        guard let snapshotID = SnapshotID(snapshot.id) else { throw UnreadableSnapshot(id: snapshot.id) }
        let keys = try await key.keys(
            of: snapshot.nodeID, origin, known: KnownNodes(besideContext: admin.contextPath), asked: node,
            fingerprint: try key.fingerprint(of: node))
        let restore = SnapshotRestore(
            source: origin.source, keys: keys.keys, verifyingKey: keys.verifyingKey, lanes: Surroundings.cores,
            random: Surroundings.random, inspector: DrillCheckProcess(monotonic: Surroundings.monotonic))
        let began = Surroundings.monotonic()
        do {
            let plan = try await restore.plan(snapshotID)
            try check.check(snapshot, plan.publicPart, nodeName: keys.nodeName)
            let path = Self.absolute(target ?? plan.sealedPart.sourcePath)
            if dryRun || (inPlace && !confirm) {
                try showPlan(plan, snapshot, path)
                guard inPlace else { return }
                if !live { try refuseOpen(RestoreInPlace(target: path)) }
                guard !dryRun else { return }
                Console.note("nothing was done: give --confirm to do it")
                throw ExitCode(64)
            }
            // A restore in place does it once the file is built.
            if !inPlace { try beginLineage(at: path) }
            let progress = ProgressLine("restoring")
            defer { progress.finish() }
            let (rebuilt, kept) =
                inPlace
                ? try await restoreInPlace(restore, snapshotID, at: path) { progress.update(done: $0, of: $1) }
                : (
                    try await restore.run(snapshotID, to: path, checkIntegrity: integrityCheck) {
                        progress.update(done: $0, of: $1)
                    }, nil
                )
            try AnswerCheck.check(snapshot, rebuilt: rebuilt.publicPart.contentRoot)
            progress.finish()
            try show(
                snapshot, rebuilt.publicPart, at: inPlace ? path : target ?? path, kept: kept,
                seconds: (Surroundings.monotonic() - began).inSeconds)
        } catch let error as RestoreError {
            throw try await explained(error, origin)
        }
    }

    private static func absolute(_ path: String) -> String {
        URL(filePath: path).standardizedFileURL.path(percentEncoded: false)
    }

    var check: AnswerCheck {
        AnswerCheck(id: id, node: node, database: database, until: at.flatMap { Timestamp($0) })
    }

    /// What the restore itself would refuse at its end, before anything is read; also for a dry run.
    private func refuseTarget(_ path: String) throws(RestoreError) {
        guard !Self.isTaken(path) else { throw .targetExists(path: path) }
        let folder = URL(filePath: path).deletingLastPathComponent().path(percentEncoded: false)
        guard access(folder, W_OK | X_OK) == 0 else {
            throw .targetRefused(path: path, reason: String(cString: strerror(errno)))
        }
    }

    /// Also by a link that leads nowhere.
    static func isTaken(_ path: String) -> Bool {
        // What cannot be looked at is refused where it is written.
        (try? FileManager.default.attributesOfItem(atPath: path)) != nil
    }

    func chosen(_ origin: any SnapshotOrigin) async throws -> Muster_V1_Snapshot {
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

    private func showPlan(_ plan: RestorePlan, _ snapshot: Muster_V1_Snapshot, _ path: String) throws {
        let part = plan.publicPart
        let target = target ?? path
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
        /// Where what stood there is now.
        @Known var keptAs: String?
        let seconds: Double
    }

    private func show(
        _ snapshot: Muster_V1_Snapshot, _ rebuilt: ManifestPublicPart, at path: String, kept: String?, seconds: Double
    ) throws {
        let checksum = rebuilt.contentRoot.description
        try admin.format.show(
            Restored(
                run: "", passed: 1, total: 1, failed: [], path: path, checksum: checksum,
                keptAs: Known(wrappedValue: kept), seconds: seconds),
            lines: [
                ("restored", "\(snapshot.database) of \(snapshot.node)"), ("snapshot", snapshot.id),
                ("received", snapshot.receivedAt), ("to", path), ("kept", kept ?? "nothing stood there"),
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
