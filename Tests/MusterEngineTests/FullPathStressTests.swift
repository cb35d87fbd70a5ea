import Foundation
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
        var settings = StressRig.Settings()
        (settings.pageSize, settings.journalMode) = (run.pageSize, run.journalMode)
        (settings.seed, settings.autoVacuum) = (Self.seed, Self.seed % 3)
        settings.rows = run.pageSize == 512 ? 1000 : 3000
        print("whole path: \(run.testDescription), seed \(settings.seed)")
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
                let reference = Captured()
                let id = try await Self.snapshot(rig.path, fleet, reference)
                let target = folder.path("restored.db")
                try await fleet.restore(id, to: target)
                let restored = try [UInt8](Data(contentsOf: URL(filePath: target)))
                #expect(restored == reference.get(), "snapshot \(capture), seed \(settings.seed)")
                let sequence = try Invariant.check(try DatabaseImage(path: target))
                #expect(sequence >= committed && sequence >= previous, "snapshot \(capture), seed \(settings.seed)")
                previous = sequence
                try FileManager.default.removeItem(atPath: target)
                try rig.awaitCommits(Int64(capture % 7))
            }
        }
        let counts = try rig.counts()
        print("whole path: \(run.testDescription), seed \(settings.seed): \(count) snapshots, \(counts)")
        #expect(counts.commits > 0 && counts.checkpoints > 0)
        rig.stop()
    }

    /// A transient refusal is tried again, as the agent does.
    private static func snapshot(
        _ path: String, _ fleet: StoreFleet, _ reference: Captured
    ) async throws -> SnapshotID {
        for _ in 0..<20 {
            do {
                return try await fleet.snapshot(path) { reference.set(try $0.referenceImage()) }.id
            } catch let error as CaptureError where error.isTransient {
                print("whole path: tried again: \(error.summary)")
            }
        }
        throw BrokenInvariant(reason: "no snapshot in 20 tries")
    }
}
