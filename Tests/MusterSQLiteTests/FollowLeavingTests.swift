import Foundation
import Glibc
import MusterTestSupport
import StressRig
import Testing

@testable import MusterSQLite

@Suite("How a follower leaves its source")
struct FollowLeavingTests {
    private let source: FollowedSource

    init() throws { source = try FollowedSource() }

    @Test("while the application stays, coming and leaving changes nothing")
    func whileTheApplicationStays() throws {
        let application = try source.application()
        let before = Footprint(source.path)
        let follower = try source.follow()
        _ = try FollowedImage(full: follower)
        follower.detach(leavingAsLast: true)
        #expect(Footprint(source.path) == before)
        try application.run("PRAGMA busy_timeout=0")
        #expect(try application.run("PRAGMA wal_checkpoint(TRUNCATE)").first?.hasPrefix("0") == true)
    }

    @Test("the last to leave closes as SQLite does")
    func theLastToLeaveCloses() throws {
        let application = try source.application()
        let follower = try source.follow()
        _ = try FollowedImage(full: follower)
        try application.run("INSERT INTO t VALUES(1000, 'x')")
        try application.close()
        #expect(sidecars(of: source.path).contains(source.path + "-wal"), "its close was the last: nothing to show")
        try eventually("alone") { !follower.status.othersAttached }
        follower.detach(leavingAsLast: true)
        #expect(sidecars(of: source.path).isEmpty)
        #expect(try DatabaseImage(path: source.path).connection.integer("SELECT max(a) FROM t") == 1000)
    }

    @Test("a follower that merely lets go leaves the WAL to the next")
    func lettingGoLeavesTheWAL() throws {
        let application = try source.application()
        let follower = try source.follow()
        try application.close()
        follower.detach(leavingAsLast: false)
        #expect(sidecars(of: source.path).contains(source.path + "-wal"))
        try application.reopen()
        #expect(try application.run("SELECT count(*) FROM t") == ["300"])
    }

    @Test("a -wal that a crashed application left stays byte for byte")
    func aCrashedApplicationsWALStays() throws {
        try source.application().kill()
        let before = Footprint(source.path)
        let follower = try source.follow()
        #expect(!follower.status.othersAttached)
        _ = try FollowedImage(full: follower)
        follower.detach(leavingAsLast: true)
        #expect(Footprint(source.path) == before)
    }

    @Test("a follower that is dropped lets go")
    func aDroppedFollowerLetsGo() throws {
        let application = try source.application()
        do { _ = try source.follow() }
        #expect(try application.run("PRAGMA journal_mode=DELETE") == ["delete"])
    }

    /// Runs in a process of its own as user 65534, so it needs root.
    @Test("a user who may only read follows, but takes no leftover slot away", .enabled(if: getuid() == 0))
    func aUserWhoMayOnlyReadFollows() throws {
        let application = try source.application()
        let user = try Workload.start(
            ["capture", source.path, "user=65534", "follow=1"], takesInput: true, output: .reader)
        #expect(try user.readLine()?.hasPrefix("followed ") == true)
        for _ in 0..<20 {
            try application.run("UPDATE t SET b = randomblob(700) WHERE a % 5 = 1")
            try application.run("PRAGMA wal_checkpoint(TRUNCATE)")
        }
        try user.write("now\n")
        #expect(try user.readLine() == "20 well")
        user.kill()

        var readers: [ApplicationProcess] = []
        // Now every slot carries a mark that nobody holds.
        for number in 1...4 {
            try application.run("UPDATE t SET b = 'reader \(number)' WHERE a = \(number)")
            let reader = try ApplicationProcess(path: source.path)
            readers.append(reader)
            try reader.run("BEGIN")
            try reader.run("SELECT count(*) FROM t")
        }
        readers.forEach { $0.kill() }
        let second = try Workload.start(["capture", source.path, "user=65534", "follow=1"], output: .reader)
        let answer = try second.readToEnd()
        #expect(answer.contains("stayed locked"), "\(answer)")
    }
}
