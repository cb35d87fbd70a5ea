import Foundation
import Glibc
import StressRig
import Testing

@testable import MusterSQLite

@Suite("How a follower comes back")
struct FollowAttachTests {
    private let source: FollowedSource

    init() throws { source = try FollowedSource() }

    /// Follows up to a first state and lets go.
    private func firstStay(
        settles: Bool = false, leavingAsLast: Bool = false, beforeDetach: () throws -> Void = {}
    ) throws -> (FollowedImage, FollowCursor) {
        let follower = try source.follow()
        var image = try FollowedImage(full: follower)
        var cursor = try image.update(follower).cursor
        if settles {
            try eventually("a settled file") {
                cursor = try image.update(follower).cursor
                return cursor.bytes[49] == 1
            }
        }
        try beforeDetach()
        return (image, follower.detach(leavingAsLast: leavingAsLast) ?? cursor)
    }

    @Test("the same WAL proves that nothing was missed", arguments: [false, true])
    func theSameWALProvesIt(isKilledMeanwhile: Bool) throws {
        var application = try source.application()
        var (image, cursor) = try firstStay()
        try application.run("UPDATE t SET b = randomblob(701) WHERE a % 30 = 3")
        if isKilledMeanwhile {
            application.kill()
            application = try ApplicationProcess(path: source.path)
            try application.run("INSERT INTO t VALUES(NULL, 'after a recovery')")
        }
        let follower = try source.follow(after: FollowCursor(bytes: cursor.bytes))
        #expect(follower.isContinuous && follower.status.hasChanges)
        let dirty = try image.update(follower).dirty
        #expect(dirty > 0 && dirty < 30)
    }

    @Test("a restarted WAL proves nothing by itself", arguments: ["RESTART", "TRUNCATE"])
    func aRestartedWALProvesNothing(mode: String) throws {
        let application = try source.application()
        let (_, cursor) = try firstStay()
        try application.run("UPDATE t SET b = 'x' WHERE a = 7")
        try application.run("PRAGMA wal_checkpoint(\(mode))")
        try application.run("UPDATE t SET b = 'y' WHERE a = 8")
        let follower = try source.follow(after: cursor)
        #expect(!follower.isContinuous && follower.status.hasChanges)
        _ = try FollowedImage(full: follower)
    }

    @Test("a restarted WAL over an untouched file is the whole story")
    func anUntouchedFileProvesIt() throws {
        let application = try source.application()
        try application.run("PRAGMA wal_checkpoint(PASSIVE)")
        var (image, cursor) = try firstStay(settles: true)
        try application.run("UPDATE t SET b = randomblob(702) WHERE a % 30 = 4")
        let follower = try source.follow(after: cursor)
        #expect(follower.isContinuous)
        let dirty = try image.update(follower).dirty
        #expect(dirty > 0 && dirty < 30)
    }

    @Test("what came while it closed the database is not missed")
    func whatCameAtTheLastMomentIsNotMissed() throws {
        let application = try source.application()
        let follower = try source.follow()
        _ = try FollowedImage(full: follower)
        try application.close()
        // A process that opens it in the same moment: nobody leaves as last then, and the cursor claims no file.
        let other = try ApplicationProcess(path: source.path)
        try other.run("SELECT count(*) FROM t")
        let cursor = try #require(follower.detach(leavingAsLast: true))
        #expect(cursor.bytes[49] == 0 && sidecars(of: source.path).contains(source.path + "-wal"))
        try other.run("UPDATE t SET b = 'x' WHERE a = 1")
        #expect(try source.follow(after: cursor).isContinuous)
    }

    @Test("an application that closed, and another that came, are followed without a scan", arguments: [true, false])
    func aCloseAndANewLifeAreFollowed(isCopiedBefore: Bool) throws {
        let application = try source.application()
        if isCopiedBefore { try application.run("PRAGMA wal_checkpoint(PASSIVE)") }
        var (image, cursor) = try firstStay(settles: isCopiedBefore, leavingAsLast: true) { try application.close() }
        #expect(sidecars(of: source.path).isEmpty)
        try application.reopen()
        try application.run("UPDATE t SET b = randomblob(703) WHERE a % 30 = 5")
        try application.run("INSERT INTO t VALUES(NULL, 'x')")
        let follower = try source.follow(after: cursor)
        #expect(follower.isContinuous)
        try image.update(follower)
    }

