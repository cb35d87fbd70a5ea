import Foundation
import MusterTestSupport
import StressRig
import Testing

/// SQLite's own WAL-reset bug (3.7.0 to 3.51.2), provoked: is the database that the applications use damaged?
///
/// Four seconds a round, so only where asked for: `MUSTER_STRESS_RESETS=N` makes N rounds of each kind. A preloaded
/// library (`SlowCheckpoint.c`) makes checkpointers slow at the wrong moment.
@Suite(
    "WAL resets beside a follower", .serialized, .enabled(if: environmentNumber("MUSTER_STRESS_RESETS", default: 0) > 0)
)
struct WALResetTests {
    enum Kind: String, CaseIterable, Sendable {
        case alone, followed
        /// `FollowFaults.leavesZeroUnasked`: without the probe.
        case followedUnasked
    }

    @Test("only a whole follower keeps the database sound", arguments: Kind.allCases)
    func onlyAWholeFollowerKeepsItSound(kind: Kind) throws {
        let rounds = environmentNumber("MUSTER_STRESS_RESETS", default: 0)
        let folder = try TemporaryFolder()
        let library = try slowCheckpoint(in: folder)
        var (damaged, commits): (Int, Int64) = (0, 0)
        for round in 1...rounds {
            let place = try TemporaryFolder()
            let storm = try FollowStorm(folder: place.url, settings: settings(kind, round, library))
            try storm.rage(for: .seconds(4))
            if let damage = storm.judgeSource() {
                damaged += 1
                if damaged == 1 { print("stress: resets, \(kind): \(damage)") }
            }
            commits += storm.counts.commits
            if kind != .alone, storm.counts.anew + storm.counts.resumed != 1 || !storm.counts.brokenReasons.isEmpty {
                print("stress: resets, \(kind), round \(round): \(storm.counts)")
            }
        }
        print("stress: resets, \(kind): \(damaged) of \(rounds) databases damaged, \(commits) commits")
        #expect((damaged == 0) == (kind == .followed))
    }

    private func settings(_ kind: Kind, _ round: Int, _ library: String) -> StormSettings {
        var settings = StormSettings()
        (settings.seed, settings.kills, settings.rows, settings.writers) = (round, 0, 3000, 3)
        (settings.writerPauseMicroseconds, settings.autocheckpoint) = (500, 1)
        (settings.checkpointers, settings.checkpointPauseMicroseconds, settings.checkpointMode) = (2, 3000, "PASSIVE")
        (settings.checkpointersMap, settings.vacuums) = (true, false)
        // What a checkpointer of before the attach does is not the follower's to prevent.
        (settings.follows, settings.stays) = (kind != .alone, kind != .alone)
        settings.faults = kind == .followedUnasked ? 1 : 0
        settings.applicationEnvironment = ["LD_PRELOAD": library, "DELAY_MICROSECONDS": "15000"]
        return settings
    }

    private func slowCheckpoint(in folder: TemporaryFolder) throws -> String {
        let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "SlowCheckpoint.c")
        let library = folder.path("slow-checkpoint.so")
        let compiled = try ChildProcess.run("cc", ["-shared", "-fPIC", "-O2", "-o", library, source.path, "-ldl"])
        try #require(compiled.status == 0, "\(compiled.output)")
        return library
    }
}
