import Foundation
import MusterModel
import MusterSQLite
import MusterTestSupport
import Synchronization
import Testing

@testable import MusterAgent

@Suite("Searching folders for databases")
struct PatternSweepTests {
    private func pattern(_ text: String, exclude: [String] = []) throws -> DatabasePattern {
        DatabasePattern(
            pattern: try GlobPattern(text), schedule: try #require(Schedule(every: .seconds(1))),
            exclude: try exclude.map { try Exclusion($0) })
    }

    private func path(_ folder: TemporaryDirectory, _ name: String) throws -> String {
        let path = folder.file(name)
        try FileManager.default.createDirectory(
            at: URL(filePath: path).deletingLastPathComponent(), withIntermediateDirectories: true)
        return path
    }

    private func database(_ folder: TemporaryDirectory, _ name: String) throws {
        let connection = try SQLiteConnection(path: try path(folder, name), access: .readWrite)
        try connection.execute("CREATE TABLE a(b)")
    }

    private func names(_ found: [FilePath: Int], _ folder: TemporaryDirectory) -> Set<String> {
        Set(found.keys.map { String($0.description.dropFirst(folder.path.count)) })
    }

    private func sweep(
        _ folder: TemporaryDirectory, _ patterns: [DatabasePattern], excluded: [String] = [],
        limits: PatternSweep.Limits = .init(), known: [String] = [], knownFolders: [String] = [],
        candidates: [FilePath: FileStatus] = [:]
    ) -> PatternSweep {
        PatternSweep(
            patterns: patterns, excluded: Set(excluded.map { folder.file($0) }), limits: limits,
            known: Set(known.map { FilePath(folder.file($0)) }),
            knownFolders: Set(knownFolders.map { folder.file($0) }), candidates: candidates)
    }

    @Test func itFindsDatabasesAndNothingElse() throws {
        let folder = try TemporaryDirectory()
        for name in ["a.db", "b/c.db", "b/d/e.db", ".hidden/f.db", "b/new\nline.db"] { try database(folder, name) }
        for (name, text) in [("text.db", "no database"), ("empty.db", ""), ("b/a.db-wal", "SQLite format 3\0")] {
            try Data(text.utf8).write(to: URL(filePath: try path(folder, name)))
        }
        try Data(repeating: 7, count: 5000).write(to: URL(filePath: try path(folder, "noise.db")))
        try database(folder, "b/other.sqlite")
        _ = try path(folder, "folder.db/x")
        try FileManager.default.createSymbolicLink(
            atPath: folder.file("link.db"), withDestinationPath: folder.file("a.db"))
        try FileManager.default.createSymbolicLink(
            atPath: folder.file("loop"), withDestinationPath: folder.path)

        var sweep = sweep(folder, [try pattern(folder.path + "**/*.db")])
        sweep.run()
        let expected: Set = ["a.db", "b/c.db", "b/d/e.db", ".hidden/f.db", "b/new\nline.db"]
        #expect(names(sweep.outcome.found, folder) == expected)
        let candidates = Set(sweep.outcome.candidates.keys.map { String($0.description.dropFirst(folder.path.count)) })
        #expect(candidates == ["text.db", "empty.db", "noise.db"])
        #expect(sweep.outcome.unreadable.isEmpty && sweep.outcome.missing.isEmpty && sweep.outcome.limitHit == nil)
    }

    @Test func itGoesNoFurtherThanAPatternReaches() throws {
        let folder = try TemporaryDirectory()
        for name in ["a/x.db", "b/x.db", "a/deep/x.db", "own/x.db"] { try database(folder, name) }
        let visited = Mutex<[String]>([])
        let patterns = [try pattern(folder.path + "*/x.db", exclude: ["b"])]
        var sweep = PatternSweep(patterns: patterns, excluded: [folder.file("own")]) { folder in
            visited.withLock { $0.append(folder) }
        }
        sweep.run()
        #expect(names(sweep.outcome.found, folder) == ["a/x.db"])
        #expect(visited.withLock { $0.count } == 2, "the fixed folder and a/")
        #expect(sweep.outcome.folders.count == 2)
    }

    @Test func theFirstPatternThatFindsAFileHasIt() throws {
        let folder = try TemporaryDirectory()
        for name in ["a.db", "b.db"] { try database(folder, name) }
        let patterns = try ["a*.db", "*.db"].map { try pattern(folder.path + $0) }
        var sweep = sweep(folder, patterns)
        sweep.run()
        #expect(sweep.outcome.found == [FilePath(folder.file("a.db")): 0, FilePath(folder.file("b.db")): 1])
    }

