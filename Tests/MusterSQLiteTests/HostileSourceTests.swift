import Foundation
import Glibc
import StressRig
import Testing

@testable import MusterSQLite

/// What the owner of a database may put beside it, or into it, to make a process that is root do his work.
@Suite("A database whose owner means harm")
struct HostileSourceTests {
    private static let owner: uid_t = 65_534

    private let (folder, rootsFolder): (TemporaryFolder, TemporaryFolder)
    private let (path, victim): (String, String)

    init() throws {
        (folder, rootsFolder) = (try TemporaryFolder(), try TemporaryFolder())
        (path, victim) = (folder.path("app.db"), rootsFolder.path("victim"))
        try Data("do not lose this".utf8).write(to: URL(fileURLWithPath: victim))
        chmod(rootsFolder.url.path, 0o755)
    }

    private func application(_ statements: String...) throws -> ApplicationProcess {
        let application = try ApplicationProcess(path: path)
        try application.run("PRAGMA journal_mode=WAL")
        try application.run("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)")
        for statement in statements { try application.run(statement) }
        return application
    }

    private func giveAway(_ names: String...) {
        for name in names { #expect(chown(name, Self.owner, Self.owner) == 0) }
    }

    /// A hot journal of no pages whose last words name `victim` as its super-journal (fileformat2.html, section 3;
    /// pager.c, readSuperJournal).
    private func plantJournal(pageCount: UInt32) throws {
        func word(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }
        let magic: [UInt8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]
        var journal = magic + word(0) + word(0) + word(pageCount) + word(512) + word(4096)
        journal += [UInt8](repeating: 0, count: 512 - journal.count)
        let name = Array(victim.utf8)
        journal += word(0x4000_0000 / 4096 + 1) + name + word(UInt32(name.count))
        journal += word(name.reduce(0) { $0 &+ UInt32($1) }) + magic
        try Data(journal).write(to: URL(fileURLWithPath: path + "-journal"))
        giveAway(path + "-journal")
    }

    private var isVictimThere: Bool { FileManager.default.fileExists(atPath: victim) }

    private func openForClosing() throws(SQLiteError) {
        try SQLiteConnection(path: path, access: .lastToLeave).execute("SELECT 1 FROM sqlite_schema LIMIT 1")
    }

    @Test("a journal that was made up removes nothing with the owner's rights", .enabled(if: getuid() == 0))
    func aMadeUpJournalRemovesNothing() throws {
        try application().close()
        giveAway(folder.url.path, path)
        try plantJournal(pageCount: 2)
        let owner = try #require(FileOwner(of: path))
        #expect(throws: SQLiteError.self) { try owner.act(path) { () throws(SQLiteError) in try openForClosing() } }
        #expect(isVictimThere)
        // And with root's it does. The first try took the journal away before it came to the victim.
        try plantJournal(pageCount: 2)
        try openForClosing()
        #expect(!isVictimThere)
    }

    @Test("beside a journal nothing is closed for an application that has left", .enabled(if: getuid() == 0))
    func besideAJournalNothingIsClosed() throws {
        let application = try application("INSERT INTO t VALUES(1, randomblob(20000))")
        giveAway(folder.url.path, path, path + "-wal", path + "-shm")
        let capture = try pinned(path)
        try application.run("INSERT INTO t VALUES(2, 'x')")
        try application.close()
        try plantJournal(pageCount: 2)
        // Whether the capture counts is not the question.
        try? capture.finish()
        #expect(isVictimThere && sidecars(of: path).contains(path + "-wal"))
    }

    @Test("the last to leave closes with the owner's rights", .enabled(if: getuid() == 0), arguments: [true, false])
    func theLastToLeaveHasTheOwnersRights(isFolderOwners: Bool) throws {
        let application = try application("INSERT INTO t VALUES(1, randomblob(20000))")
        giveAway(path, path + "-wal", path + "-shm")
        if isFolderOwners { giveAway(folder.url.path) }
        let capture = try pinned(path)
        try application.run("INSERT INTO t VALUES(2, 'x')")
        try application.close()
        try capture.finish()
        // In a folder that is root's the owner could not have removed it.
        #expect(sidecars(of: path).contains(path + "-wal") != isFolderOwners)
    }

    @Test("a file of root's is not closed where others decide what lies beside it", .enabled(if: getuid() == 0))
    func rootsFileInAFolderOfOthers() throws {
        try application().close()
        #expect(FileOwner(of: path) != nil)
        chmod(folder.url.path, 0o777)
        #expect(FileOwner(of: path) == nil)
        chmod(folder.url.path, 0o755)
        giveAway(folder.url.path)
        #expect(FileOwner(of: path) == nil)
    }

    @Test("a link in the place of -shm is not opened")
    func aLinkInThePlaceOfTheIndexIsNotOpened() throws {
        let application = try application()
        let files = try SourceFiles(resolving: path)
        let followed = try FollowedFiles(opening: files)
        #expect(followed.areInPlace())
        for name in [files.walPath, files.indexPath] {
            #expect(rename(name, name + ".moved") == 0 && symlink(name + ".moved", name) == 0)
            #expect(!followed.areInPlace())
            #expect(throws: CaptureError.self) { try FollowedFiles(opening: files) }
            #expect(rename(name + ".moved", name) == 0)
            #expect(followed.areInPlace())
        }
        application.kill()
    }

    @Test("a database with a huge schema is captured, and nothing is said of its tables", arguments: [true, false])
    func aHugeSchema(isOpen: Bool) throws {
        let application = try application()
        let byteCount = SQLiteInventory.maximumSchemaBytes + 1
        let comment = "CREATE TABLE huge(a /* ' || printf('%.*c', \(byteCount), 'x') || ' */)"
        try application.run("PRAGMA writable_schema=ON")
        let page = "(SELECT rootpage FROM sqlite_schema WHERE name = 't')"
        try application.run("INSERT INTO sqlite_schema VALUES('table', 'huge', 'huge', \(page), '\(comment)')")
        try application.run("DELETE FROM sqlite_schema WHERE name = 't'")
        if !isOpen { try application.close() }
        let capture = try pinned(path)
        let inventory = try capture.inventory()
        #expect(inventory.canonicalSchema == nil && inventory.tables.isEmpty)
        let image = try wholeImage(capture)
        try capture.finish()
        #expect(image.count > byteCount)
        if isOpen {
            let follower = try Follower.attach(path: path, after: nil, elapsed: steadyClock)
            _ = try follower.beginRound()
            try follower.pin().capture.finish()
            follower.detach(leavingAsLast: true)
        }
    }
}
