import Foundation
import Glibc
import StressRig
import Testing

@testable import MusterSQLite

@Suite("What cannot be captured is refused with a hint")
struct CaptureRefusalTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private func write(_ bytes: [UInt8], to name: String) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: folder.path(name)))
        return folder.path(name)
    }

    @Test("a missing file")
    func aMissingFile() throws {
        let path = folder.path("none.db")
        #expect(try refusal(path) == .missing(path: path))
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test("a directory")
    func aDirectory() throws { #expect(try refusal(folder.url.path) == .directory(path: folder.url.path)) }

    @Test("a device")
    func aDevice() throws { #expect(try refusal("/dev/null") == .notARegularFile(path: "/dev/null")) }

    @Test("a file of another kind stays as it is")
    func aFileOfAnotherKind() throws {
        let path = try write(Array(repeatElement("not a database at all. ", count: 400).joined().utf8), to: "text.txt")
        let before = Footprint(path)
        #expect(try refusal(path) == .notADatabase(path: path))
        #expect(Footprint(path) == before && sidecars(of: path).isEmpty)
    }

    @Test("an encrypted file")
    func anEncryptedFile() throws {
        let path = try write((0..<8192).map { _ in UInt8.random(in: 0...255) }, to: "secret.db")
        #expect(try refusal(path) == .encrypted(path: path))
    }

    @Test("a header with an impossible page size")
    func aDamagedHeader() throws {
        let path = folder.path("damaged.db")
        try SQLiteConnection(path: path, access: .readWrite).execute("CREATE TABLE t(a)")
        let file = try #require(FileHandle(forUpdatingAtPath: path))
        try file.seek(toOffset: 16)
        try file.write(contentsOf: Data([0x00, 0x03]))
        try file.close()
        guard case .corrupt = try refusal(path) else {
            Issue.record("\(try refusal(path))")
            return
        }
    }

    @Test("a database that stays locked")
    func aLockedDatabase() throws {
        let path = folder.path("locked.db")
        let application = try ApplicationProcess(path: path)
        try application.run("CREATE TABLE t(a)")
        try application.run("BEGIN EXCLUSIVE")
        var options = CaptureOptions()
        options.busyBudget = .milliseconds(50)
        guard case .locked(path, _) = try refusal(path, options) else {
            Issue.record("\(try refusal(path, options))")
            return
        }
        try application.run("COMMIT")
        #expect(try pinned(path).pageCount == 2)
    }

    @Test("a WAL database in exclusive locking mode")
    func exclusiveLockingMode() throws {
        let path = folder.path("exclusive.db")
        let application = try ApplicationProcess(path: path)
        try application.run("PRAGMA locking_mode=EXCLUSIVE")
        try application.run("PRAGMA journal_mode=WAL")
        try application.run("CREATE TABLE t(a)")
        var options = CaptureOptions()
        options.busyBudget = .milliseconds(50)
        #expect(try refusal(path, options) == .exclusivelyLocked(path: path))
    }

    @Test("a hot journal")
    func aHotJournal() throws {
        let path = folder.path("hot.db")
        let application = try ApplicationProcess(path: path)
        try application.run("CREATE TABLE t(a, b)")
        try application.run("INSERT INTO t VALUES(1, randomblob(300000))")
        try application.run("PRAGMA cache_size=2")
        try application.run("BEGIN")
        try application.run("UPDATE t SET b = randomblob(300000)")
        application.kill()
        let before = Footprint(path)
        #expect(try refusal(path) == .hotJournal(path: path))
        #expect(Footprint(path) == before)
    }

    @Test("a wal-index of another version")
    func anUnknownWALIndex() throws {
        let path = folder.path("future.db")
        let application = try ApplicationProcess(path: path)
        try application.run("PRAGMA journal_mode=WAL")
        try application.run("CREATE TABLE t(a)")
        try storeVersion(3_021_000, in: path + "-shm")
        #expect(try refusal(path) == .unsupportedWAL(path: path, version: 3_021_000))
    }

    @Test("two captures of one file at once")
    func twoCapturesAtOnce() throws {
        let path = folder.path("one.db")
        try SQLiteConnection(path: path, access: .readWrite).execute("CREATE TABLE t(a)")
        try FileManager.default.createSymbolicLink(atPath: folder.path("link.db"), withDestinationPath: path)
        let first = try pinned(path)
        #expect(try refusal(folder.path("link.db")) == .alreadyBeingCaptured(path: first.path))
        #expect(throws: CaptureError.alreadyBeingCaptured(path: first.path)) {
            try SourceFingerprint.read(path: path)
        }
        try first.finish()
        #expect(try pinned(path).pageCount == 2)
    }

    @Test("every refusal names the file and says what to do")
    func everyRefusalNamesTheFile() {
        let path = "/a/b.db"
        let all: [CaptureError] = [
            .missing(path: path), .directory(path: path), .notARegularFile(path: path), .permissionDenied(path: path),
            .sharedMemoryUnavailable(path: path), .notADatabase(path: path), .encrypted(path: path),
            .locked(path: path, waited: .seconds(5)), .exclusivelyLocked(path: path), .hotJournal(path: path),
            .inputOutput(path: path, reason: "r"), .unsupportedWAL(path: path, version: 1),
            .corrupt(path: path, reason: "r"), .brokenWAL(path: path, reason: "r"), .changedDuringCapture(path: path),
            .heldTooLong(path: path, limit: .seconds(1)), .walGrewTooMuch(path: path, limitBytes: 1),
            .alreadyBeingCaptured(path: path), .stopped(path: path), .notInWALMode(path: path), .notOpen(path: path),
            .followBroken(path: path, reason: "r"),
            .failed(SQLiteError(code: 1, path: path, reason: "r")),
        ]
        for error in all {
            #expect(error.summary.contains(path) && !error.summary.hasSuffix("."), "\(error)")
            #expect(error.hint.hasSuffix(".") && error.hint.first?.isUppercase == true, "\(error)")
        }
    }
}