    @Test func aKnownDatabaseIsMissingOnlyIfItIsNotThere() throws {
        let folder = try TemporaryDirectory()
        for name in ["a/x.db", "excluded/x.db"] { try database(folder, name) }
        // What was one may hold anything now: the snapshot tells.
        try Data().write(to: URL(filePath: try path(folder, "b/x.db")))
        _ = try path(folder, "c/x.db/folder")
        let known = ["a/x.db", "b/x.db", "c/x.db", "d/x.db", "excluded/x.db"]
        var sweep = sweep(folder, [try pattern(folder.path + "*/x.db", exclude: ["excluded"])], known: known)
        sweep.run()
        #expect(names(sweep.outcome.found, folder) == ["a/x.db", "b/x.db"])
        #expect(sweep.outcome.missing == [FilePath(folder.file("c/x.db")), FilePath(folder.file("d/x.db"))])
    }

    @Test("looking at some names alone", arguments: ["a/x.db", "a", "gone", "gone/x.db", "outside"])
    func lookingAtSomeNamesAlone(name: String) throws {
        let folder = try TemporaryDirectory()
        for name in ["fixed/a/x.db", "fixed/b/x.db", "outside/x.db"] { try database(folder, name) }
        let pattern = try pattern(folder.path + "fixed/*/x.db")
        var sweep = sweep(
            folder, [pattern], known: ["fixed/gone/x.db", "fixed/also-gone/x.db"], knownFolders: ["fixed/gone"])
        let path = name == "outside" ? folder.file("outside/x.db") : folder.file("fixed/" + name)
        sweep.look(at: [FilePath(path)])
        #expect(names(sweep.outcome.found, folder) == (name.hasPrefix("a") ? ["fixed/a/x.db"] : []))
        let missing: Set = [FilePath(folder.file("fixed/gone/x.db"))]
        #expect(sweep.outcome.missing == (name.hasPrefix("gone") ? missing : []))
    }

    @Test func aSweepThatIsToldToStopStops() throws {
        let folder = try TemporaryDirectory()
        for name in ["a/x.db", "b/x.db", "c/x.db"] { try database(folder, name) }
        let read = Mutex(0)
        var sweep = PatternSweep(
            patterns: [try pattern(folder.path + "*/x.db")], excluded: [], known: [FilePath(folder.file("d/x.db"))],
            willRead: { _ in read.withLock { $0 += 1 } }, shouldStop: { read.withLock { $0 == 2 } })
        sweep.run()
        #expect(sweep.outcome.folders.count == 2 && sweep.outcome.missing.isEmpty)
    }

    @Test func aLimitIsSaid() throws {
        let folder = try TemporaryDirectory()
        for index in 0..<5 { try database(folder, "\(index).db") }
        let pattern = try pattern(folder.path + "*.db")
        for limits in [PatternSweep.Limits(files: 3), .init(entries: 3)] {
            var sweep = sweep(
                folder, [pattern], limits: limits, known: ["0.db", "1.db", "2.db", "3.db", "4.db", "5.db"])
            sweep.run()
            #expect(sweep.outcome.found.count <= 3)
            #expect(sweep.outcome.limitHit?.contains("3") == true)
            #expect(sweep.outcome.missing == [FilePath(folder.file("5.db"))], "the others are there, seen or not")
        }
    }

    @Test func aFileThatIsNoDatabaseIsLookedIntoOnceUntilItChanges() throws {
        let folder = try TemporaryDirectory()
        let file = URL(filePath: folder.file("a.db"))
        try Data(repeating: 7, count: 512).write(to: file)
        let pattern = try pattern(folder.path + "*.db")
        var first = sweep(folder, [pattern])
        first.run()
        let candidates = first.outcome.candidates
        #expect(candidates.count == 1)
        try FileManager.default.removeItem(at: file)
        try database(folder, "a.db")
        let now = try FileStatus(path: file.path(percentEncoded: false), followsLink: false)
        var same = sweep(folder, [pattern], candidates: candidates.mapValues { _ in now })
        same.run()
        #expect(same.outcome.found.isEmpty && same.outcome.candidates.count == 1, "it is taken for what it was")
        var changed = sweep(folder, [pattern], candidates: candidates)
        changed.run()
        #expect(names(changed.outcome.found, folder) == ["a.db"])
    }

    @Test(.enabled(if: geteuid() != 0, "root may read every folder"))
    func aFolderThatCannotBeReadIsSaid() throws {
        let folder = try TemporaryDirectory()
        try database(folder, "closed/x.db")
        try FileManager.default.setAttributes([.posixPermissions: 0], ofItemAtPath: folder.file("closed"))
        defer { _ = chmod(folder.file("closed"), 0o700) }
        var sweep = sweep(folder, [try pattern(folder.path + "*/x.db")], known: ["closed/x.db"])
        sweep.run()
        #expect(sweep.outcome.unreadable.map(\.folder) == [folder.file("closed")])
        #expect(sweep.outcome.missing.isEmpty)
    }
}

@Suite("Watching folders")
struct FolderWatchTests {
    /// What a watch told, put together.
    private final class Told: Sendable {
        private let changes = Mutex(FolderChanges())
        private let bell = Bell()

