import Foundation
import StressRig
import Testing

@testable import MusterSQLite

@Suite("Pinned capture")
struct PinnedCaptureTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    /// An application that has the database open and, in WAL mode, frames that are in no file yet.
    private func application(_ shape: Shape, named name: String = "app.db") throws -> ApplicationProcess {
        let application = try ApplicationProcess(path: folder.path(name))
        try application.run("PRAGMA page_size=\(shape.pageSize)")
        try application.run("PRAGMA journal_mode=\(shape.journalMode)")
        try application.run("PRAGMA wal_autocheckpoint=0")
        try application.run("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)")
        try application.run("\(Self.count(to: 300)) INSERT INTO t SELECT i, randomblob(700) FROM n")
        try application.run("PRAGMA wal_checkpoint(PASSIVE)")
        try application.run("UPDATE t SET b = randomblob(600) WHERE a % 3 = 0")
        try application.run("\(Self.count(to: 100)) INSERT INTO t SELECT NULL, randomblob(900) FROM n")
        return application
    }

    private static func count(to last: Int) -> String {
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<\(last))"
    }

    @Test("the image equals SQLite's own and the source is untouched", arguments: Shape.all)
    func theImageEqualsSQLitesOwn(shape: Shape) throws {
        let application = try application(shape)
        let path = folder.path("app.db")
        let before = Footprint(path)
        let modeBefore = try application.run("PRAGMA journal_mode")

        let capture = try pinned(path)
        let image = try wholeImage(capture)
        #expect(try capture.referenceImage() == image)
        #expect(capture.method == (shape.journalMode == "wal" ? .wal : .rollback))
        #expect(capture.pageSize == shape.pageSize)
        let inventory = try capture.inventory()
        #expect(inventory.tables == [SQLiteInventory.Table(name: "t", estimatedRows: 400)])
        try capture.finish()

        #expect(try problems(of: image, in: folder).isEmpty)
        #expect(Footprint(path) == before)
        #expect(try application.run("PRAGMA journal_mode") == modeBefore)
    }

    @Test(
        "any file name can be captured",
        arguments: [
            "with space", "quote'and\"quote", "line\nbreak", "what?mode=memory", "100%25", "hash#tag", "Zürich 東京.db",
            "file:looks-like-a-uri", ":memory:", "semi;colon", "-dash",
        ])
    func anyFileNameCanBeCaptured(name: String) throws {
        let application = try application(Shape(pageSize: 4096, journalMode: "wal"), named: name)
        let capture = try pinned(folder.path(name))
        let image = try wholeImage(capture)
        #expect(try capture.referenceImage() == image)
        try capture.finish()
        try application.close()
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.url.path) == [name])
        let closed = try pinned(folder.path(name))
        #expect(closed.method == .closedFile)
        #expect(try problems(of: wholeImage(closed), in: folder).isEmpty)
        try closed.finish()
    }

    @Test("an empty file is an empty database, and a -wal beside it stays", arguments: [false, true])
    func anEmptyFileIsAnEmptyDatabase(hasStrayWAL: Bool) throws {
        let path = folder.path("empty.db")
        try Data().write(to: URL(fileURLWithPath: path))
        if hasStrayWAL { try Data([1, 2, 3]).write(to: URL(fileURLWithPath: path + "-wal")) }
        let capture = try pinned(path)
        #expect(capture.pageCount == 0 && capture.pageSize == 4096)
        #expect(try capture.inventory().tables.isEmpty)
        try capture.finish()
        #expect(sidecars(of: path) == (hasStrayWAL ? [path + "-wal"] : []))
    }

    @Test("a database of one page is one page", arguments: ["wal", "delete"])
    func aDatabaseOfOnePageIsOnePage(journalMode: String) throws {
        let path = folder.path("one.db")
        let application = try ApplicationProcess(path: path)
        try application.run("PRAGMA journal_mode=\(journalMode)")
        try application.run("PRAGMA user_version=7")
        let capture = try pinned(path)
        #expect(capture.pageCount == 1)
        #expect(try capture.inventory().userVersion == 7)
        #expect(try capture.referenceImage() == wholeImage(capture))
        try capture.finish()
    }

    @Test("a commit after the beginning is not in the image")
    func aLaterCommitIsNotInTheImage() throws {
        let application = try application(Shape(pageSize: 4096, journalMode: "wal"))
        let capture = try pinned(folder.path("app.db"))
        try application.run("DELETE FROM t")
        try application.run("PRAGMA wal_checkpoint(PASSIVE)")
        let image = try wholeImage(capture)
        #expect(try capture.referenceImage() == image)
        #expect(try capture.inventory().tables.first?.estimatedRows == 400)
        try capture.finish()
    }

    @Test("the overlay holds when frames are copied back while pages are read", arguments: [512, 65_536])
    func theOverlayHoldsUnderABackfill(pageSize: Int) throws {
        let application = try application(Shape(pageSize: pageSize, journalMode: "wal"))
        let path = folder.path("app.db")
        // Another reader keeps the first checkpoint from finishing: half of the WAL stays to be overlaid.
        let reader = try ApplicationProcess(path: path)
        try reader.run("BEGIN")
        try reader.run("SELECT count(*) FROM t")
        try application.run("UPDATE t SET b = randomblob(500) WHERE a > 200")
        try application.run("PRAGMA wal_checkpoint(PASSIVE)")

        let capture = try pinned(path)
        let firstHalf = try capture.readPages(1, count: Int(capture.pageCount / 2))
        try reader.run("COMMIT")
        try application.run("UPDATE t SET b = randomblob(400)")
        try application.run("PRAGMA wal_checkpoint(PASSIVE)")
        let start = capture.pageCount / 2 + 1
        let image = try firstHalf + capture.readPages(start, count: Int(capture.pageCount - start + 1))
        #expect(try capture.referenceImage() == image)
        try capture.finish()
        #expect(try problems(of: image, in: folder).isEmpty)
    }

    @Test("a WAL that restarts beneath a capture of a copied-back database does no harm")
    func aRestartBeneathSlotZeroDoesNoHarm() throws {
        let application = try application(Shape(pageSize: 4096, journalMode: "wal"))
        let path = folder.path("app.db")
        try application.run("PRAGMA wal_checkpoint(FULL)")
        let salt = try walSalt(path)
        let capture = try pinned(path)
        let firstHalf = try capture.readPages(1, count: Int(capture.pageCount / 2))
        try application.run("UPDATE t SET b = randomblob(350)")
        try application.run("PRAGMA wal_checkpoint(PASSIVE)")
        #expect(try walSalt(path) != salt, "the WAL did not restart, so this shows nothing")
        let start = capture.pageCount / 2 + 1
        let image = try firstHalf + capture.readPages(start, count: Int(capture.pageCount - start + 1))
        #expect(try capture.referenceImage() == image)
        try capture.finish()
        #expect(try problems(of: image, in: folder).isEmpty)
    }

    private func walSalt(_ path: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: path + "-wal"))[16..<24])
    }

    @Test(
        "a flipped bit in the WAL is refused",
        arguments: [20, 32 + 3, 32 + 10, 32 + 18, 32 + 24 + 100, 32 + 2 * 1048 + 500, -1])
    func aFlippedBitInTheWALIsRefused(position: Int) throws {
        let path = folder.path("app.db")
        let application = try ApplicationProcess(path: path)
        for sql in [
            "PRAGMA page_size=1024", "PRAGMA journal_mode=WAL", "PRAGMA wal_autocheckpoint=0", "CREATE TABLE t(a, b)",
            "INSERT INTO t VALUES(1, randomblob(5000))",
        ] { try application.run(sql) }
        try pinned(path).finish()

        let wal = try #require(FileHandle(forUpdatingAtPath: path + "-wal"))
        let offset = position < 0 ? try wal.seekToEnd() - 1 : UInt64(position)
        try wal.seek(toOffset: offset)
        let byte = try #require(try wal.read(upToCount: 1)?.first)
        try wal.seek(toOffset: offset)
        try wal.write(contentsOf: Data([byte ^ 0x10]))
        try wal.close()
        guard case .brokenWAL = try refusal(path) else {
            Issue.record("\(try refusal(path))")
            return
        }
    }

    @Test("threads may share a capture")
    func threadsMayShareACapture() throws {
        let application = try application(Shape(pageSize: 1024, journalMode: "wal"))
        let capture = try pinned(folder.path("app.db"))
        let whole = try wholeImage(capture)
        DispatchQueue.concurrentPerform(iterations: 64) { turn in
            let page = 1 + UInt64(turn) * (capture.pageCount - 5) / 64
            let read = try? capture.readPages(page, count: 5)
            #expect(read == Array(whole[Int(page - 1) * 1024..<Int(page + 4) * 1024]))
        }
        try capture.finish()
        try application.close()
    }

    @Test("a commit between header and transaction makes the capture begin again")
    func aCommitInBetweenMakesItBeginAgain() throws {
        let application = try application(Shape(pageSize: 4096, journalMode: "wal"))
        let connection = try SQLiteConnection(path: folder.path("app.db"), access: .readOnly)
        try connection.execute("SELECT 1 FROM sqlite_schema")
        let index = try #require(try SQLiteFile.database(of: connection).mapIndex())
        var failure: (any Error)?
        let torn = try Pin.attempt(connection, index) {
            do { try application.run("INSERT INTO t VALUES(NULL, 'x')") } catch { failure = error }
        }
        #expect(torn?.header == nil && failure == nil)
        let pinned = try #require(try Pin.attempt(connection, index))
        #expect(pinned.header == index.header())
        #expect(try connection.integer("SELECT count(*) FROM t") == 401)
    }

    @Test("a recovered empty WAL is no obstacle")
    func aRecoveredEmptyWALIsNoObstacle() throws {
        let path = folder.path("app.db")
        let application = try application(Shape(pageSize: 1024, journalMode: "wal"))
        try application.run("PRAGMA wal_checkpoint(TRUNCATE)")
        application.kill()
        let capture = try pinned(path)
        #expect(capture.pageSize == 1024)
        #expect(try capture.referenceImage() == wholeImage(capture))
        try capture.finish()
    }

    @Test("the page with the lock byte is captured as the file has it", .timeLimit(.minutes(10)))
    func theLockBytePageIsCaptured() throws {
        let path = folder.path("large.db")
        let application = try ApplicationProcess(path: path)
        try application.run("PRAGMA page_size=65536")
        try application.run("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)")
        // The file is sparse: pages of one big zero blob are never written, only its chain of page numbers is.
        let file = try #require(FileHandle(forUpdatingAtPath: path))
        try application.close()
        let pages: UInt32 = 16_390
        try file.truncate(atOffset: UInt64(pages) * 65_536)
        try file.seek(toOffset: 28)
        try file.write(contentsOf: withUnsafeBytes(of: pages.bigEndian) { Data($0) })
        try file.seek(toOffset: 0x4000_0000)
        try file.write(contentsOf: Data("lock-byte page".utf8))
        try file.close()
        let capture = try pinned(path)
        #expect(capture.pageCount == UInt64(pages))
        let lockPage: UInt64 = 0x4000_0000 / 65_536 + 1
        let read = try capture.readPages(lockPage, count: 2)
        #expect(read.prefix(14).elementsEqual("lock-byte page".utf8))
        #expect(read.dropFirst(14).allSatisfy { $0 == 0 })
        try capture.finish()
    }
}
