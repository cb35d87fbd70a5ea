import ArgumentParser
import Foundation
import MusterAPI
import MusterCoordinator
import MusterFormat
import MusterModel

struct CoordinatorRebuild: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rebuild", abstract: "Make a lost coordinator anew from its stores and the recovery key.",
        discussion: """
            Reads every receipt and every manifest in the stores, and takes the next epoch in them: the coordinator of
            before, should it come back, only reads from then on. Other stores that the fleet's own record names are
            read too where they answer. What cannot be used is reported and left out (exit status 2). It may be
            stopped and begun again at any time.
            """)

    @Option(help: "The new coordinator's directory; must be empty or not exist.")
    var dir: String

    @Option(
        help: "A store of the fleet: a folder, a file:// or s3:// URL, or NAME= before one; give every store there is.")
    var store: [String]

    @OptionGroup var s3: S3Options

    @Option(help: "The fleet's recovery key.")
    var recoveryKey: String

    @Option(help: "Address of the agent plane, HOST:PORT. Default: that of before.")
    var listen: ListenAddress?

    @Option(help: "Address of the admin plane. Default: that of before, or next to --listen.")
    var adminListen: ListenAddress?

    @Option(help: "The host name that agents and admins are told to use. Default: that of before.")
    var advertise: String?

    @Option(
        help: """
            Where to write the new admin context. Default: $MUSTER_CONTEXT, else the per-user file; where there is one
            already, context.json in the directory.
            """)
    var context: String?

    @Option(help: "How to print what was done: table or json.")
    var format = OutputFormat.table

    func run() async throws {
        let key = try KeyOptions.recoveryKey(in: recoveryKey)
        let reserved = try reservedContext()
        let line = ProgressLine("rebuild")
        let outcome = try await Rebuild(
            directory: CoordinatorDirectory(path: dir),
            address: Rebuild.Address(listen: listen, adminListen: adminListen, advertise: advertise),
            stores: store, storeAccess: try s3.access(), recoveryKey: key, clock: Surroundings.clock,
            random: Surroundings.random, pause: Surroundings.sleep, progress: { line.update($0.text) }
        ).run()
        line.finish()
        // The directory is there only now.
        let (written, path) = try reserved ?? Self.reserve(CoordinatorDirectory(path: dir).path + "/context.json")
        try written.write(outcome.admin)
        try report(outcome, path)
        if outcome.findingCount > 0 { throw ExitCode(2) }
    }
}

extension CoordinatorRebuild {
    /// - Returns: nil where the context of before is in the way: it counts still, and is left alone.
    private func reservedContext() throws -> (ReservedContext, path: String)? {
        let path = context ?? ContextFile.defaultPath
        if context == nil, FileManager.default.fileExists(atPath: path) { return nil }
        return try Self.reserve(path)
    }

    private static func reserve(_ path: String) throws -> (ReservedContext, path: String) {
        (try ReservedContext(path: path), path)
    }

    private struct Report: Encodable {
        struct Finding: Encodable { let store, object, reason: String }

        let epoch: UInt64
        let nodes, databases, snapshots, packs, unacknowledged, policies, holds, findingCount: Int
        let unreferencedPacks: Int
        let unreferencedBytes: Int64
        let hasState: Bool
        let catalogBackup: String?
        let verdicts: Int
        let lostAudit: String?
        let unreadStores: [String]
        let findings: [Finding]
    }

    /// They stay: nothing is deleted on the evidence of a listing.
    private static func leftText(_ outcome: Rebuild.Outcome) -> String {
        let count = outcome.unreferencedPacks
        return count == 0 ? "none" : "\(count) with \(outcome.unreferencedBytes) bytes, which stay"
    }

    private func report(_ outcome: Rebuild.Outcome, _ contextPath: String) throws {
        try format.show(
            Report(
                epoch: outcome.epoch, nodes: outcome.nodes, databases: outcome.databases,
                snapshots: outcome.snapshots, packs: outcome.packs, unacknowledged: outcome.unacknowledged,
                policies: outcome.policies, holds: outcome.holds,
                findingCount: outcome.findingCount, unreferencedPacks: outcome.unreferencedPacks,
                unreferencedBytes: outcome.unreferencedBytes, hasState: outcome.hasState,
                catalogBackup: outcome.catalogBackup?.description, verdicts: outcome.verdicts,
                lostAudit: outcome.lostAudit, unreadStores: outcome.unreadStores,
                findings: outcome.findings.map { .init(store: $0.store, object: $0.object, reason: $0.reason) }),
            lines: [
                ("epoch", "\(outcome.epoch)"), ("nodes", "\(outcome.nodes)"), ("databases", "\(outcome.databases)"),
                ("snapshots", "\(outcome.snapshots)"), ("packs", "\(outcome.packs)"),
                ("policies, holds", "\(outcome.policies), \(outcome.holds)"),
                ("catalog backup of", outcome.catalogBackup?.description ?? "none"),
                ("audit", outcome.lostAudit ?? "whole"),
                ("packs nobody needs", Self.leftText(outcome)),
                ("stores not read", outcome.unreadStores.joined(separator: ", ")),
                ("not usable", "\(outcome.findingCount)"),
            ])
        for finding in outcome.findings.prefix(format == .json ? 0 : 100) {
            Console.note(
                "left out: \(finding.object) \(finding.store.isEmpty ? "" : "in \(finding.store)"): \(finding.reason)")
        }
        Console.note(
            """
            coordinator rebuilt in \(dir)
              admin context  \(contextPath)
            next: muster coordinator run --dir \(dir)
            """)
    }
}

extension Rebuild.Progress {
    fileprivate var text: String {
        switch self {
        case .listing(let store, let objects): "listing \(store): \(objects) objects"
        case .receipts(let done, let total): "receipts: \(done) of \(total)"
        case .snapshots(let done, let total): "snapshots: \(done) of \(total)"
        case .packs(let done): "packs: \(done)"
        case .waiting(let time): "waiting \(time.text) for the coordinator of before to see that it was replaced"
        }
    }
}
