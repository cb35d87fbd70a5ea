import Foundation
import Glibc
import StressRig
import Synchronization
import Testing

@testable import MusterSQLite

@Suite("A follower")
struct FollowerTests {
    private let source: FollowedSource

    init() throws { source = try FollowedSource() }

    @Test("sees what changes, and only that", arguments: [512, 4096, 65_536])
    func seesWhatChanges(pageSize: Int) throws {
        let application = try source.application(pageSize: pageSize)
        let follower = try source.follow()
        #expect(!follower.isContinuous && follower.status.hasChanges)
        var image = try FollowedImage(full: follower)
        #expect(!follower.status.hasChanges)
        #expect(try image.update(follower).dirty == 0)
        try application.run("UPDATE t SET b = randomblob(700) WHERE a = 150")
        let changed = try image.update(follower)
        #expect(changed.dirty > 0 && changed.dirty < 5)
        for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"] {
            try application.run("UPDATE t SET b = randomblob(600) WHERE a % 50 = 7")
            #expect(try application.run("PRAGMA wal_checkpoint(\(mode))").first?.hasPrefix("0") == true)
            try application.run("INSERT INTO t VALUES(NULL, randomblob(3000))")
            try image.update(follower)
        }
        try application.run("VACUUM")
        try image.update(follower)
        #expect(follower.status.brokenReason == nil && follower.status.othersAttached)
        follower.detach(leavingAsLast: false)
        #expect(throws: CaptureError.stopped(path: follower.path)) { try follower.pin() }
    }

    @Test("is not as low as its agent where the process may be higher: the writer waits for it")
    func itIsNotAsLowAsItsAgent() throws {
        let application = try source.application()
        let seen = Mutex<(policy: Int32, nice: Int32)?>(nil)
        let attached = Mutex<Result<Follower, any Error>?>(nil)
        let path = source.path
        // A thread of its own, since it stays as low as it makes itself.
        Thread {
            let result = Result {
                try Self.lower()
                return try Follower.attach(path: path, after: nil, options: FollowOptions(), elapsed: steadyClock) {
                    seen.withLock { $0 = Self.priority() }
                }
            }
            attached.withLock { $0 = result }
        }.start()
        let allowed = Mutex<Bool?>(nil)
        Thread {
            let mayRaise = Self.mayRaise()
            allowed.withLock { $0 = mayRaise }
        }.start()
        try eventually("a follower") { attached.withLock { $0 != nil } && allowed.withLock { $0 != nil } }
        let follower = try #require(attached.withLock { $0 }).get()
        try application.run("UPDATE t SET b = randomblob(700) WHERE a = 150")
        try eventually("a commit seen") { seen.withLock { $0 != nil } }
        follower.detach(leavingAsLast: false)
        let found = try #require(seen.withLock { $0 })
        let mayRaise = allowed.withLock { $0 == true }
        #expect(found.policy == (mayRaise ? SCHED_OTHER : Self.idle))
        #expect(found.nice == (mayRaise ? 0 : 10))
    }

    /// Glibc's module leaves it out (linux/sched.h).
    private static let idle: Int32 = 5
    private static let thread = __priority_which_t(PRIO_PROCESS.rawValue)

    private static func lower() throws {
        var none = sched_param()
        try #require(sched_setscheduler(0, idle, &none) == 0)
        try #require(setpriority(thread, 0, 10) == 0)
    }

    /// What this process is allowed, tried on the calling thread; false also where it cannot be made lower.
    private static func mayRaise() -> Bool {
        var none = sched_param()
        guard (try? lower()) != nil else { return false }
        return sched_setscheduler(0, SCHED_OTHER, &none) == 0 && setpriority(thread, 0, 0) == 0
    }

    private static func priority() -> (policy: Int32, nice: Int32) {
        (sched_getscheduler(0), getpriority(thread, 0))
    }

    @Test("that stands still hides nothing")
    func whoStandsStillHidesNothing() throws {
        let application = try source.application()
        var machine = try source.machine()
        try machine.tick(steadyClock())
        _ = try machine.pin(
            CaptureSurroundings(options: CaptureOptions(), elapsed: steadyClock, shouldStop: { false })
        ).capture.finish()
        // Without a thread: nobody ever looks again.
        let core = FollowCore(machine, path: source.path, elapsed: steadyClock, onChange: nil)
        let before = core.status()
        #expect(!before.hasChanges && before.sourceCommits != nil)
        try application.run("UPDATE t SET b = randomblob(700) WHERE a = 150")
        let after = core.status()
        #expect(after.hasChanges && after.commits == before.commits)
        #expect(after.sourceCommits != nil && after.sourceCommits != before.sourceCommits)
        core.end()
        #expect(core.status().sourceCommits == nil)
    }

    @Test("a file that is read while it is written becomes exact")
    func aPlainReadBecomesExact() throws {
        let application = try source.application()
        let follower = try source.follow()
        var image = try FollowedImage(full: follower) { turn in
            try application.run("UPDATE t SET b = randomblob(700) WHERE a % 40 = \(turn % 40)")
            if turn % 5 == 4 { try application.run("PRAGMA wal_checkpoint(\(turn % 2 == 0 ? "PASSIVE" : "TRUNCATE"))") }
        }
        try application.run("DELETE FROM t WHERE a > 100")
        try application.run("VACUUM")
        try image.update(follower)
        #expect(try problems(of: image.bytes, in: source.folder).isEmpty)
    }

    @Test("pages that go and come back without a frame are not missed")
    func pagesWithoutAFrameAreNotMissed() throws {
        let application = try source.application()
        let follower = try source.follow()
        var image = try FollowedImage(full: follower)
        let before = image.bytes.count
        try application.run("DELETE FROM t WHERE a > 10")
        try application.run("VACUUM")
        try application.run("PRAGMA wal_checkpoint(TRUNCATE)")
        // Pages that are taken and given back in one transaction are never written, but the file grows over them.
        try application.run(
            "BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<400) "
                + "INSERT INTO t SELECT 1000 + i, zeroblob(3000) FROM n; DELETE FROM t WHERE a > 1000; COMMIT")
        try image.update(follower)
        #expect(image.bytes.count > before, "it did not grow, so this shows nothing")
    }

    @Test("pages that are given back count as changed again")
    func pagesGivenBackCountAgain() throws {
        let application = try source.application()
        let follower = try source.follow()
        var image = try FollowedImage(full: follower)
        try application.run("UPDATE t SET b = randomblob(700) WHERE a % 90 = 1")
        let failed = try follower.pin()
        failed.capture.abandon()
        #expect(!follower.status.hasChanges && failed.dirty.count > 0)
        follower.giveBack(failed.dirty)
        #expect(follower.status.hasChanges)
        follower.giveBack(try follower.beginRound())
        try image.update(follower)
    }

    @Test("tells that something was committed")
    func tellsThatSomethingWasCommitted() throws {
        let application = try source.application()
        let calls = Mutex(0)
        let follower = try source.follow { calls.withLock { $0 += 1 } }
        _ = try FollowedImage(full: follower)
        let before = follower.status.commits
        try application.run("INSERT INTO t VALUES(NULL, 'x')")
        try eventually("a call") { calls.withLock { $0 } > 0 }
        let status = follower.status
        #expect(status.commits == before + 1 && status.hasChanges && status.lastChange != nil && status.walBytes > 4096)
    }

    @Test("captures and fingerprints beside it take none of its locks away")
    func othersTakeNoLocksAway() throws {
        let application = try source.application()
        let follower = try source.follow()
        var image = try FollowedImage(full: follower)
        try pinned(source.path).finish()
        _ = try SourceFingerprint.read(path: source.path)
        #expect(throws: ApplicationProcess.Refused.self) { try application.run("PRAGMA journal_mode=DELETE") }
        try application.run("UPDATE t SET b = 'x' WHERE a = 3")
        try application.run("PRAGMA wal_checkpoint(TRUNCATE)")
        try image.update(follower)
        follower.detach(leavingAsLast: false)
        #expect(try application.run("PRAGMA journal_mode=DELETE") == ["delete"])
    }

    @Test("a follower that is detached first does not take the locks of its pin away")
    func aPinOutlivesItsFollower() throws {
        let application = try source.application()
        let follower = try source.follow()
        let pin = try follower.pin()
        try application.run("UPDATE t SET b = randomblob(700)")
        follower.detach(leavingAsLast: true)
        try application.run("PRAGMA busy_timeout=0")
        #expect(try application.run("PRAGMA wal_checkpoint(RESTART)").first?.hasPrefix("1") == true)
        #expect(try pin.capture.referenceImage() == wholeImage(pin.capture))
        try pin.capture.finish()
        #expect(try application.run("PRAGMA wal_checkpoint(RESTART)").first?.hasPrefix("0") == true)
    }

    @Test("one pin at a time")
    func onePinAtATime() throws {
        let application = try source.application()
        let follower = try source.follow()
        let pin = try follower.pin()
        #expect(throws: CaptureError.alreadyBeingCaptured(path: follower.path)) { try follower.pin() }
        try pin.capture.finish()
        try application.run("DELETE FROM t WHERE a = 1")
        try follower.pin().capture.finish()
    }

    @Test("a killed transaction is no commit, and what follows is seen")
    func aKilledTransactionIsNoCommit() throws {
        let application = try source.application()
        let other = try ApplicationProcess(path: source.path)
        let follower = try source.follow()
        var image = try FollowedImage(full: follower)
        try other.run("PRAGMA cache_size=2")
        try other.run("BEGIN")
        try other.run("UPDATE t SET b = randomblob(700)")
        other.kill()
        try image.update(follower)
        try application.run("UPDATE t SET b = randomblob(699) WHERE a < 20")
        #expect(try image.update(follower).dirty > 0)
        #expect(follower.status.brokenReason == nil)
    }
}