    @Test("a file that was written in between proves nothing", arguments: ["checkpoint", "touch", "other content"])
    func aWrittenFileProvesNothing(how: String) throws {
        let application = try source.application()
        try application.run("PRAGMA wal_checkpoint(PASSIVE)")
        let (_, cursor) = try firstStay(settles: true, leavingAsLast: true) { try application.close() }
        switch how {
        case "checkpoint":
            try application.reopen()
            try application.run("UPDATE t SET b = 'x' WHERE a = 9")
            try application.run("PRAGMA wal_checkpoint(TRUNCATE)")
            try application.run("UPDATE t SET b = 'x' WHERE a = 10")
        case "touch":
            #expect(utimensat(AT_FDCWD, source.path, nil, 0) == 0)
            try application.reopen()
            try application.run("UPDATE t SET b = 'x' WHERE a = 9")
        default:
            try application.reopen()
            try application.run("UPDATE t SET b = 'x' WHERE a = 9")
            try application.close()
            try application.reopen()
            try application.run("UPDATE t SET b = 'x' WHERE a = 9")
        }
        #expect(try !source.follow(after: cursor).isContinuous)
    }

    @Test("another page size is another history")
    func anotherPageSize() throws {
        let application = try source.application()
        let (_, cursor) = try firstStay()
        for sql in ["PRAGMA journal_mode=DELETE", "PRAGMA page_size=1024", "VACUUM", "PRAGMA journal_mode=WAL"] {
            try application.run(sql)
        }
        try application.run("INSERT INTO t VALUES(NULL, 'x')")
        let follower = try source.follow(after: cursor)
        #expect(!follower.isContinuous && follower.pageSize == 1024)
        _ = try FollowedImage(full: follower)
    }

    @Test("another file in the same place is another history")
    func anotherFile() throws {
        let application = try source.application()
        let (_, cursor) = try firstStay()
        application.kill()
        for suffix in ["", "-wal", "-shm"] {
            let path = source.path + suffix
            try FileManager.default.copyItem(atPath: path, toPath: path + ".copy")
            #expect(rename(path + ".copy", path) == 0)
        }
        let follower = try source.follow(after: cursor)
        #expect(!follower.isContinuous)
        _ = try FollowedImage(full: follower)
    }

    @Test("a cursor is what it was made as, or nothing")
    func aCursorIsWhatItWas() throws {
        _ = try source.application()
        let (_, cursor) = try firstStay()
        #expect(FollowCursor(bytes: cursor.bytes) == cursor)
        #expect(FollowCursor(bytes: []) == nil && FollowCursor(bytes: cursor.bytes + [0]) == nil)
        #expect(FollowCursor(bytes: [2] + cursor.bytes.dropFirst()) == nil)
        for position in [3, 12, 19, 23, 31, 35] {
            var bytes = cursor.bytes
            bytes[position] ^= 1
            #expect(try !source.follow(after: FollowCursor(bytes: bytes)).isContinuous, "byte \(position)")
        }
    }

    @Test("a recovered empty WAL is no obstacle")
    func aRecoveredEmptyWALIsNoObstacle() throws {
        let application = try source.application(pageSize: 1024)
        try application.run("PRAGMA wal_checkpoint(TRUNCATE)")
        application.kill()
        let follower = try source.follow()
        #expect(follower.pageSize == 1024)
        var image = try FollowedImage(full: follower)
        let next = try ApplicationProcess(path: source.path)
        try next.run("UPDATE t SET b = 'x' WHERE a < 5")
        try image.update(follower)
        #expect(follower.status.brokenReason == nil)
    }

    // MARK: Refusals

    private func refusalToFollow(_ options: FollowOptions = .hurried) throws -> CaptureError {
        do { _ = try source.follow(options) } catch let error as CaptureError { return error }
        throw BrokenInvariant(reason: "it was followed")
    }

    @Test("what keeps no WAL is not followed")
    func whatKeepsNoWALIsNotFollowed() throws {
        #expect(try refusalToFollow(FollowOptions()) == .missing(path: source.path))
        let application = try ApplicationProcess(path: source.path)
        #expect(try refusalToFollow() == .notInWALMode(path: source.path))
        try application.run("CREATE TABLE t(a)")
        #expect(try refusalToFollow() == .notInWALMode(path: source.path))
        #expect(sidecars(of: source.path).isEmpty)
    }

    @Test("a closed database is not opened to be followed")
    func aClosedDatabaseIsNotOpened() throws {
        try source.application().close()
        #expect(try refusalToFollow() == .notOpen(path: source.path))
        #expect(sidecars(of: source.path).isEmpty)
    }

    @Test("exclusive locking mode is refused")
    func exclusiveLockingModeIsRefused() throws {
        let application = try ApplicationProcess(path: source.path)
        try application.run("PRAGMA locking_mode=EXCLUSIVE")
        try application.run("PRAGMA journal_mode=WAL")
        try application.run("CREATE TABLE t(a)")
        #expect(try refusalToFollow() == .exclusivelyLocked(path: source.path))
    }

    @Test("a file of another kind is refused")
    func aFileOfAnotherKindIsRefused() throws {
        try Data(repeating: 7, count: 8192).write(to: URL(fileURLWithPath: source.path))
        #expect(try refusalToFollow() == .notADatabase(path: source.path))
    }
}
