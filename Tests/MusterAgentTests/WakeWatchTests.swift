import Foundation
import MusterModel
import MusterTestSupport
import Testing

@testable import MusterAgent

@Suite("Waking databases")
struct WakeWatchTests {
    private let random = RandomSource.seeded(11)
    private let folder: TemporaryDirectory
    private let folders: FolderWatch
    private let watch: WakeWatch

    init() throws {
        folder = try TemporaryDirectory()
        folders = try #require(FolderWatch())
        watch = WakeWatch(folders)
    }

    /// A database that was looked at.
    private func resting(_ name: String) throws -> DatabaseID {
        let id = DatabaseID(from: random)
        let path = folder.file(name)
        try FileManager.default.createDirectory(
            at: URL(filePath: path).deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data().write(to: URL(filePath: path))
        #expect(watch.arm(id, path: path).description == path)
        #expect(!watch.isResting(id), "it was not looked at")
        watch.rest(id)
        #expect(watch.isResting(id))
        return id
    }

    private func written(_ names: String...) -> FolderChanges {
        FolderChanges(written: Set(names.map { FilePath(folder.file($0)) }))
    }

    @Test("what tells of a database", arguments: ["a.db", "a.db-wal", "a.db-journal"])
    func whatTellsOfADatabase(name: String) throws {
        let (id, other) = (try resting("a.db"), try resting("b.db"))
        let appeared = FolderChanges(appeared: [FilePath(folder.file(name))])
        #expect(watch.takeWoken(by: written("c.db", "a.db-shm")).isEmpty)
        #expect(watch.takeWoken(by: name.hasSuffix("wal") ? appeared : written(name)) == [id])
        #expect(!watch.isResting(id) && watch.isResting(other))
        #expect(watch.takeWoken(by: written(name)).isEmpty, "it is told once")
        watch.arm(id, path: folder.file("a.db"))
        #expect(!watch.isResting(id), "it has to be looked at first")
    }

    @Test func allMayHaveBeenWrittenToWhereSomethingWasLost() throws {
        let ids = Set([try resting("x/a.db"), try resting("x/b.db"), try resting("y/a.db")])
        #expect(Set(watch.folders) == [folder.file("x"), folder.file("y")])
        #expect(Set(watch.takeWoken(by: FolderChanges(isIncomplete: true))) == ids)
        #expect(watch.folders.isEmpty)
    }

    @Test func aFolderThatIsLostWakesWhatIsInIt() throws {
        let (id, other) = (try resting("x/a.db"), try resting("y/a.db"))
        #expect(watch.takeWoken(by: FolderChanges(lost: [folder.file("x"), folder.file("z")])) == [id])
        #expect(watch.isResting(other))
    }

    @Test func aLinkIsWatchedWhereItLeadsTo() throws {
        let path = folder.file("real/a.db")
        try FileManager.default.createDirectory(atPath: folder.file("real"), withIntermediateDirectories: false)
        try Data().write(to: URL(filePath: path))
        try FileManager.default.createSymbolicLink(atPath: folder.file("link.db"), withDestinationPath: path)
        let (id, twin) = (DatabaseID(from: random), DatabaseID(from: random))
        #expect(watch.arm(id, path: folder.file("link.db")).description == path)
        watch.arm(twin, path: path)
        watch.rest(twin)
        #expect(!watch.isResting(twin), "only one of two names is told")
        #expect(folders.folders == [folder.file("real")])
        #expect(watch.takeWoken(by: written("real/a.db-wal")) == [id])
    }

    @Test func whoCannotBeWatchedDoesNotRest() throws {
        let id = DatabaseID(from: random)
        watch.arm(id, path: folder.file("missing/a.db"))
        watch.rest(id)
        #expect(!watch.isResting(id) && watch.folders.isEmpty)
        let without = WakeWatch(nil)
        without.arm(id, path: folder.file("a.db"))
        without.rest(id)
        #expect(!without.isResting(id))
    }

    @Test func whoIsLetGoOfIsNotTold() throws {
        let id = try resting("a.db")
        watch.disarm(id)
        #expect(!watch.isResting(id) && watch.folders.isEmpty)
        #expect(watch.takeWoken(by: written("a.db")).isEmpty)
    }
}