        func add(_ news: FolderChanges) {
            changes.withLock { changes in
                changes.appeared.formUnion(news.appeared)
                changes.written.formUnion(news.written)
                changes.isIncomplete = changes.isIncomplete || news.isIncomplete
            }
            bell.ring()
        }

        func hasAppeared(_ path: String) -> Bool { changes.withLock { $0.appeared.contains(FilePath(path)) } }

        func wait(until isEnough: @escaping (FolderChanges) -> Bool) async throws {
            while !changes.withLock({ isEnough($0) }) {
                // Once the time limit has cancelled the test, the bell rings at once, for ever.
                try Task.checkCancellation()
                await bell.waitForRing()
            }
        }
    }

    @Test(.timeLimit(.minutes(1))) func itTellsWhatComesGoesAndIsWritten() async throws {
        let folder = try TemporaryDirectory()
        let path = String(folder.path.dropLast())
        let (watch, told) = (try #require(FolderWatch()), Told())
        #expect(watch.add(path) && watch.isWatched(path))
        #expect(!watch.add(folder.file("missing")))
        watch.start { told.add($0) }
        defer { watch.stop() }
        let file = FilePath(folder.file("a.db"))
        try Data("1".utf8).write(to: URL(filePath: file.description))
        try await told.wait { $0.appeared.contains(file) && $0.written.contains(file) }
        try FileManager.default.moveItem(atPath: file.description, toPath: folder.file("b.db"))
        try await told.wait { $0.appeared.contains(FilePath(folder.file("b.db"))) }
    }

    @Test(.timeLimit(.minutes(1))) func aFolderThatGoesIsToldAndCanBeWatchedAgain() async throws {
        let folder = try TemporaryDirectory()
        let inner = folder.file("inner")
        let (watch, told) = (try #require(FolderWatch()), Told())
        watch.start { told.add($0) }
        defer { watch.stop() }
        for name in ["1.db", "2.db"] {
            try FileManager.default.createDirectory(atPath: inner, withIntermediateDirectories: false)
            #expect(watch.add(inner))
            try Data().write(to: URL(filePath: inner + "/" + name))
            try await told.wait { $0.appeared.contains(FilePath(inner + "/" + name)) }
            try FileManager.default.removeItem(atPath: inner)
            try await told.wait { _ in !watch.isWatched(inner) }
        }
        try await told.wait { $0.appeared.contains(FilePath(inner)) }
    }

    @Test(.timeLimit(.minutes(1))) func aFolderThatTookAnothersPlaceIsWatched() async throws {
        let folder = try TemporaryDirectory()
        let (outer, inner) = (folder.file("outer"), folder.file("outer/inner"))
        let (watch, told) = (try #require(FolderWatch()), Told())
        watch.start { told.add($0) }
        defer { watch.stop() }
        try FileManager.default.createDirectory(atPath: inner, withIntermediateDirectories: true)
        #expect(watch.add(outer) && watch.add(inner))
        try FileManager.default.moveItem(atPath: outer, toPath: folder.file("moved"))
        try await told.wait { _ in watch.folders.isEmpty }
        // Not told by anybody: the folder above is not watched.
        try FileManager.default.createDirectory(atPath: inner, withIntermediateDirectories: true)
        #expect(watch.add(inner))
        try FileManager.default.moveItem(atPath: outer, toPath: folder.file("moved too"))
        try FileManager.default.createDirectory(atPath: inner, withIntermediateDirectories: true)
        #expect(watch.add(inner))
        try Data().write(to: URL(filePath: folder.file("moved too/inner/a.db")))
        try Data().write(to: URL(filePath: inner + "/b.db"))
        try await told.wait { $0.appeared.contains(FilePath(inner + "/b.db")) }
        #expect(!told.hasAppeared(inner + "/a.db"), "it is not there, and events come in order")
    }

    @Test(.timeLimit(.minutes(1))) func twoPathsToOneFolderAreBothTold() async throws {
        let folder = try TemporaryDirectory()
        let (inner, link) = (folder.file("inner"), folder.file("link"))
        try FileManager.default.createDirectory(atPath: inner, withIntermediateDirectories: false)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: inner)
        let (watch, told) = (try #require(FolderWatch()), Told())
        #expect(watch.add(inner) && watch.add(link))
        watch.start { told.add($0) }
        defer { watch.stop() }
        try Data().write(to: URL(filePath: inner + "/a.db"))
        try await told.wait { [inner, link].map { FilePath($0 + "/a.db") }.allSatisfy($0.appeared.contains) }
        watch.remove(inner)
        try Data().write(to: URL(filePath: inner + "/b.db"))
        try await told.wait { $0.appeared.contains(FilePath(link + "/b.db")) }
        #expect(watch.folders == [link])
    }
}
