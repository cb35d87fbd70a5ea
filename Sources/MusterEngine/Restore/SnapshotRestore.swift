package import MusterFormat
package import MusterModel
import MusterSQLite
import Synchronization

/// Rebuilds a snapshot into a file, checking everything before the file has its name.
///
/// Manifests of the base chain (signature, hash, sealed part) ▶ for each group: map chunks, extents with what other
/// chunks say of their pages (id, seal, hash) ▶ content root ▶
/// fsync ▶ `integrity_check` ▶ name. What fails on the way leaves no file.
package struct SnapshotRestore: Sendable {
    private static let mostGroupsUnderWay = 8
    private static let secondsForGigabyte = 300.0
    /// `integrity_check` holds a row, what is checked of it and what an index has of it, and each may be nearly all there is.
    private static let heapForByte: UInt64 = 4
    private static let mostHeapBytes: UInt64 = 4 << 30

    private let source: any SnapshotSource
    private let keys: [ScopeKeys]
    private let verifyingKey: VerifyingKey
    private let lanes: Int
    private let random: RandomSource
    private let inspector: (any RebuiltInspector)?
    /// What was refused while another replica served, of all that was read by this value and its copies.
    package let refusals = RefusalBook()

    /// - Parameters:
    ///   - keys: of the node's scope, one for each key epoch.
    ///   - verifyingKey: the node's; it must have signed the manifest.
    ///   - lanes: cores that check, open and write.
    ///   - inspector: asks for `integrity_check`; nil where the database is our own and cannot be hostile: then this
    ///     process does.
    package init(
        source: any SnapshotSource, keys: [ScopeKeys], verifyingKey: VerifyingKey, lanes: Int, random: RandomSource,
        inspector: (any RebuiltInspector)? = nil
    ) {
        (self.source, self.keys, self.verifyingKey) = (source, keys, verifyingKey)
        (self.lanes, self.random, self.inspector) = (max(1, lanes), random, inspector)
    }

    /// What a restore would do; nothing is written and no pack is read.
    package func plan(_ snapshot: SnapshotID) async throws -> RestorePlan {
        try await BaseChain(
            snapshot: snapshot, source: source, keys: keys, verifyingKey: verifyingKey, refusals: refusals
        )
        .plan()
    }

    /// Restores into a new file at `target`.
    ///
    /// - Parameters:
    ///   - checkIntegrity: also run `integrity_check` on the rebuilt database.
    ///   - onProgress: sealed bytes read so far, of those that the snapshot needs.
    /// - Throws: `RestoreError`, or `CancellationError` where the task was cancelled before the file had its name;
    ///   there is no file then.
    package func run(
        _ snapshot: SnapshotID, to target: String, checkIntegrity: Bool,
        onProgress: @escaping @Sendable (_ readBytes: UInt64, _ ofBytes: UInt64) -> Void = { _, _ in }
    ) async throws -> RestorePlan {
        let plan = try await plan(snapshot)
        try await run(plan, to: target, checkIntegrity: checkIntegrity, onProgress: onProgress)
        return plan
    }

    /// Restores what was planned: no manifest is read again, so it is what the caller has looked at.
    package func run(
        _ plan: RestorePlan, to target: String, checkIntegrity: Bool,
        onProgress: @escaping @Sendable (_ readBytes: UInt64, _ ofBytes: UInt64) -> Void = { _, _ in }
    ) async throws {
        let file = try RestoredFile(target: target, random: random)
        let pool = BlockingPool(label: "muster-restore", width: lanes)
        do {
            try await assemble(plan, into: file, pool, onProgress)
            try await pool.run { try file.sync() }
            if checkIntegrity { try await inspect(file, plan, pool) }
            // Neither the sync nor SQLite's look hears that nobody wants the file any more.
            try Task.checkCancellation()
            try await pool.run { try file.publish() }
        } catch {
            file.discard()
            throw error
        }
    }

    /// Where `run` builds the file with the same random source.
    package static func partialFile(for target: String, random: RandomSource) -> String {
        RestoredFile.partial(for: target, random: random)
    }

    private func assemble(
        _ plan: RestorePlan, into file: RestoredFile, _ pool: BlockingPool,
        _ onProgress: @escaping @Sendable (UInt64, UInt64) -> Void
    ) async throws {
        let total = plan.publicPart.storedBytes
        let read = ByteMeter()
        let reader = PackReader(
            snapshot: plan.publicPart.snapshot, source: source, packs: plan.packs,
            lanes: OpeningLanes(keys: keys, snapshot: plan.publicPart.snapshot), pool: pool, refusals: refusals
        ) { bytes in
            onProgress(read.add(bytes), total)
        }
        let geometry = plan.publicPart.geometry
        let assembler = GroupAssembler(
            geometry: geometry, maps: MapReader(plan: plan, reader: reader),
            pageChunks: PageChunks(reader: reader, pageSize: geometry.pageSize), reader: reader, file: file)
        var hashes: [GroupHash?] = Array(repeating: nil, count: geometry.groupCount)
        try await withThrowingTaskGroup(of: (Int, GroupHash).self) { tasks in
            // Twice the lanes: while half of them compute, the others wait for the network. Each may hold 4 MiB
            // sealed and as much of single pages.
            let underWay = min(lanes * 2, Self.mostGroupsUnderWay)
            for group in hashes.indices {
                if group >= underWay, let (index, hash) = try await tasks.next() { hashes[index] = hash }
                tasks.addTask { (group, try await assembler.run(group)) }
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
        let problems: [String]
        if let inspector {
            problems = try await Self.problems(file, plan.publicPart, inspector)
        } else {
            problems = try await pool.run {
                do {
                    return try DatabaseImage(path: file.partial).integrityCheck()
                } catch let error as SQLiteError where error.isAboutTheFile {
                    return [error.summary]
                }
            }
        }
        guard problems.isEmpty else {
            throw RestoreError.unsound(
                snapshot: plan.publicPart.snapshot, store: source.name, problems: problems.map(SnapshotProof.plain))
        }
    }

    /// - Throws: `RestoreError.unchecked` where the database could not be asked to the end: it is not taken for sound, nor
    ///   for damaged, as it is what was captured.
    private static func problems(
        _ file: RestoredFile, _ part: ManifestPublicPart, _ inspector: any RebuiltInspector
    ) async throws -> [String] {
        let byteCount = part.geometry.sizeBytes
        var questions = RebuiltQuestions(isDrill: false)
        // Nobody is kept waiting as by a drill, and a disk may be slow. What a small file may cost stays little.
        questions.seconds += Double(byteCount >> 30) * secondsForGigabyte
        questions.heapBytes += Int64(clamping: min(byteCount, mostHeapBytes / heapForByte) * heapForByte)
        do {
            let answers = try await inspector.answers(to: questions, at: file.partial)
            guard let failure = answers.failure else { return answers.problems }
            if case .damaged = failure { return answers.problems + ["\(failure)"] }
            guard answers.problems.isEmpty else { return answers.problems }
            throw RestoreError.unchecked(snapshot: part.snapshot, reason: "\(failure)")
        } catch let failure as RebuiltInspectionFailure {
            throw RestoreError.unchecked(snapshot: part.snapshot, reason: failure.reason)
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
