import MusterAgent
import MusterEngine
import MusterFormat
import MusterModel
import MusterSQLite
import MusterTestSupport
import Testing

/// One database whose snapshots follow one another, as the agent takes them; checks what a coordinator would.
final class LineageRig {
    struct Taken {
        let id: SnapshotID
        let manifest: Manifest
        /// Packs that the snapshot needs.
        let packs: Set<PackID>
        let writerWait: WriterWait?
    }

    let fleet: StoreFleet
    let path: String
    let state: AgentState
    let cache: PackCache?
    let database: DatabaseID
    var lineage: LineageID
    private(set) var taken: [Taken] = []
    /// What the pipeline is told to do with a source.
    var options = StoreFleet.patient
    /// Asked often during a capture, from its thread.
    var monotonic = steadyTime
    private let folder: TemporaryDirectory
    var stateFile: String { folder.file("state.db") }

    init(_ fleet: StoreFleet, path: String, cacheBytes: Int = 1 << 30) throws {
        (self.fleet, self.path) = (fleet, path)
        folder = try TemporaryDirectory()
        state = try AgentState(path: folder.file("state.db"))
        cache = try PackCache(folder: folder.file("packs"), quotaBytes: cacheBytes, reserveBytes: 0)
        database = DatabaseID(from: fleet.random)
        lineage = LineageID(from: fleet.random)
    }

    /// - Parameter loses: the agent dies between commit and receipt, so that the ledger stays behind.
    @discardableResult
    func take(
        _ way: CaptureWay = .pinned, skipsUnchanged: Bool = false, loses: Bool = false,
        observe: @escaping @Sendable (PinnedCapture) throws -> Void = { _ in }
    ) async throws -> Taken? {
        let head = try state.head(of: database)
        let stored = head == nil ? nil : try state.ledger(of: database)
        let isOfHead = stored.map { $0.manifestHash == head?.manifestHash } ?? false
        let ledger = try stored?.ledger ?? state.buildLedger(of: database)
        var request = fleet.request(path)
        (request.database, request.lineage) = (database, lineage)
        request.sequence = head.map { $0.sequence + 1 } ?? 0
        request.parent = head.map { Ancestor(snapshot: $0.snapshot, manifestHash: $0.manifestHash) }
        request.parentPacks = isOfHead ? nil : try state.livePacks(of: database)
        request.skipsUnchanged = skipsUnchanged && isOfHead
        var settings = fleet.settings()
        settings.cache = cache
        let pipeline = SnapshotPipeline(
            settings: settings, options: options, clock: ManualClock(at: Timestamp(microseconds: 0)),
            monotonic: monotonic, observe: observe)
        let outcome = try await pipeline.run(
            request, way, .init(ledger: ledger, state: stored?.state), sink: fleet)
        guard case .prepared(let prepared) = outcome else { return nil }
        try await fleet.commit(request, prepared)
        try settle(request, prepared, loses ? nil : (ledger, prepared.ledger))
        let manifest = try Manifest.parse(prepared.manifest).verified(by: fleet.signingKey.verifyingKey)
        try check(manifest, prepared)
        return taken.last
    }

    private func settle(
        _ request: SnapshotRequest, _ prepared: PreparedSnapshot, _ change: (LedgerStore, LedgerChange)?
    ) throws {
        let pending = PendingCommit(
            database: database, lineage: lineage, sequence: request.sequence, snapshot: request.snapshot,
            manifest: prepared.manifest, manifestHash: prepared.manifestHash, inlinePacks: prepared.inlinePacks,
            packs: prepared.packsSinceParent, identity: prepared.identity, fingerprint: prepared.fingerprint,
            capturedAt: prepared.capturedAt)
        try state.keep(pending)
        try state.settle(pending, receipt: [], receivedAt: prepared.capturedAt, change: change)
        try state.sweepLedgers()
    }

    /// What the coordinator holds a manifest to.
    private func check(_ manifest: Manifest, _ prepared: PreparedSnapshot) throws {
        let part = manifest.publicPart
        let before = taken.last?.packs ?? []
        #expect(part.packsSinceParent.dropped.isSubset(of: before))
        #expect(part.packsSinceParent.added.isDisjoint(with: before))
        let live = before.subtracting(part.packsSinceParent.dropped).union(part.packsSinceParent.added)
        if let base = part.base {
            let origin = try #require(taken.first { $0.id == base.snapshot })
            #expect(origin.manifest.hash == base.manifest)
            #expect(part.packs.added == live.subtracting(origin.packs))
            #expect(part.packs.dropped == origin.packs.subtracting(live))
        } else {
            #expect(part.packs.added == live)
        }
        #expect(try state.livePacks(of: database) == live)
        taken.append(
            Taken(id: part.snapshot, manifest: manifest, packs: live, writerWait: prepared.writerWait))
    }
}
