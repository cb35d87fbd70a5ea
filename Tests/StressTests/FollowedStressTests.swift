import Foundation
import MusterSQLite
import StressRig
import Testing

/// The short form takes some 40 captures; `MUSTER_STRESS_CAPTURES=N` asks for about N, `MUSTER_STRESS_SEED=n` for
/// others, and `MUSTER_STRESS_LOADER` starts the applications, not the follower, by that command (words separated by
/// `|`), so with another version of SQLite.
@Suite("Followed capture under stress", .serialized)
struct FollowedStressTests {
    static let captures = environmentNumber("MUSTER_STRESS_CAPTURES", default: 40)
    static let seed = environmentNumber("MUSTER_STRESS_SEED", default: Int.random(in: 1...1_000_000))
    static let loader = (ProcessInfo.processInfo.environment["MUSTER_STRESS_LOADER"] ?? "")
        .split(separator: "|").map(String.init)

    struct Run: CustomTestStringConvertible, Sendable {
        let name: String
        let share: Int
        let settings: StormSettings
        var testDescription: String { "\(name), pages of \(settings.pageSize)" }

        init(_ name: String, share: Int = 8, pageSize: Int = 4096, _ adjust: (inout StormSettings) -> Void = { _ in }) {
            var settings = StormSettings()
            (settings.pageSize, settings.seed) = (pageSize, FollowedStressTests.seed)
            settings.applicationLoader = FollowedStressTests.loader
            adjust(&settings)
            (self.name, self.share, self.settings) = (name, share, settings)
        }
    }

    static let runs = [
        Run("all together", share: 4),
        Run("no pause") {
            ($0.autoVacuum, $0.kills, $0.writerPauseMicroseconds, $0.checkpointPauseMicroseconds) = (1, 1, 0, 5000)
        },
        Run("long readers", pageSize: 8192) { ($0.autoVacuum, $0.readers) = (2, 2) },
        Run("few checkpoints", pageSize: 1024) {
            ($0.checkpointPauseMicroseconds, $0.vacuumPauseMicroseconds) = (3_000_000, 9_000_000)
        },
        Run("small pages", pageSize: 512) { ($0.autoVacuum, $0.rows) = (2, 1000) },
        Run("large pages", pageSize: 65_536) { $0.rows = 1000 },
        Run("own checkpoints only", pageSize: 32_768) { ($0.autoVacuum, $0.checkpointers, $0.vacuums) = (1, 0, false) },
    ]

    @Test("every image is one committed state and none goes back", arguments: runs)
    func everyImageIsOneCommittedState(run: Run) throws {
        let folder = try TemporaryFolder()
        let storm = try FollowStorm(folder: folder.url, settings: run.settings)
        for _ in 0..<max(3, Self.captures / run.share) where storm.counts.bad.count < 5 { try storm.judgeNext() }
        let damage = storm.judgeSource()
        print("stress: followed, \(run.testDescription), seed \(Self.seed): \(storm.counts)")
        #expect(storm.counts.bad.isEmpty, "seed \(Self.seed)")
        #expect(damage == nil, "seed \(Self.seed)")
    }

    /// 2 looks for changes after what was copied back only, 4 begins a round without what is not copied yet.
    @Test("a follower with a step left out is caught", arguments: [2, 4])
    func aStepLeftOutIsCaught(fault: Int) throws {
        let run = Run("fault \(fault)", share: 1) {
            ($0.kills, $0.faults, $0.comparesOneIn, $0.checkpointPauseMicroseconds) = (0, fault, 1, 10_000)
            $0.kind = fault == 4 ? "full" : "any"
        }
        let folder = try TemporaryFolder()
        let storm = try FollowStorm(folder: folder.url, settings: run.settings)
        while storm.counts.bad.isEmpty, storm.counts.captures < 400 { try storm.judgeNext() }
        storm.stop()
        print("stress: followed, \(run.testDescription), seed \(Self.seed): \(storm.counts)")
        #expect(!storm.counts.bad.isEmpty, "the rig does not see what it is for")
    }
}
