import Foundation
import Glibc
import StressRig
import Testing

@testable import MusterSQLite

@Suite("A follower")
struct FollowerTests {
    private let folder: TemporaryFolder
    private let path: String

    init() throws {
        folder = try TemporaryFolder()
        path = folder.path("app.db")
    }

    private func application(pageSize: Int = 4096) throws -> ApplicationProcess {
        let application = try ApplicationProcess(path: path)
        try application.run("PRAGMA page_size=\(pageSize)")
        try application.run("PRAGMA journal_mode=WAL")
        try application.run("PRAGMA wal_autocheckpoint=0")
        try application.run("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)")
        try application.run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300) "
                + "INSERT INTO t SELECT i, randomblob(700) FROM n")
        return application
    }

    private func attach(
        _ options: FollowOptions = FollowOptions(), after cursor: FollowCursor? = nil
    ) throws -> Follower {
        try Follower.attach(path: path, after: cursor, options: options, elapsed: steadyClock)
    }

    @Test("sees what changes, and only that", arguments: [512, 4096, 65_536])
    func seesWhatChanges(pageSize: Int) throws {
        let application = try application(pageSize: pageSize)
        let follower = try attach()
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

    @Test("a file that is read while it is written becomes exact")
    func aPlainReadBecomesExact() throws {
        let application = try application()
        let follower = try attach()
        var image = try FollowedImage(full: follower) { turn in
            try application.run("UPDATE t SET b = randomblob(700) WHERE a % 40 = \(turn % 40)")
            if turn % 5 == 4 { try application.run("PRAGMA wal_checkpoint(\(turn % 2 == 0 ? "PASSIVE" : "TRUNCATE"))") }
        }
        try application.run("DELETE FROM t WHERE a > 100")
        try application.run("VACUUM")
        try image.update(follower)
        #expect(try problems(of: image.bytes, in: folder).isEmpty)
        follower.detach(leavingAsLast: false)
    }
}
