import Foundation
import Glibc
import StressRig
import Synchronization
import Testing

@testable import MusterSQLite

@Suite("A follower lets go when its ground is gone")
struct FollowBreakTests {
    private let source: FollowedSource

    init() throws { source = try FollowedSource() }

    private func expectBreak(_ follower: Follower, _ reason: String) throws {
        try eventually("a break") { follower.status.isBroken }
        #expect(follower.status.brokenReason?.contains(reason) == true, "\(follower.status.brokenReason ?? "")")
        #expect(throws: CaptureError.self) { try follower.pin() }
        #expect(throws: CaptureError.self) { try follower.beginRound() }
        #expect(follower.detach(leavingAsLast: true) == nil)
    }

    @Test("a file that was replaced or removed", arguments: ["", "-wal", "-shm"], [true, false])
    func aReplacedFile(suffix: String, isRemoved: Bool) throws {
        let application = try source.application()
        let follower = try source.follow(hurry: 20)
        let path = source.path + suffix
        if !isRemoved { try FileManager.default.copyItem(atPath: path, toPath: path + ".new") }
        #expect((isRemoved ? unlink(path) : rename(path + ".new", path)) == 0)
        try expectBreak(follower, "replaced or removed")
        application.kill()
    }

    @Test("a WAL that was cut under its application")
    func aCutWAL() throws {
        let application = try source.application()
        let follower = try source.follow()
        _ = try FollowedImage(full: follower)
        #expect(truncate(source.path + "-wal", 0) == 0)
        // It appends where the index says, behind a hole.
        try application.run("INSERT INTO t VALUES(NULL, 'x')")
        try expectBreak(follower, "does not match its index")
    }

    @Test("a wal-index that stays torn, as a writer killed while it stored it leaves it")
    func aTornIndex() throws {
        let application = try source.application()
        let follower = try source.follow(hurry: 20)
        let index = try #require(FileHandle(forUpdatingAtPath: source.path + "-shm"))
        try index.seek(toOffset: 60)
        try index.write(contentsOf: Data([0xa5, 0x5a]))
        try index.close()
        try expectBreak(follower, "unreadable")
        // Coming back lets SQLite recover it.
        let next = try source.follow()
        _ = try FollowedImage(full: next)
        try application.run("UPDATE t SET b = 'x' WHERE a = 1")
        #expect(next.status.brokenReason == nil)
    }

    @Test("a wal-index that was made anew counts its commits from the beginning")
    func aRecoveredIndex() throws {
        let application = try source.application()
        let follower = try source.follow()
        _ = try FollowedImage(full: follower)
        let index = try #require(FileHandle(forUpdatingAtPath: source.path + "-shm"))
        try index.seek(toOffset: 60)
        try index.write(contentsOf: Data([0xa5, 0x5a]))
        try index.close()
        try application.run("UPDATE t SET b = 'x' WHERE a = 1")
        try expectBreak(follower, "its index counts")
    }

    @Test("a wal-index that was cut is not touched")
    func aCutIndex() throws {
        let application = try source.application()
        let follower = try source.follow()
        application.kill()
        #expect(truncate(source.path + "-shm", 3) == 0)
        try expectBreak(follower, "was cut")
    }

    @Test("a wal-index of another version")
    func anotherVersion() throws {
        let application = try source.application()
        let follower = try source.follow()
        try storeVersion(3_021_000, in: source.path + "-shm")
        try eventually("a break") { follower.status.isBroken }
        #expect(follower.status.brokenReason?.contains("unknown WAL format (3021000)") == true)
        follower.detach(leavingAsLast: false)
        // Beside an application that keeps the index as it is.
        #expect(throws: CaptureError.self) { try source.follow(.hurried) }
        application.kill()
    }

    @Test("commits that are padded to whole sectors, which look like more")
    func paddedCommits() throws {
        let application = try source.application(pageSize: 512)
        let follower = try source.follow()
        try application.close()
        try application.run("without-psow PRAGMA synchronous=FULL; UPDATE t SET b = 'x' WHERE a = 1")
        try expectBreak(follower, "its index counts")
    }

    @Test("the one who follows is told of a break")
    func theBreakIsTold() throws {
        let application = try source.application()
        let calls = Mutex(0)
        let follower = try source.follow(hurry: 20) { calls.withLock { $0 += 1 } }
        _ = try FollowedImage(full: follower)
        let before = calls.withLock { $0 }
        #expect(unlink(source.path + "-shm") == 0)
        try eventually("a call") { calls.withLock { $0 } > before && follower.status.isBroken }
        application.kill()
    }

    @Test("after a break the application is free")
    func afterABreakTheApplicationIsFree() throws {
        let application = try source.application()
        let follower = try source.follow(hurry: 20)
        _ = try FollowedImage(full: follower)
        #expect(link(source.path, source.path + ".second") == 0)
        #expect(rename(source.path + "-wal", source.path + "-gone") == 0)
        try eventually("a break") { follower.status.isBroken }
        #expect(rename(source.path + "-gone", source.path + "-wal") == 0)
        try application.run("PRAGMA busy_timeout=0")
        #expect(try application.run("PRAGMA wal_checkpoint(TRUNCATE)").first?.hasPrefix("0") == true)
        follower.detach(leavingAsLast: false)
        #expect(try application.run("PRAGMA journal_mode=DELETE") == ["delete"])
    }
}
