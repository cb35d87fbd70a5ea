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
    static let loader = ProcessInfo.processInfo.environment["MUSTER_STRESS_LOADER"] ?? ""

    struct Run: CustomTestStringConvertible, Sendable {
        let name: String
        let share: Int
        let pageSize: Int
        var autoVacuum = 0
        var rows = 2000
        var kills = 2
        var more: [String] = []
        var testDescription: String { "\(name), pages of \(pageSize)" }
    }

    static let runs = [
        Run(name: "all together", share: 4, pageSize: 4096),
        Run(
            name: "no pause", share: 8, pageSize: 4096, autoVacuum: 1, kills: 1,
            more: ["pause=0", "checkpointPause=5000"]),
        Run(name: "long readers", share: 8, pageSize: 8192, autoVacuum: 2, more: ["readers=2"]),
        Run(
            name: "few checkpoints", share: 8, pageSize: 1024, more: ["checkpointPause=3000000", "vacuumPause=9000000"]),
        Run(name: "small pages", share: 8, pageSize: 512, autoVacuum: 2, rows: 1000),
        Run(name: "large pages", share: 8, pageSize: 65_536, rows: 1000),
        Run(
            name: "own checkpoints only", share: 8, pageSize: 32_768, autoVacuum: 1,
            more: ["checkpoints=0", "vacuums=0"]),
    ]

    @Test("every image is one committed state and none goes back", arguments: runs)
    func everyImageIsOneCommittedState(run: Run) throws {
        let folder = try TemporaryFolder()
        let storm = try Self.storm(run, in: folder)
        for _ in 0..<max(3, Self.captures / run.share) where storm.counts.bad.count < 5 { try storm.judgeNext() }
        let damage = storm.judgeSource()
        print("stress: followed, \(run.testDescription), seed \(Self.seed): \(storm.counts)")
        #expect(storm.counts.bad.isEmpty, "seed \(Self.seed)")
        #expect(damage == nil, "seed \(Self.seed)")
    }

    @Test("a follower with a step left out is caught", arguments: [2, 4])
    func aStepLeftOutIsCaught(fault: Int) throws {
        var run = Run(name: "fault \(fault)", share: 1, pageSize: 4096, kills: 0)
        run.more = ["faults=\(fault)", "compare=1", "checkpointPause=10000", "kind=\(fault == 4 ? "full" : "any")"]
        let folder = try TemporaryFolder()
        let storm = try Self.storm(run, in: folder)
        var tries = 0
        while storm.counts.bad.isEmpty, tries < 400 {
            try storm.judgeNext()
            tries += 1
        }
        storm.stop()
        print("stress: followed, \(run.testDescription), seed \(Self.seed): \(storm.counts)")
        #expect(!storm.counts.bad.isEmpty, "the rig does not see what it is for")
    }

    private static func storm(_ run: Run, in folder: TemporaryFolder) throws -> FollowStorm {
        var settings = FollowStorm.Settings()
        (settings.pageSize, settings.autoVacuum, settings.rows) = (run.pageSize, run.autoVacuum, run.rows)
        (settings.seed, settings.kills, settings.more) = (seed, run.kills, run.more)
        if !loader.isEmpty { settings.more.append("loader=\(loader)") }
        return try FollowStorm(folder: folder.url, settings: settings)
    }
}
