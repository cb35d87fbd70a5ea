import Foundation
import MusterAgent
import MusterEngine
import MusterModel
import MusterSQLite
import MusterStore
import MusterTestSupport
import StressRig
import Testing

/// The acceptance stress: capture, seal, pack, store, restore, while writers, a checkpointer and VACUUM are at work.
///
/// The short form takes 60 snapshots; `MUSTER_STRESS_CAPTURES=500` and `MUSTER_STRESS_SEED=n` ask for more or others.
@Suite("The whole path under stress", .serialized)
struct FullPathStressTests {
    static let captures = environmentNumber("MUSTER_STRESS_CAPTURES", default: 60)
    static let seed = environmentNumber("MUSTER_STRESS_SEED", default: Int.random(in: 1...1_000_000))

    struct Run: CustomTestStringConvertible, Sendable {
        let pageSize: Int
        let journalMode: String
        /// Of the captures, this part.
        let share: Int
        var testDescription: String { "\(journalMode), pages of \(pageSize)" }
    }

    static let runs = [
        Run(pageSize: 512, journalMode: "wal", share: 4), Run(pageSize: 4096, journalMode: "wal", share: 4),
        Run(pageSize: 65_536, journalMode: "wal", share: 4), Run(pageSize: 4096, journalMode: "delete", share: 4),
    ]

    @Test("every restored snapshot equals its read transaction, page for page", arguments: runs)
    func everyRestoredSnapshotEqualsItsReadTransaction(run: Run) async throws {
        try await Self.check(run, "pinned") { fleet, path in
            let reference = Captured()
            let id = try await Self.retried {
                try await fleet.snapshot(path) { reference.set(try $0.referenceImage()) }.id
            }
            return (id, reference.get())
        }
    }

    @Test(
        "so does every snapshot of a lineage that is followed",
        arguments: runs.filter { $0.journalMode == "wal" })
    func everyFollowedSnapshotEqualsItsReadTransaction(run: Run) async throws {
        var lineage: FollowedLineage?
        try await Self.check(run, "followed") { fleet, path in
            if lineage?.rig.fleet !== fleet { lineage = try FollowedLineage(fleet, path, Self.seed) }
            guard let lineage else { preconditionFailure("made above") }
            return try await Self.retried { try await lineage.take() }
        }
        lineage?.follower?.detach(leavingAsLast: false)
    }

    private typealias Take = (StoreFleet, String) async throws -> (SnapshotID, [UInt8]?)

    private static func check(_ run: Run, _ name: String, _ take: Take) async throws {
        var settings = StressRig.Settings()
        (settings.pageSize, settings.journalMode) = (run.pageSize, run.journalMode)
        (settings.seed, settings.autoVacuum) = (Self.seed, Self.seed % 3)
        settings.rows = run.pageSize == 512 ? 1000 : 3000
        print("whole path, \(name): \(run.testDescription), seed \(settings.seed)")
        let folder = try TemporaryFolder()
        let rig = try StressRig(folder: folder.url, settings: settings)
        try rig.awaitCommits(50)

        var previous: Int64 = 0
        let count = max(1, Self.captures / run.share)
        // A store for each stretch of snapshots, so that the disk a long run needs stays small.
        for first in stride(from: 0, to: count, by: 25) {
            let fleet = StoreFleet(store: MemoryStore(name: "memory", capacityBytes: 2 << 30), seed: UInt64(first + 1))
            for capture in first..<min(first + 25, count) {
                let committed = try rig.committedSequence()
                let (id, reference) = try await take(fleet, rig.path)
                let target = folder.path("restored.db")
                try await fleet.restore(id, to: target)
                let restored = try [UInt8](Data(contentsOf: URL(filePath: target)))
                #expect(restored == reference, "snapshot \(capture), seed \(settings.seed)")
                let sequence = try Invariant.check(try DatabaseImage(path: target))
                #expect(sequence >= committed && sequence >= previous, "snapshot \(capture), seed \(settings.seed)")
                previous = sequence
                try FileManager.default.removeItem(atPath: target)
                try rig.awaitCommits(Int64(capture % 7))
            }
        }
        let counts = try rig.counts()
        print("whole path, \(name): \(run.testDescription), seed \(settings.seed): \(count) snapshots, \(counts)")
        #expect(counts.commits > 0 && counts.checkpoints > 0)
        rig.stop()
    }

    /// A transient refusal is tried again, as the agent does.
    private static func retried<Success>(_ body: () async throws -> Success) async throws -> Success {
        for _ in 0..<20 {
            do {
                return try await body()
            } catch let error as CaptureError where error.isTransient {
                print("whole path: tried again: \(error.summary)")
            }
        }
        throw BrokenInvariant(reason: "no snapshot in 20 tries")
    }
}

/// A lineage with its follower, which comes and goes as at an agent's restarts.
private final class FollowedLineage {
    let rig: LineageRig
    private(set) var follower: Follower?
    private var isProven = false
    private var random: SeededGenerator

    init(_ fleet: StoreFleet, _ path: String, _ seed: Int) throws {
        rig = try LineageRig(fleet, path: path)
        random = SeededGenerator(seed: UInt64(seed))
    }

    func take() async throws -> (SnapshotID, [UInt8]?) {
        if follower?.status.isBroken == true || Int.random(in: 0..<5, using: &random) == 0 { end() }
        let follower = try follower ?? begin()
        let reference = Captured()
        // Now and then the agent dies before the receipt: what was collected is lost with it.
        let loses = Int.random(in: 0..<7, using: &random) == 0
        let taken = try await rig.take(.followed(follower, isProven: isProven), loses: loses) {
            reference.set(try $0.referenceImage())
        }
        isProven = !loses
        guard let taken else { throw BrokenInvariant(reason: "a snapshot that was asked for was not made") }
        return (taken.id, reference.get())
    }

    private func begin() throws -> Follower {
        let stored = try rig.state.head(of: rig.database) == nil ? nil : rig.state.ledger(of: rig.database)
        let isOfHead = try stored?.manifestHash == rig.state.head(of: rig.database)?.manifestHash
        let cursor = isOfHead ? stored?.cursor.flatMap { FollowCursor(bytes: $0) } : nil
        let follower = try Follower.attach(path: rig.path, after: cursor, elapsed: steadyTime)
        isProven = follower.isContinuous && cursor != nil
        self.follower = follower
        return follower
    }

    /// As a kill does: the newest cursor is the one in the ledger.
    private func end() {
        follower?.detach(leavingAsLast: false)
        follower = nil
    }
}
