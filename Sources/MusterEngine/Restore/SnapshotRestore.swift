package import MusterFormat
package import MusterModel
import MusterSQLite
import Synchronization

/// Rebuilds a snapshot into a file, checking everything before the file has its name.
///
/// Manifest signature ▶ sealed part ▶ for each group: map chunk, extents (id, seal, hash) ▶ content root ▶
/// fsync ▶ `integrity_check` ▶ name. What fails on the way leaves no file.
package struct SnapshotRestore: Sendable {
    private static let mostGroupsUnderWay = 8

    private let source: any SnapshotSource
    private let keys: [ScopeKeys]
    private let verifyingKey: VerifyingKey
    private let lanes: Int
    private let random: RandomSource

    /// - Parameters:
    ///   - keys: of the node's scope, one for each key epoch.
    ///   - verifyingKey: the node's; it must have signed the manifest.
    ///   - lanes: cores that check, open and write.
    package init(
        source: any SnapshotSource, keys: [ScopeKeys], verifyingKey: VerifyingKey, lanes: Int, random: RandomSource
    ) {
        (self.source, self.keys, self.verifyingKey) = (source, keys, verifyingKey)
        (self.lanes, self.random) = (max(1, lanes), random)
    }

    /// What a restore would do; nothing is written and no pack is read.
    package func plan(_ snapshot: SnapshotID) async throws -> RestorePlan {
        let bytes: [UInt8]
        do {
            bytes = try await source.manifest(of: snapshot)
        } catch let error as ObjectUnavailable {
            throw damagedManifest(snapshot, error.reason)
        }
        do {
            let manifest = try Manifest.parse(bytes).verified(by: verifyingKey)
            let part = manifest.publicPart
            guard part.snapshot == snapshot else {
                throw damagedManifest(snapshot, "it is the manifest of snapshot \(part.snapshot)")
            }
            guard part.isFull else { throw RestoreError.tooNew(snapshot: snapshot, what: "a delta manifest") }
            guard let key = keys.first(where: { $0.epoch == part.keyEpoch && $0.scope == part.scope }) else {
                throw RestoreError.noKey(snapshot: snapshot, keyEpoch: part.keyEpoch)
            }
            return RestorePlan(publicPart: part, sealedPart: try manifest.openSealedPart(with: key))
        } catch let error as FormatError {
            throw damagedManifest(snapshot, error.summary)
        }
    }

    /// Restores into a new file at `target`.
    ///
    /// - Parameters:
    ///   - checkIntegrity: also run `integrity_check` on the rebuilt database.
    ///   - onProgress: sealed bytes read so far, of those that the snapshot needs.
    /// - Throws: `RestoreError`; there is no file then.
    package func run(
        _ snapshot: SnapshotID, to target: String, checkIntegrity: Bool,
        onProgress: @escaping @Sendable (_ readBytes: UInt64, _ ofBytes: UInt64) -> Void = { _, _ in }
    ) async throws -> RestorePlan {
        let plan = try await plan(snapshot)
        let file = try RestoredFile(target: target, random: random)
        let pool = BlockingPool(label: "muster-restore", width: lanes)
        do {
            try await assemble(plan, into: file, pool, onProgress)
            try await pool.run { try file.sync() }
            if checkIntegrity { try await inspect(file, plan, pool) }
            try await pool.run { try file.publish() }
        } catch {
            file.discard()
            throw error
        }
        return plan
    }

    private func assemble(
        _ plan: RestorePlan, into file: RestoredFile, _ pool: BlockingPool,
        _ onProgress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) async throws {
        let total = plan.publicPart.storedBytes
        let read = ByteMeter()
        let assembler = GroupAssembler(
            snapshot: plan.publicPart.snapshot, source: source, decoder: MapDecoder(plan.publicPart),
            geometry: plan.publicPart.geometry, lanes: OpeningLanes(keys: keys, snapshot: plan.publicPart.snapshot),
            pool: pool, file: file
        ) { bytes in
            onProgress(read.add(bytes), total)
        }
        guard case .groups(let groups) = plan.sealedPart.map else {
            throw RestoreError.tooNew(snapshot: plan.publicPart.snapshot, what: "a delta map")
        }
        var hashes: [GroupHash?] = Array(repeating: nil, count: groups.count)
        try await withThrowingTaskGroup(of: (Int, GroupHash).self) { tasks in
            // Twice the lanes: while half of them compute, the others wait for the network. Each may hold 4 MiB.
            let underWay = min(lanes * 2, Self.mostGroupsUnderWay)
            for (started, reference) in groups.enumerated() {
                if started >= underWay, let (index, hash) = try await tasks.next() { hashes[index] = hash }
                tasks.addTask { (reference.index, try await assembler.run(reference)) }
            }
            for try await (index, hash) in tasks { hashes[index] = hash }
        }
        var hasher = TreeHasher()
        let root = hasher.contentRoot(of: hashes.compactMap { $0 }, in: plan.publicPart.geometry)
        guard root == plan.publicPart.contentRoot else {
            throw damagedManifest(plan.publicPart.snapshot, "the rebuilt pages hash to another content root")
        }
    }

    private func inspect(_ file: RestoredFile, _ plan: RestorePlan, _ pool: BlockingPool) async throws {
        // SQLite takes a file of no bytes for an empty database; there is nothing to open.
        guard plan.publicPart.geometry.pageCount > 0 else { return }
        let problems = try await pool.run {
            do {
                return try DatabaseImage(path: file.partial).integrityCheck()
            } catch let error as SQLiteError where error.isAboutTheFile {
                return [error.summary]
            }
        }
        guard problems.isEmpty else {
            throw RestoreError.unsound(
                snapshot: plan.publicPart.snapshot, store: source.name, problems: problems)
        }
    }

    private func damagedManifest(_ snapshot: SnapshotID, _ reason: String) -> RestoreError {
        .damaged(snapshot: snapshot, store: source.name, object: "manifest of snapshot \(snapshot)", reason: reason)
    }
}

extension SQLiteError {
    /// SQLITE_CORRUPT and SQLITE_NOTADB speak of the database; what else goes wrong speaks of this machine.
    fileprivate var isAboutTheFile: Bool { [11, 26].contains(code & 0xff) }
}

private final class ByteMeter: Sendable {
    private let sum = Atomic<UInt64>(0)

    func add(_ bytes: UInt64) -> UInt64 { sum.wrappingAdd(bytes, ordering: .relaxed).newValue }
}

/// What a restore needs, read from the manifest alone.
package struct RestorePlan: Sendable {
    package let publicPart: ManifestPublicPart
    package let sealedPart: ManifestSealedPart

    package var packs: Set<PackID> { publicPart.packs.added }
}
