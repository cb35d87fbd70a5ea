import Foundation
import MusterSQLite
import StressRig
import Testing

extension EndToEnd {
    /// `MUSTER_STRESS_SEED=n` asks for one run again, `MUSTER_STRESS_SNAPSHOTS=n` for a longer one.
    @Suite("A database that is written to all the time")
    struct LiveTests {
        @Test func everySnapshotIsOneCommittedStateAndNoneIsOlderThanTheOneBefore() async throws {
            var settings = StressRig.Settings()
            settings.seed = environmentNumber("MUSTER_STRESS_SEED", default: Int.random(in: 1...1_000_000))
            settings.rows = 1000
            let wanted = environmentNumber("MUSTER_STRESS_SNAPSHOTS", default: 15)
            print("end to end, live: seed \(settings.seed)")
            let fleet = try await Fleet()
            let node = try await Node(fleet, "berlin")
            let rig = try StressRig(folder: fleet.folder.url, settings: settings)
            try rig.awaitCommits(50)
            try await node.add(rig.path, name: "stress", every: "1s")
            try node.start()
            _ = try await fleet.awaitSnapshots(wanted, within: .seconds(60 + 4 * wanted))
            let committed = try rig.committedSequence()
            let last = try #require(try await node.snapshot().first)["outcome_snapshot_id"].text
            try await node.stop()
            rig.stop()

            let snapshots = try await fleet.snapshots().reversed()
            #expect(snapshots.map(\.["sequence"].number) == Array(0..<snapshots.count))
            #expect(snapshots.last?["id"].text == last || snapshots.dropLast().last?["id"].text == last)
            var previous: Int64 = 0
            for (index, snapshot) in snapshots.enumerated() {
                let restored = try await fleet.restore(snapshot["id"].text, to: "restored-\(index).db")
                let sequence = try Invariant.check(try DatabaseImage(path: restored))
                #expect(sequence >= previous, "snapshot \(index), seed \(settings.seed)")
                if snapshot["id"].text == last {
                    #expect(
                        sequence >= committed, "commits from before the snapshot are missing, seed \(settings.seed)")
                }
                previous = sequence
                try FileManager.default.removeItem(atPath: restored)
            }
            #expect(previous > 50)
        }
    }
}
