import Foundation
package import MusterAPI
import MusterCatalog
package import MusterFormat
package import MusterModel
package import MusterStore

/// Makes a coordinator anew from what the stores hold and the recovery key, after the one before was lost.
///
/// 1. The coordinator's keys are opened: without them nothing is begun.
/// 2. Every store is listed, every receipt checked with the receipt key, and every manifest that one names with its
///    node's key. What fails is reported and left out. A manifest without a receipt is no snapshot.
/// 3. The snapshots are put into a new catalog in the order of their receipts, some hundred at a time.
/// 4. The next epoch is taken in every store, create-only. From here on another coordinator of this fleet only reads,
///    as soon as it sees that: this is waited for (`Succession.takeover`).
/// 5. Every store is listed once more. Where the one before still acknowledged or deleted anything, or a node put a
///    pack into a store by itself, all of it is begun again after a while with what is there then.
/// 6. The directory gets its name. Before this nothing stands there, so a rebuild that was cut off is simply begun again.
///
/// Nothing in a store is changed but for the epoch's record. Memory is bounded: what the stores hold is listed into a
/// file (`RebuildListing`).
package struct Rebuild: Sendable {
    package enum Progress: Sendable {
        case listing(store: String, objects: Int)
        case receipts(done: Int, of: Int)
        case snapshots(done: Int, of: Int)
        case packs(done: Int)
        case waiting(Duration)
    }

    /// What was put back, and what was not.
    package struct Outcome: Sendable {
        package let admin: AdminContext
        package let epoch: UInt64
        package let nodes: Int
        package let databases: Int
        package let snapshots: Int
        package let packs: Int
        /// Manifests that no receipt names: commits that were never acknowledged.
        package let unacknowledged: Int
        /// Copies of packs that no snapshot needs, or beside which a store has another one, and their bytes. They stay.
        package let unreferencedPacks: Int
        package let unreferencedBytes: Int64
        package let policies: Int
        package let holds: Int
        /// False where no store has a record of the fleet's state.
        package let hasState: Bool
        /// When the backup of the lost catalog was taken that was used; nil where there was none.
        package let catalogBackup: Timestamp?
        /// Taken from that backup.
        package let verdicts: Int
        /// What of the audit is lost, in words; nil where nothing is.
        package let lostAudit: String?
        /// Stores that the fleet's state names and that do not answer.
        package let unreadStores: [String]
        /// The first thousand of them.
        package let findings: [RebuildFinding]
        package let findingCount: Int
    }

    /// Where the new coordinator listens, where that is another address than before.
    package struct Address: Sendable {
        package var listen: ListenAddress?
        package var adminListen: ListenAddress?
        package var advertise: String?

        package init(listen: ListenAddress? = nil, adminListen: ListenAddress? = nil, advertise: String? = nil) {
            (self.listen, self.adminListen, self.advertise) = (listen, adminListen, advertise)
        }

        /// The settings of before with these in place of theirs.
        func text(changing before: String?) throws(CoordinatorSetupError) -> String {
            var base = CoordinatorSettings()
            if let before { base = try CoordinatorSettings(yaml: before) }
            var settings = CoordinatorSettings(
                listen: listen ?? base.listen,
                adminListen: adminListen ?? (listen == nil ? base.adminListen : nil))
            settings.advertise = advertise ?? base.advertise
            // A dashboard goes along with the listener that it is beside; none stays none.
            let moves = listen != nil && base.dashboardListen != nil
            let replaced = ["listen", "admin_listen", "advertise"] + (moves ? ["dashboard_listen"] : [])
            let kept = (before ?? "").split(separator: "\n").filter { line in
                !line.hasPrefix("#") && !replaced.contains { line.hasPrefix($0 + ":") }
            }
            return settings.yaml() + kept.map { $0 + "\n" }.joined()
        }
    }

    /// The first round may meet a coordinator that still works, the second finds what it left. A node may put packs into
    /// a store by itself for as long as an address that it was given lasts (`SignedUploads`): the pauses between so many
    /// rounds are longer than that.
    private static let mostRounds = 6

    private static func rest(after round: Int) -> Duration { Succession.takeover * (1 << round) }

    private let directory: CoordinatorDirectory
    private let address: Address
    private let given: [String]
    private let storeAccess: S3Access?
    private let recoveryKey: RecoveryKey
    private let patience: Duration
    private let clock: any WallClock
    private let random: RandomSource
    private let pause: @Sendable (Duration) async throws -> Void
    private let progress: @Sendable (Progress) -> Void

    /// - Parameter stores: a folder, a URL, or `NAME=` before one.
    /// - Parameter storeAccess: for those of them that are at S3 servers.
    /// - Parameter patience: how long a node that keeps a store may take to answer at all.
    /// - Parameter pause: lets that much real time go by.
    package init(
        directory: CoordinatorDirectory, address: Address, stores: [String], storeAccess: S3Access? = nil,
        recoveryKey: RecoveryKey, patience: Duration = .seconds(5), clock: some WallClock, random: RandomSource,
        pause: @escaping @Sendable (Duration) async throws -> Void,
        progress: @escaping @Sendable (Progress) -> Void = { _ in }
    ) {
        (self.directory, self.address) = (directory, address)
        (given, self.storeAccess) = (stores, storeAccess)
        (self.recoveryKey, self.patience, self.clock) = (recoveryKey, patience, clock)
        (self.random, self.pause, self.progress) = (random, pause, progress)
    }

    package func run() async throws -> Outcome {
        try directory.requireEmpty()
        var findings = RebuildFindings()
        var given = RebuildStores(random: random)
        try await given.openGiven(self.given) { address in
            guard let storeAccess else { throw CoordinatorSetupError.noCredentials(url: address.description) }
            return S3StoreAccess.setup(storeAccess, spool: nil, random: random, clock: clock, patience: patience)
        }
        let keys = try await CoordinatorKeys.find(in: given.open, with: recoveryKey, &findings)
        var claimed: (epoch: UInt64, stores: [StoreID?])?
        for round in 0..<Self.mostRounds {
            if round > 0 {
                let rest = Self.rest(after: round - 1)
                progress(.waiting(rest))
                try await pause(rest)
            }
            let attempt = try await restore(given, keys, findings)
            let open = attempt.stores.open
            if claimed == nil || claimed?.stores != open.map(\.identity) {
                let epoch = try await EpochRecord(
                    receiptKey: keys.receiptKey, recoveryKeys: keys.recoveryKeys, random: random
                ).claim(in: open.map(\.store), at: clock.now())
                claimed = (epoch, open.map(\.identity))
                progress(.waiting(Succession.takeover))
                try await pause(Succession.takeover)
            }
            if let claimed, try await isUnchanged(attempt, keys) {
                return try await finish(attempt, keys, claimed.epoch)
            }
            try await attempt.catalog.close()
        }
        throw RebuildError.restless
    }

    /// What was put together from the stores, in a directory that has not its name yet.
    private struct Attempt {
        let stores: RebuildStores
        let unfinished: UnfinishedDirectory
        let catalog: Catalog
        let history: History
        let retention: Catalog.RestoredRetention
        let backup: (takenAt: Timestamp, recovered: Catalog.Recovered)?
        /// Of the key records that were there before they were read.
        let nodes: ListingMark
        let findings: RebuildFindings
    }

    private func restore(
        _ given: RebuildStores, _ keys: CoordinatorKeys, _ findings: RebuildFindings
    ) async throws -> Attempt {
        var (stores, findings) = (given, findings)
        let unfinished = try UnfinishedDirectory(for: directory)
        let now = clock.now()
        try keys.write(to: unfinished.directory)
        let reach = StoreReach(
            random: random,
            nodes: try NodeStoreAccess(
                authority: keys.authority, directory: unfinished.directory, random: random, now: now,
                patience: patience),
            s3: try S3StoreAccess(
                directory: unfinished.directory, random: random, clock: clock, patience: patience))
        try await stores.openNamed(keys, recoveryKey, reach, storeAccess, &findings)

        try PrivateFile.write([], to: unfinished.directory.catalog)
        let catalog = try Catalog(path: unfinished.directory.catalog, names: .stored) { Coordinator.hash($0) }
        try await catalog.set(PinnedSetting.recoveryKeys, to: keys.recoveryKeys.flatMap(\.bytes))
        let nodes = try await ListingMark.of([.nodes], in: stores.open)
        let records = try await RebuiltNodes.read(stores.open, &findings)
        let signers = try await FleetRestoring(catalog: catalog, stores: stores, records: records, now: now)
            .run(&findings)
        let history = try await restoreHistory(stores, keys, signers, catalog, unfinished, &findings)
        let retention = try await restoreRetention(stores.state, catalog, &findings)
        try await catalog.awaitSchedules()
        let backup = try await recoverCatalog(stores, keys, catalog, unfinished, &findings)
        // An hour's backup does not have the youngest of them.
        try await catalog.restore((stores.state?.alarms ?? []).compactMap(\.entry))
        // What the backup says was given up is no loss.
        for torn in try await catalog.torn(limit: RebuildFindings.named) {
            findings.add(
                "snapshot \(torn.snapshot)", in: "",
                "\(torn.packs) of its packs are in no store that was read: it was given up before, or they are lost")
        }
        return Attempt(
            stores: stores, unfinished: unfinished, catalog: catalog, history: history, retention: retention,
            backup: backup, nodes: nodes, findings: findings)
    }

    /// Whether the stores still hold what the attempt was made from, and nothing else.
    private func isUnchanged(_ attempt: Attempt, _ keys: CoordinatorKeys) async throws -> Bool {
        let open = attempt.stores.open
        guard try await ListingMark.of([.nodes], in: open) == attempt.nodes,
            try await ListingMark.of(StoreScan.prefixes, in: open) == attempt.history.mark
        else { return false }
        var ignored = RebuildFindings()
        return try await attempt.stores.newestState(keys, recoveryKey, &ignored) == attempt.stores.state
    }

    private func finish(_ attempt: Attempt, _ keys: CoordinatorKeys, _ epoch: UInt64) async throws -> Outcome {
        let (stores, history, catalog) = (attempt.stores, attempt.history, attempt.catalog)
        var findings = attempt.findings
        let lostAudit = try await lostAudit(stores.state, catalog, &findings)
        let admin = try await conclude(
            catalog, keys, epoch, stores, lostAudit, in: attempt.unfinished, now: clock.now())
        let totals = try await catalog.totals()
        try await catalog.close()
        try attempt.unfinished.takeName()
        return Outcome(
            admin: admin, epoch: epoch, nodes: totals.nodes, databases: totals.databases,
            snapshots: history.snapshots, packs: history.packs, unacknowledged: history.unacknowledged,
            unreferencedPacks: history.unreferenced.copies, unreferencedBytes: history.unreferenced.bytes,
            policies: attempt.retention.policies, holds: attempt.retention.holds, hasState: stores.state != nil,
            catalogBackup: attempt.backup?.takenAt, verdicts: attempt.backup?.recovered.verdicts ?? 0,
            lostAudit: lostAudit?.text, unreadStores: stores.planned.filter { $0.store == nil }.map(\.name),
            findings: findings.list, findingCount: findings.count)
    }

    private struct History {
        let snapshots: Int
        let packs: Int
        let unacknowledged: Int
        let unreferenced: RebuildListing.Unreferenced
        let mark: ListingMark
    }

    private func restoreHistory(
        _ stores: RebuildStores, _ keys: CoordinatorKeys, _ signers: [NodeID: VerifyingKey], _ catalog: Catalog,
        _ unfinished: UnfinishedDirectory, _ findings: inout RebuildFindings
    ) async throws -> History {
        let listing = try RebuildListing(path: unfinished.listing)
        var mark = ListingMark()
        for entry in stores.open {
            try await StoreScan(entry: entry, listing: listing, progress: progress).run(&mark)
        }
        let snapshots = try await HistoryRebuild(
            stores: stores.open, listing: listing, catalog: catalog, receiptKey: keys.receiptKey.verifyingKey,
            nodes: signers, progress: progress
        ).run(&findings)
        let packs = try await ChunkRebuild(
            stores: stores.open, listing: listing, catalog: catalog, progress: progress
        ).run(&findings)
        let (counts, unreferenced) = (try await listing.counts(), try await listing.unreferenced())
        try listing.close()
        return History(
            snapshots: snapshots, packs: packs, unacknowledged: max(0, counts.manifests - counts.receipts),
            unreferenced: unreferenced, mark: mark)
    }

    private func restoreRetention(
        _ state: FleetState?, _ catalog: Catalog, _ findings: inout RebuildFindings
    ) async throws -> Catalog.RestoredRetention {
        guard let state else {
            findings.add(
                "coordinator/state", in: "",
                "no store has a record of the fleet's state: holds, policies "
                    + "and revocations of before are not known")
            return Catalog.RestoredRetention()
        }
        let restored: Catalog.RestoredRetention
        do {
            restored = try await catalog.restoreRetention(from: Array(state.retention.utf8))
        } catch {
            guard !error.isTransient else { throw error }
            findings.add("coordinator/state", in: "", "its policies and holds cannot be read: \(error.summary)")
            return Catalog.RestoredRetention()
        }
        for fleet in state.fleetSnapshots ?? [] { try await catalog.restore(fleet.entry, now: clock.now()) }
        for snapshot in restored.unknownSnapshots {
            findings.add("snapshot \(snapshot)", in: "", "it is held, and no store has it")
        }
        return restored
    }

    /// After the holds: what is held is not marked.
    private func recoverCatalog(
        _ stores: RebuildStores, _ keys: CoordinatorKeys, _ catalog: Catalog, _ unfinished: UnfinishedDirectory,
        _ findings: inout RebuildFindings
    ) async throws -> (takenAt: Timestamp, recovered: Catalog.Recovered)? {
        guard let text = stores.state?.catalogScope, let bytes = Hex.decode(text),
            let scope = CatalogScope(bytes: bytes)
        else { return nil }
        try await scope.keep(in: catalog)
        return try await CatalogRecovery(
            stores: stores.open, receiptKey: keys.receiptKey.verifyingKey, random: random,
            path: unfinished.directory.catalogCopy
        ).run(scope, into: catalog, &findings)
    }

    /// What of the audit is lost: the state says how far it went.
    private func lostAudit(
        _ state: FleetState?, _ catalog: Catalog, _ findings: inout RebuildFindings
    ) async throws -> LostAudit? {
        guard let before = state?.audit, before.row > 0 else { return nil }
        let check = try await catalog.checkAudit(row: before.row)
        guard check.rowHash.map({ Hex.encode($0) }) != before.hash else { return nil }
        let lost = LostAudit(recovered: check.rows, head: before)
        // What came after the newest backup is gone in any rebuild; what is there and differs was changed.
        if lost.recovered >= before.row { findings.add("audit", in: "", lost.text) }
        return lost
    }

    /// What is left to be written once the catalog is whole; the settings come last, as with `init`.
    private func conclude(
        _ catalog: Catalog, _ keys: CoordinatorKeys, _ epoch: UInt64, _ stores: RebuildStores,
        _ lostAudit: LostAudit?, in unfinished: UnfinishedDirectory, now: Timestamp
    ) async throws -> AdminContext {
        let settingsText = try address.text(changing: stores.state?.settings)
        let settings = try CoordinatorSettings(yaml: settingsText)
        try await UnreadStores(of: stores).keep(in: catalog)
        try await catalog.set(PinnedSetting.epoch, to: Array("\(epoch)".utf8))
        try await catalog.set(PinnedSetting.rebuiltAt, to: Array("\(now.microseconds)".utf8))
        // Neither marks nor deletes anything before a whole period is over.
        for setting in [Coordinator.lastApplied, Coordinator.lastCollected] {
            try await catalog.set(setting, to: Array(now.description.utf8))
        }
        // Every snapshot is looked at once for where it should be.
        try await catalog.set(Coordinator.placementWalk, to: Array("0".utf8))
        let admin = try await AdminIssue(authority: keys.authority, settings: settings, random: random).make(
            catalog, now: now)
        let subject = "epoch \(epoch)" + (lostAudit.map { ", \($0.text)" } ?? "")
        let row = Catalog.AuditRow(actor: "rebuild", action: "rebuild", subject: subject, at: now)
        if let lostAudit {
            try await catalog.set(
                PinnedSetting.lostAudit, to: Array(try JSONEncoder().encode(lostAudit)), audit: row)
        } else {
            try await catalog.audit(row)
        }
        _ = try ServerIdentity.current(
            in: unfinished.directory, settings: settings, authority: keys.authority, random: random, now: now)
        try PrivateFile.write(settingsText, to: unfinished.directory.settings)
        return admin
    }
}

extension CoordinatorKeys {
    func write(to directory: CoordinatorDirectory) throws {
        try PrivateFile.write(authority.keyPEM, to: directory.authorityKey)
        try PrivateFile.write(try authority.certificatePEM, to: directory.authority)
        try PrivateFile.write(Hex.encode(receiptKey.privateBytes) + "\n", to: directory.receiptKey)
    }
}

/// Rows of the audit that were there before a rebuild and are not in what it recovered.
struct LostAudit: Codable, Hashable, Sendable {
    /// The last row that is there, from a backup of the catalog.
    let recovered: Int64
    /// The last row that was.
    let head: Catalog.AuditHead

    /// The first that is gone, or not what it was.
    var first: Int64 { min(recovered, head.row - 1) + 1 }
    var text: String {
        recovered < head.row
            ? "rows \(first) to \(head.row) of the audit are lost" : "row \(head.row) of the audit is not what it was"
    }
}
