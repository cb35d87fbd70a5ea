import Foundation
import Glibc
import StressRig
import Testing

@testable import MusterSQLite

@Suite("How a capture leaves its source")
struct CaptureLeavingTests {
    private let folder: TemporaryFolder
    private let path: String

    init() throws {
        folder = try TemporaryFolder()
        path = folder.path("app.db")
    }

    private func application() throws -> ApplicationProcess {
        let application = try ApplicationProcess(path: path)
        try application.run("PRAGMA journal_mode=WAL")
        try application.run("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)")
        try application.run("INSERT INTO t VALUES(1, randomblob(20000))")
        return application
    }

    @Test("a closed WAL database is read without making -wal or -shm")
    func aClosedDatabaseGetsNoSidecars() throws {
        try application().close()
        #expect(sidecars(of: path).isEmpty)
        let before = Footprint(path)
        let capture = try pinned(path)
        #expect(capture.method == .closedFile)
        let image = try wholeImage(capture)
        #expect(try capture.inventory().journalMode == "wal")
        #expect(sidecars(of: path).isEmpty)
        try capture.finish()
        #expect(sidecars(of: path).isEmpty && Footprint(path) == before)
        #expect(try problems(of: image, in: folder).isEmpty)
    }

    @Test("a closed database that is opened meanwhile is not accepted")
    func aClosedDatabaseThatIsOpenedIsNotAccepted() throws {
        let application = try application()
        try application.close()
        let capture = try pinned(path)
        _ = try wholeImage(capture)
        try application.reopen()
        try application.run("INSERT INTO t VALUES(2, 'x')")
        #expect(throws: CaptureError.changedDuringCapture(path: path)) { try capture.finish() }
        let again = try pinned(path)
        #expect(again.method == .wal)
        #expect(try again.inventory().tables.first?.estimatedRows == 2)
        try again.finish()
    }

    @Test("an application that comes and goes while its closed database is read leaves it closed")
    func anApplicationThatComesAndGoesLeavesItClosed() throws {
        let application = try application()
        try application.close()
        let capture = try pinned(path)
        _ = try wholeImage(capture)
        try application.reopen()
        try application.run("INSERT INTO t VALUES(2, 'x')")
        try application.close()
        #expect(sidecars(of: path).contains(path + "-wal"), "its close was the last: nothing to show")
        #expect(throws: CaptureError.changedDuringCapture(path: path)) { try capture.finish() }
        #expect(sidecars(of: path).isEmpty)
        let again = try pinned(path)
        #expect(again.method == .closedFile)
        #expect(try again.inventory().tables.first?.estimatedRows == 2)
        try again.finish()
    }

    @Test("a -wal beside a file that took the place of the captured one stays")
    func anotherFilesWALStays() throws {
        try application().close()
        let capture = try pinned(path)
        let other = try ApplicationProcess(path: folder.path("other.db"))
        try other.run("PRAGMA journal_mode=WAL")
        try other.run("CREATE TABLE other(a)")
        other.kill()
        for suffix in ["-wal", ""] { #expect(rename(folder.path("other.db") + suffix, path + suffix) == 0) }
        let before = Footprint(path)
        #expect(throws: CaptureError.changedDuringCapture(path: path)) { try capture.finish() }
        #expect(Footprint(path) == before)
    }

    @Test("a database replaced while it is read is not accepted", arguments: [true, false])
    func aReplacedDatabaseIsNotAccepted(isOpen: Bool) throws {
        let application = try application()
        if !isOpen { try application.close() }
        let capture = try pinned(path)
        _ = try wholeImage(capture)
        let other = folder.path("other.db")
        try SQLiteConnection(path: other, access: .readWrite).execute("CREATE TABLE other(a)")
        #expect(rename(other, path) == 0)
        #expect(throws: CaptureError.changedDuringCapture(path: path)) { try capture.finish() }
    }

    @Test("a -shm removed while pages are read is not accepted")
    func aRemovedIndexIsNotAccepted() throws {
        let application = try application()
        let capture = try pinned(path)
        _ = try wholeImage(capture)
        try FileManager.default.removeItem(atPath: path + "-shm")
        #expect(throws: CaptureError.changedDuringCapture(path: path)) { try capture.finish() }
        application.kill()
    }

    @Test("while the application stays, leaving changes nothing")
    func whileTheApplicationStaysNothingChanges() throws {
        let application = try application()
        let before = Footprint(path)
        try pinned(path).finish()
        #expect(Footprint(path) == before)
        try application.run("INSERT INTO t VALUES(2, 'x')")
    }

    @Test("the last to leave closes as SQLite does")
    func theLastToLeaveClosesAsSQLiteDoes() throws {
        let application = try application()
        let capture = try pinned(path)
        let image = try wholeImage(capture)
        try application.run("INSERT INTO t VALUES(2, 'committed during the capture')")
        try application.close()
        #expect(sidecars(of: path).contains(path + "-wal"), "the application's close was the last: nothing to show")
        try capture.finish()
        #expect(sidecars(of: path).isEmpty)
        #expect(try problems(of: image, in: folder).isEmpty)
        #expect(try DatabaseImage(path: path).connection.integer("SELECT count(*) FROM t") == 2)
    }

    @Test("a -wal that a crashed application left stays byte for byte")
    func aCrashedApplicationsWALStays() throws {
        try application().kill()
        let before = Footprint(path)
        for _ in 0..<2 {
            let capture = try pinned(path)
            #expect(capture.method == .wal)
            #expect(try capture.inventory().tables.first?.estimatedRows == 1)
            #expect(try wholeImage(capture) == capture.referenceImage())
            try capture.finish()
            #expect(Footprint(path) == before)
        }
    }

    @Test("a commit that changes neither size nor times of a file is seen")
    func aCommitWithinOneTickIsSeen() throws {
        let application = try application()
        try application.run("PRAGMA wal_checkpoint(RESTART)")
        try application.run("UPDATE t SET b = 1")
        let first = try SourceFingerprint.read(path: path)
        var times = stat()
        #expect(stat(path + "-wal", &times) == 0)
        try application.run("PRAGMA wal_checkpoint(RESTART)")
        try application.run("UPDATE t SET b = 2")
        #expect(utimensat(AT_FDCWD, path + "-wal", [times.st_atim, times.st_mtim], 0) == 0)
        let second = try SourceFingerprint.read(path: path)
        #expect(second.walSizeBytes == first.walSizeBytes && second.sizeBytes == first.sizeBytes)
        #expect(second.walModifiedNanoseconds == first.walModifiedNanoseconds)
        #expect(second.commits != first.commits)
    }

    @Test("a fingerprint tells a commit from none", arguments: ["wal", "delete"])
    func aFingerprintTellsACommit(journalMode: String) throws {
        let application = try application()
        try application.run("PRAGMA journal_mode=\(journalMode)")
        try application.run("INSERT INTO t VALUES(3, 'x')")
        let first = try SourceFingerprint.read(path: path)
        #expect(try SourceFingerprint.read(path: path) == first)
        try pinned(path).finish()
        #expect(try SourceFingerprint.read(path: path) == first)
        try application.run("UPDATE t SET b = 'y' WHERE a = 3")
        let second = try SourceFingerprint.read(path: path)
        #expect(second != first)
        #expect(SourceFingerprint(second.description) == second)
        #expect(SourceFingerprint(second.description + ":") == nil)
        #expect(try JSONDecoder().decode(SourceFingerprint.self, from: JSONEncoder().encode(second)) == second)
        let capture = try pinned(path)
        #expect(capture.fingerprint == second)
        try capture.finish()
    }
}
