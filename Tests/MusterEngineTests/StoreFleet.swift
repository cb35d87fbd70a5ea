import Foundation
import MusterAgent
import MusterEngine
import MusterFormat
import MusterModel
import MusterSQLite
import MusterStore
import MusterTestSupport
import Synchronization

/// A node and one store, without a network: packs, manifests and receipts as the coordinator lays them out.
final class StoreFleet: PackSink {
    let store: any Store
    let random: RandomSource
    let node: NodeID
    let signingKey: SigningKey
    let keys: ScopeKeys
    private let receiptKey: SigningKey
    private let known = Mutex<[ChunkID: PresentChunk]>([:])
    private let puts = Mutex<[PackID]>([])
    /// Called while a capture is under way: whenever chunks are asked for or a pack comes.
    let meanwhile = Mutex<@Sendable () -> Void>({})

    init(store: any Store, seed: UInt64) {
        self.store = store
        random = RandomSource.seeded(seed)
        node = NodeID(from: random)
        signingKey = SigningKey(from: random)
        receiptKey = SigningKey(from: random)
        keys = ScopeKeys(secret: ScopeSecret(from: random), scope: ScopeID(from: random), epoch: 1)
    }

    func read(_ pack: PackID, _ range: Range<Int>) async throws -> [UInt8]? {
        let source = try await StoreSource(store)
        return try await source.read(pack, UInt64(range.lowerBound)..<UInt64(range.upperBound))
    }

    var packsPut: [PackID] { puts.withLock { $0 } }

    func present(_ chunks: [ChunkID]) async throws -> [ChunkID: PresentChunk] {
        let notify = meanwhile.withLock { $0 }
        notify()
        return known.withLock { known in
            Dictionary(chunks.compactMap { id in known[id].map { (id, $0) } }, uniquingKeysWith: { first, _ in first })
        }
    }

    func put(_ pack: PackID, bytes: [UInt8], onBytesSent: @escaping @Sendable (Int) -> Void) async throws {
        let notify = meanwhile.withLock { $0 }
        notify()
        try await store.put(.pack(pack, Generation(from: random)), bytes)
        let directory = try PackDirectory.read(of: pack, packByteCount: bytes.count) { Array(bytes[$0]) }
        known.withLock { known in
            for entry in directory.entries {
                known[entry.id] = PresentChunk(
                    pack: pack, offset: UInt32(entry.offset), length: UInt32(entry.byteCount))
            }
        }
        puts.withLock { $0.append(pack) }
    }

    func settings(lanes: Int = 2) -> SealingSettings {
        SealingSettings(keys: keys, signingKey: signingKey, lanes: lanes)
    }

    func request(_ path: String) -> SnapshotRequest {
        SnapshotRequest(
            snapshot: SnapshotID(from: random), node: node, database: DatabaseID(from: random), databaseName: "test",
            path: path, lineage: LineageID(from: random), sequence: 0, parent: nil, parentPacks: [], forkedFrom: nil,
            labels: [:])
    }

    /// No application waits here, and a loaded machine may need longer than one may be kept waiting.
    static let patient: CaptureOptions = {
        var options = CaptureOptions()
        options.maximumRollbackHold = .seconds(600)
        return options
    }()

    /// Takes a snapshot and lays it into the store as a committed one.
    func snapshot(
        _ path: String, settings: SealingSettings? = nil,
        observe: @escaping @Sendable (PinnedCapture) throws -> Void = { _ in }
    ) async throws -> (id: SnapshotID, prepared: PreparedSnapshot) {
        let pipeline = SnapshotPipeline(
            settings: settings ?? self.settings(), options: Self.patient,
            clock: ManualClock(at: Timestamp(microseconds: 0)), monotonic: steadyTime, observe: observe)
        let request = request(path)
        let folder = try TemporaryDirectory()
        let state = try AgentState(path: folder.file("state.db"))
        let known = SnapshotPipeline.Known(ledger: try state.buildLedger(of: request.database), state: nil)
        guard case .prepared(let prepared) = try await pipeline.run(request, .pinned, known, sink: self) else {
            preconditionFailure("a first snapshot is never unchanged")
        }
        try await commit(request, prepared)
        return (request.snapshot, prepared)
    }

    func commit(_ request: SnapshotRequest, _ prepared: PreparedSnapshot) async throws {
        for pack in prepared.inlinePacks { try await put(SHA256Hasher.hash(pack), bytes: pack) { _ in } }
        let place = SnapshotPlace(
            database: request.database, lineage: request.lineage, sequence: request.sequence,
            snapshot: request.snapshot)
        try await commit(try Manifest.parse(prepared.manifest).verified(by: signingKey.verifyingKey), place)
    }

    /// Lays a manifest and its receipt into the store.
    func commit(_ manifest: Manifest, _ place: SnapshotPlace) async throws {
        try await store.put(.manifest(place, Generation(from: random)), manifest.bytes)
        let receipt = Receipt(
            manifest: manifest, receivedAt: Timestamp(microseconds: 1), stores: [store.name], coordinatorEpoch: 1)
        try await store.put(.receipt(place, Generation(from: random)), try receipt.signed(by: receiptKey))
    }

    func restore(
        _ snapshot: SnapshotID, to path: String, from store: (any Store)? = nil, checkIntegrity: Bool = true
    ) async throws {
        let restore = SnapshotRestore(
            source: try await StoreSource(store ?? self.store), keys: [keys], verifyingKey: signingKey.verifyingKey,
            lanes: 2, random: random)
        _ = try await restore.run(snapshot, to: path, checkIntegrity: checkIntegrity)
    }
}

/// A clock for spans; only differences count.
let steadyTime: @Sendable () -> Duration = {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return .seconds(Int64(time.tv_sec)) + .nanoseconds(Int64(time.tv_nsec))
}
